"""What a run leaves to be looked at while it goes on: tables, curves, a line a step.

Each class here is a watcher of a `Trainer`: `after_step` and `after_epoch` are called
with it. What a run that died wrote after its last checkpoint is dropped on resuming.
"""

import csv
import json
import math
import time
from pathlib import Path

import matplotlib.pyplot as plt
from torch import Tensor

from going_modular.checkpoint import cannot_write, write_file
from going_modular.helper_functions import plot_loss_curves, use_style
from going_modular.results import write_results
from going_modular.utils import InputError

__all__ = ["EpochFiles", "StepLines", "TensorBoard", "global_step"]

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
        write_file(self.folder / "history.csv", lambda path: write_csv(path, results))
        if time.monotonic() - self.drawn > CURVES_EVERY:
            use_style()
            figure = plot_loss_curves(results)
            write_file(self.folder / "loss_curves.png", figure.savefig)
            plt.close(figure)
            self.drawn = time.monotonic()


def write_csv(path: Path, results: dict[str, list[float]]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("epoch", *results))
        rows = zip(*results.values(), strict=True)
        writer.writerows((epoch, *row) for epoch, row in enumerate(rows, start=1))


class StepLines:
    """One line of JSON a step in steps.jsonl, for other programs.

    Reading the loss waits for it, which costs time on a GPU.
    """

    def __init__(self, folder: Path, done: int):
        """Begin after `done` steps: later lines are of a run that died."""
        self.path = folder / "steps.jsonl"
        text = self.path.read_text(errors="replace") if self.path.exists() else ""
        lines = text.splitlines()
        kept = "".join(f"{line}\n" for line in lines if step_of(line) <= done)
        write_file(self.path, lambda path: path.write_text(kept))
        self.file = open(self.path, "a", buffering=1)  # as long as the run

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
