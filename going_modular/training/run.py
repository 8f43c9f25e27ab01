"""A whole run, as both training scripts make it once they know what to train on."""

import math
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from going_modular.checkpoint import save_checkpoint, save_model
from going_modular.data_setup import Batches, ImageSet
from going_modular.datasets.augmentation import Mixing
from going_modular.optimization import build_schedule
from going_modular.plots.results import plot_confusion_matrix, plot_loss_curves
from going_modular.plots.style import save_figure, use_style
from going_modular.processes.alone import ALONE, Processes
from going_modular.report.writing import write_report
from going_modular.system.clock import Clock
from going_modular.system.files import write_file
from going_modular.system.progress import LINE, print_past, saying
from going_modular.system.text import print_table
from going_modular.training.fast_path import choose_computation, for_prediction
from going_modular.training.resuming import (
    check_same_data,
    compare_machines,
    describe_data,
    refusing_foreign_checkpoint,
)
from going_modular.training.run_folder import (
    CHECKPOINT,
    FILES,
    REPORT,
    clear_output,
    hold_output,
    write_settings,
)
from going_modular.training.state_check import check_state
from going_modular.training.trainer import Trainer
from going_modular.training.watchers import (
    TRAINING,
    ChanceWarning,
    EpochFiles,
    Progress,
    StepLines,
    TensorBoard,
    global_step,
    write_history,
    write_results,
)
from going_modular.utils import describe_machine
from going_modular.vit import ViT

__all__ = [
    "FEATURES",
    "Parts",
    "complete_run",
    "train_with_checkpoints",
    "write_outputs",
]

FEATURES = "features"  # of a frozen model; what the time for them counts as
SPEEDS = {FEATURES: "for features", TRAINING: "in training"}


@dataclass
class Parts:
    """What takes part in training.

    Attributes:
        model: What learns: a `ViT`, or its head alone.
        optimizer: Of the model's parameters.
        train_batches, test_batches: What it learns from, and is tested on.
        val_batches: Those that choose, if there are any: which epoch's weights are
            kept, and when to stop. Then it is tested once, at the end.
        to_beat: Accuracy on them that the model starts with; below 0 for no matter.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    train_batches: Batches
    test_batches: Batches
    val_batches: Batches | None = None
    to_beat: float = -1.0

    @property
    def choosing(self) -> tuple[str, Batches]:
        """What the model is tried on after each epoch, and its name."""
        if self.val_batches is None:
            return "test", self.test_batches
        return "val", self.val_batches

    def schedule(self, training) -> LRScheduler:
        """The learning rate's way through a run with these `TrainingSettings`."""
        steps = training.epochs * len(self.train_batches)
        warmup = round(training.warmup * steps)
        return build_schedule(self.optimizer, steps, warmup, training.decay)


def complete_run(
    output: Path,
    plan,
    model: ViT,
    parts: Parts,
    test_images: ImageSet,
    checkpoint: dict | None,
    overwrite: bool,
    options: dict,
    processes: Processes = ALONE,
    note: str = "",
    command: Sequence[str] = (),
    memory: str = "",
) -> None:
    """Train, write what a run leaves, and say how it ended.

    Args:
        output: Folder of the run.
        plan: A `Plan` or a `TransferPlan`: all that decides the results.
        model: What is saved in the end; `parts.model` is it, or in it.
        parts: What takes part in training.
        test_images: The test images, as the whole model sees them.
        checkpoint: Of the run to go on with, or None to begin.
        overwrite: Whether the folder may hold a run already.
        options: Those of `train_with_checkpoints` that change no result.
        processes: Those that train together.
        note: Printed below the settings.
        command: The script and what was typed after it, for the report.
        memory: What the run takes of it, as `memory_check.check_memory` says.
    """
    held = {k: v for k, v in vars(parts).items() if k.endswith("batches") and v}
    parts = replace(parts, **{k: processes.share(v) for k, v in held.items()})
    steps = plan.training.epochs * len(parts.train_batches)
    training = choose_computation(plan.training, processes.device, steps)
    plan = replace(plan, training=processes.first_process_choice(training))
    print_table(output=output, device=processes, memory=memory, **plan.settings())
    if note:
        print_past(f"\n{note}\n")
    with hold_output(output, overwrite or checkpoint is not None, processes):
        trainer = train_with_checkpoints(
            output, plan, parts, checkpoint, processes=processes, **options
        )
        accuracy = write_outputs(
            output,
            model,
            parts,
            test_images,
            trainer,
            processes,
            plan.settings(),
            command,
        )
    print_summary(output, model, parts, trainer, accuracy)


