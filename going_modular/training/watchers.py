"""What a run shows and leaves as it goes on: how far it is, lines, tables, curves.

Each class here is a watcher of a `Trainer`: `after_step` and `after_epoch` are called
with it. What a run that died wrote after its last checkpoint is dropped on resuming.
"""

import csv
import json
import math
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from torch import Tensor

from going_modular.data_setup import ImageSet
from going_modular.errors import InputError
from going_modular.plots.results import plot_loss_curves
from going_modular.plots.style import save_figure, use_style
from going_modular.system.files import cannot_write, write_file
from going_modular.system.progress import LINE, print_past

__all__ = [
    "ChanceWarning",
    "EpochFiles",
    "Progress",
    "StepLines",
    "TRAINING",
    "TensorBoard",
    "global_step",
    "write_history",
    "write_results",
]

TRAINING = "training"  # what the time for it counts as
CURVES_EVERY = 10  # seconds; drawing takes a third of one


def global_step(trainer) -> int:
    """Steps since the run began."""
    return trainer.epoch * len(trainer.train_batches) + trainer.step


class EpochFiles:
    """After each epoch: results.pkl, history.csv and, now and then, loss_curves.png."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.drawn = time.monotonic()

    def after_step(self, trainer, loss: Tensor) -> None:
        pass

    def after_epoch(self, trainer) -> None:
        results = trainer.results
        write_results(self.folder / "results.pkl", results)
        write_history(self.folder / "history.csv", results)
        if time.monotonic() - self.drawn > CURVES_EVERY:
            use_style()
            figure = plot_loss_curves(results)
            path = self.folder / "loss_curves.png"
            write_file(path, lambda beside: save_figure(figure, beside))
            plt.close(figure)
            self.drawn = time.monotonic()


def write_results(path: Path, results: dict[str, list[float]]) -> None:
    """Write one row an epoch, so that `pd.read_pickle` of pandas 2 and 3 reads it."""
    table = pd.DataFrame(results)
    table.columns = pd.Index(results, dtype=object)  # pandas 3 has text of its own kind
    write_file(path, lambda beside: table.to_pickle(beside.absolute()))


def write_history(path: Path, results: dict[str, list[float]]) -> None:
    """Write the same table as CSV, for programs and people."""
    write_file(path, lambda beside: write_csv(beside, results))


def write_csv(path: Path, results: dict[str, list[float]]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("epoch", *results))
        for epoch, row in enumerate(zip(*results.values(), strict=True), start=1):
            cells = ("" if math.isnan(value) else value for value in row)
            writer.writerow((epoch, *cells))


class StepLines:
    """One line of JSON a step in steps.jsonl, for other programs.

    Reading the loss waits for it, which costs time on a GPU.
    """

    def __init__(self, folder: Path, done: int):
        """Begin after `done` steps: later lines are of a run that died."""
        self.path = folder / "steps.jsonl"
        lines = []
        if self.path.exists():
            text = self.path.read_text(encoding="utf-8", errors="replace")
            lines = text.splitlines()
        kept = "".join(f"{line}\n" for line in lines if step_of(line) <= done)
        write_file(self.path, lambda path: path.write_text(kept, encoding="utf-8"))
        # Open as long as the run.
        self.file = open(self.path, "a", buffering=1, encoding="utf-8")

    def after_step(self, trainer, loss: Tensor) -> None:
        value = loss.item()
        line = {
            "step": global_step(trainer),
            "epoch": trainer.epoch + 1,
            "loss": value if math.isfinite(value) else None,  # JSON knows no nan
            "learning_rate": trainer.rate,
        }
        try:
            self.file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise cannot_write(self.path, error) from None

    def after_epoch(self, trainer) -> None:
        pass


def step_of(line: str) -> float:
    """The step that a line is about; infinite where it says none."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return math.inf


class TensorBoard:
    """Curves for TensorBoard, in the folder's tensorboard/."""

    def __init__(self, folder: Path, done: int):
        """Begin after the `done` steps of whole epochs: later curves are dropped."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise InputError(
                "--tensorboard needs its package: pip install tensorboard"
            ) from None
        self.writer = SummaryWriter(folder / "tensorboard", purge_step=done + 1)

    def after_step(self, trainer, loss: Tensor) -> None:
        pass

    def after_epoch(self, trainer) -> None:
        step = global_step(trainer)
        for name, values in trainer.results.items():
            part, kind = name.split("_")
            self.writer.add_scalar(f"{kind}/{part}", values[-1], step)
        self.writer.add_scalar("learning_rate", trainer.rate, step)
        self.writer.flush()


class ChanceWarning:
    """Says, after a fifth of the run, that nothing has been learned yet.

    Nothing means: no more of the held-out images are right than if all were taken for
    the commonest class, but for what two standard errors allow.
    """

    def __init__(self, held_out: ImageSet, advice: str):
        """Watch a run.

        Args:
            held_out: The images that it is tried on after each epoch.
            advice: What to try, for the end of the sentence.
        """
        counts = held_out.labels.bincount()
        self.chance = counts.max().item() / len(held_out)
        spread = math.sqrt(self.chance * (1 - self.chance) / len(held_out))
        self.bound = self.chance + 2 * spread
        self.advice = advice

    def after_step(self, trainer, loss: Tensor) -> None:
        pass

    def after_epoch(self, trainer) -> None:
        if trainer.epochs < 5 or trainer.epoch != math.ceil(trainer.epochs / 5):
            return
        accuracy = max(trainer.results[f"{trainer.held_out}_acc"])
        if accuracy <= self.bound:
            print_past(
                f"a fifth of the run is over, and at best {accuracy:.1%} is right, "
                f"where the commonest class alone gives {self.chance:.1%}. If the "
                f"losses do not fall soon, stop and try {self.advice}"
            )


class Progress:
    """How far training is, with the time to its end, and a line after each epoch.

    It watches a `Trainer`.
    """

    def __init__(self, trainer):
        """Begin where the trainer is; the run ends at the last epoch or earlier."""
        self.first = trainer.epoch
        self.seen = self.images_seen(trainer)
        whole = trainer.epochs * len(trainer.train_batches.data)
        self.phase = LINE.phase(TRAINING, whole, self.seen)

    def __enter__(self) -> "Progress":
        self.shown = self.phase.__enter__()
        return self

    def __exit__(self, *error) -> None:
        self.phase.__exit__(*error)

    def images_seen(self, trainer) -> int:
        """Images that the run has seen so far, each time they were."""
        return trainer.epoch * len(trainer.train_batches.data) + trainer.sums.seen

    def after_step(self, trainer, loss) -> None:
        def figures() -> str:
            mean, accuracy = trainer.sums.means()
            return f"loss {mean:.3f}, {accuracy:.1%} right"

        self.shown.what = f"epoch {trainer.epoch + 1}/{trainer.epochs}"
        count = self.images_seen(trainer) - self.seen
        self.seen += count
        LINE.clock.images[TRAINING] += count
        self.shown.advance(count, figures)

    def after_epoch(self, trainer) -> None:
        heads = ["epoch", *(name.replace("_", " ") for name in trainer.results)]
        if trainer.epoch == self.first + 1:
            print_past("  ".join(heads))
        cells = [f"{trainer.epoch:>5}"]
        columns = zip(trainer.results.values(), heads[1:], strict=True)
        cells += [f"{values[-1]:>{len(head)}.4f}" for values, head in columns]
        print_past("  ".join(cells), flush=True)
