"""What the training scripts share: the run with its checkpoints, and its files."""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib
import torch
from torch import nn

from going_modular.checkpoint import save_checkpoint, save_model, write_file
from going_modular.data_setup import Batches, ImageSet
from going_modular.engine import TrainingDiverged, predict_logits, train
from going_modular.helper_functions import (
    plot_confusion_matrix,
    plot_loss_curves,
    use_style,
)
from going_modular.progress import Progress, print_table
from going_modular.results import write_results
from going_modular.runs import CHECKPOINT, FILES, begin_output
from going_modular.utils import InputError
from going_modular.vit import ViT

__all__ = ["print_summary", "run_script", "train_with_checkpoints", "write_outputs"]


def train_with_checkpoints(
    output: Path,
    settings: dict,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    train_batches: Batches,
    test_batches: Batches,
    epochs: int,
    checkpoint: dict | None = None,
    quiet: bool = False,
    **step_options,
) -> tuple[dict[str, list[float]], float]:
    """Train, with a progress bar, and save a checkpoint after each epoch.

    Args:
        output: Folder of the run.
        settings: All that decides the run's results; saved with it.
        model, optimizer, schedule: Their states are saved, and restored on resuming.
        train_batches, test_batches, epochs: As for `engine.train`.
        checkpoint: Of the run to go on with, or None to begin.
        quiet: No progress bar.
        step_options: Further arguments of `engine.train_step`.

    Returns:
        Results of all epochs, and the seconds that they took.
    """
    parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
    results, seconds, done = None, 0.0, 0
    if checkpoint is None:
        begin_output(output, settings)
    else:
        for name, part in parts.items():
            part.load_state_dict(checkpoint[name])
        torch.set_rng_state(checkpoint["random_state"])
        results, seconds = checkpoint["results"], checkpoint["seconds"]
        done = len(results["train_loss"])
        print(f"going on after epoch {done}")

    start = time.perf_counter() - seconds
    with Progress(epochs, len(train_batches.data), quiet, done) as progress:

        def on_epoch(results: dict[str, list[float]]) -> None:
            progress.end_epoch(results)
            save_checkpoint(
                output / CHECKPOINT,
                settings=settings,
                random_state=torch.get_rng_state(),
                results=results,
                seconds=time.perf_counter() - start,
                **{name: part.state_dict() for name, part in parts.items()},
            )

        results = train(
            model,
            train_batches,
            test_batches,
            optimizer,
            epochs,
            results=results,
            on_epoch=on_epoch,
            on_step=progress.end_step,
            schedule=schedule,
            **step_options,
        )
    return results, time.perf_counter() - start


def write_outputs(
    output: Path, model: ViT, test_batches: Batches, results: dict[str, list[float]]
) -> None:
    """Write the files that a finished run consists of."""
    names = test_batches.data.class_names
    logits, labels = predict_logits(model, test_batches)
    use_style()
    save_model(output / "model.safetensors", model, names)
    write_file(output / "loss_curves.png", plot_loss_curves(results).savefig)
    confusion = plot_confusion_matrix(labels, logits.argmax(dim=1), names)
    write_file(output / "confusion_matrix.png", confusion.savefig)
    write_results(output / "results.pkl", results)


def print_summary(
    output: Path,
    model: nn.Module,
    train_set: ImageSet,
    test_set: ImageSet,
    results: dict[str, list[float]],
    seconds: float,
) -> None:
    """Print the closing table."""
    accuracies = [100 * accuracy for accuracy in results["test_acc"]]
    best = max(accuracies)
    seen = len(accuracies) * len(train_set)
    print()
    print_table(
        images=f"{len(train_set):,} for training, {len(test_set):,} for testing",
        parameters=f"{sum(p.numel() for p in model.parameters()):,}",
        test_accuracy=f"{accuracies[-1]:.2f} % after the last epoch "
        f"(best {best:.2f} % after epoch {accuracies.index(best) + 1})",
        time=f"{seconds:.0f} s, {seen / seconds:,.0f} images/s, evaluation included",
        written=f"{output}: {', '.join(FILES)}",
    )


def run_script(
    name: str, run: Callable[[argparse.Namespace], None], args: argparse.Namespace
) -> int:
    """Run a training script; turn what can go wrong into one line.

    Args:
        name: The script's, for messages.
        run: Does the work.
        args: The flags, `output` among them.

    Returns:
        The exit status: 0, 2 for unusable input, 130 after Ctrl-C.
    """
    matplotlib.use("Agg")  # files only, no window
    try:
        run(args)
    except (InputError, TrainingDiverged, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            f"\n{name}: stopped; the epochs finished so far are kept: go on with "
            f"--output {args.output} --resume",
            file=sys.stderr,
        )
        return 130
    return 0