def train_with_checkpoints(
    output: Path,
    plan,
    parts: Parts,
    checkpoint: dict | None = None,
    save_every: int = 0,
    log_steps: bool = False,
    tensorboard: bool = False,
    processes: Processes = ALONE,
) -> Trainer:
    """Train, showing and logging how it goes, with a checkpoint after each epoch.

    Args:
        output: Folder of the run, held with `run_folder.hold_output`.
        plan: A `Plan` or a `TransferPlan`; its settings are saved with the run.
        parts: What takes part. The model ends with the weights that are kept.
        checkpoint: Of the run to go on with, or None to begin.
        save_every: Steps after which a checkpoint is saved as well; 0 for never.
        log_steps: Write a line of JSON for each step.
        tensorboard: Write curves for TensorBoard.
        processes: Those that train together; the first one writes.

    Returns:
        The trainer, when it is done: it has the results and the times.
    """
    training = plan.training
    held_out, choosing_batches = parts.choosing
    mixing = None
    if training.mixup or training.cutmix:
        classes = len(parts.train_batches.data.class_names)
        mixing = Mixing(classes, training.mixup, training.cutmix)
    trainer = Trainer(
        parts.model,
        parts.optimizer,
        parts.schedule(training),
        parts.train_batches,
        choosing_batches,
        training.epochs,
        held_out=held_out,
        to_beat=parts.to_beat,
        average=training.average,
        patience=training.patience,
        processes=processes,
        precision=training.dtype,
        compiled=training.compile == "yes",
        accumulate=training.accumulate,
        mixing=mixing,
        clip_norm=training.clip_norm,
        label_smoothing=training.label_smoothing,
    )
    kept = {"settings": plan.settings()}
    held = [parts.test_batches] + [parts.val_batches] * (held_out == "val")
    kept["data"] = describe_data(
        parts.train_batches.data, *(batches.data for batches in held)
    )
    kept["machine"] = about_machine(trainer.device, processes)
    if checkpoint is not None:
        with refusing_foreign_checkpoint(output):
            check_same_data(output, checkpoint["data"], kept["data"])
            compare_machines(checkpoint["machine"], kept["machine"])
            check_state(checkpoint["trainer"], trainer)
            trainer.load_state_dict(checkpoint["trainer"])
        print_past(f"going on after epoch {trainer.epoch}, step {trainer.step}")
    with ExitStack() as stack:
        if processes.is_first:
            watchers = [Progress(trainer), EpochFiles(output)]
            watchers += [ChanceWarning(choosing_batches.data, plan.advice)]
            if tensorboard:  # may not be there: nothing is cleared before
                done = trainer.epoch * len(parts.train_batches)
                watchers += [TensorBoard(output, done)]
            if checkpoint is None:
                clear_output(output)
            write_settings(output, kept["settings"])
            if log_steps:
                watchers += [StepLines(output, global_step(trainer))]
            trainer.watchers = watchers
            stack.enter_context(watchers[0])
        trainer.train(
            lambda state: save_checkpoint(
                output / CHECKPOINT, {**kept, "trainer": state}
            ),
            save_every,
        )
    if trainer.epoch < trainer.epochs:
        patience = training.patience
        print_past(
            f"stopped early: no better {held_out} accuracy for {patience} epochs"
        )
    parts.model.load_state_dict(trainer.weights_to_keep())
    return trainer


def write_outputs(
    output: Path,
    model: ViT,
    parts: Parts,
    test_images: ImageSet,
    trainer: Trainer,
    processes: Processes = ALONE,
    settings: dict | None = None,
    command: Sequence[str] = (),
) -> float:
    """Write the files that a finished run consists of; all processes take part.

    The test images are gone through once: as `parts` has them, since the features of a
    frozen model are there already.

    Returns:
        The share of the test images that the kept weights recognise.
    """
    whole = not processes.sharded
    tested = for_prediction(parts.model, trainer.precision, whole)
    logits, labels = processes.predict(tested, parts.test_batches)
    accuracy = (logits.argmax(dim=1) == labels).float().mean().item()
    results = trainer.results
    if "test_acc" not in results:  # counted once, now that all is chosen
        test = F.cross_entropy(logits, labels).item(), accuracy
        for name, value in zip(("test_loss", "test_acc"), test, strict=True):
            results[name] = [math.nan] * trainer.epoch
            if trainer.best_epoch:
                results[name][trainer.best_epoch - 1] = value
    model = processes.whole_model(model)
    if not processes.is_first:
        return accuracy
    with saying("drawing and writing the report", "report"):
        use_style()
        write_results(output / "results.pkl", results)
        write_history(output / "history.csv", results)
        save_model(output / "model.safetensors", model, test_images.class_names)
        curves = plot_loss_curves(results)
        write_file(output / "loss_curves.png", lambda path: save_figure(curves, path))
        with warnings.catch_warnings(action="ignore"):  # letters that the font lacks
            confusion = plot_confusion_matrix(
                labels, logits.argmax(dim=1), test_images.class_names
            )
            write_report(
                output / REPORT,
                model,
                test_images,
                logits,
                command,
                settings or {},
                about_machine(trainer.device, processes),
                results,
                curves,
                confusion,
                remarks_on(trainer),
            )
            path = output / "confusion_matrix.png"  # last: with it a run is finished
            write_file(path, lambda beside: save_figure(confusion, beside))
    return accuracy


def about_machine(device: torch.device, processes: Processes) -> dict[str, str]:
    """What the last digits of the results depend on."""
    sharded = " that share parameters" if processes.sharded else ""
    machine = describe_machine(device)
    machine["processes"] = f"{processes.count}{sharded}"
    return {name: str(value) for name, value in machine.items()}


def remarks_on(trainer: Trainer) -> list[str]:
    """What is to be known of the test accuracy, in sentences."""
    if trainer.best is not None and not trainer.best_epoch:
        return [
            "No epoch did better on the validation images than the linear probe that "
            "training began with, so the probe is what is kept; the test images were "
            "counted once, at the end."
        ]
    if trainer.best is not None:
        return [
            "The validation images chose the weights of epoch "
            f"{trainer.best_epoch}; the test images were counted once, at the end."
        ]
    if trainer.patience:
        return [
            "The same images also decided when to stop, so the figure may be a little "
            "too good; a folder of validation images would decide that instead."
        ]
    return []


def print_summary(
    output: Path, model: nn.Module, parts: Parts, trainer: Trainer, accuracy: float
) -> None:
    """Print the closing table; the accuracy is that of the kept weights in the test."""
    train_set, test_set = parts.train_batches.data, parts.test_batches.data
    held_out, _ = parts.choosing
    accuracies = [100 * a for a in trainer.results[f"{held_out}_acc"]]
    best = 1 + accuracies.index(max(accuracies))
    last = f"{accuracies[-1]:.2f} % after the last epoch"
    figures = {
        f"{held_out}_accuracy": f"{last} (best {max(accuracies):.2f} % after epoch "
        f"{best})"
    }
    if trainer.best is not None:
        kept = f"{max(accuracies):.2f} % after epoch {best}, whose weights are kept"
        if not trainer.best_epoch:
            kept = f"{100 * trainer.to_beat:.2f} % at the start, whose head is kept"
        figures = {
            "val_accuracy": f"{kept}; {last}",
            "test_accuracy": f"{100 * accuracy:.2f} %, counted once",
        }
    print_past()
    print_table(
        images=f"{len(train_set):,} for training, {len(test_set):,} for testing",
        parameters=f"{sum(p.numel() for p in model.parameters()):,}",
        **figures,
        **times(LINE.clock, trainer),
        written=[f"{output}: {FILES[0]}", *FILES[1:]],
        report=[output / REPORT, "to open in a browser"],
    )


def times(clock: Clock, trainer: Trainer) -> dict[str, str | list[str]]:
    """How long the run took since its script began, for what, and at which speed."""
    time = clock.summary()
    if trainer.seconds_before:
        before = f"{trainer.seconds_before:,.0f} s"
        time[-1] += f"; training before it went on took {before}"
    rates = [
        f"{clock.rate(name):,.0f} images/s {what}"
        for name, what in SPEEDS.items()
        if clock.images[name]
    ]
    waited = trainer.waited / max(trainer.seconds, 1e-9)
    rows = {"time": time, "speed": rates} if rates else {"time": time}
    return {**rows, "waiting": f"{waited:.1%} of the time for training, for data"}
