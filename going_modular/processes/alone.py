"""One process, or several that train one model together.

All that differs between the two is in a `Processes`. The one here is alone, and does no
more than a plain loop would; those of `together` are started by torchrun.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn

from going_modular.data_setup import Batches
from going_modular.engine import evaluate, predict_logits
from going_modular.system.progress import progress_over

__all__ = ["ALONE", "TESTING", "Processes", "world_size"]

TESTING = "testing"  # as it is shown, and what the time for it counts as


class Processes:
    """One process alone.

    Attributes:
        rank: Which of the processes this is, from 0.
        count: How many there are.
        device: Where it computes.
        sharded: Whether parameters are shared out over the processes.
    """

    rank, count, sharded = 0, 1, False

    def __init__(self, device: torch.device | str = "cpu"):
        self.device = torch.device(device)

    def __str__(self) -> str:
        return str(self.device)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *error) -> None:
        pass

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""

    @contextmanager
    def in_turns(self) -> Iterator[None]:
        """The first process goes first, then the first of each machine, then the rest.

        For what one may fetch, mend or keep for the others. All leave together.
        """
        yield

    def first_process_choice(self, choice):
        """What the first process has chosen."""
        return choice

    def share(self, batches: Batches) -> Batches:
        """This process's shares of the batches."""
        return batches

    def place(self, model: nn.Module) -> nn.Module:
        """Bring a new model to the device."""
        return model.to(self.device)

    def wrap(self, model: nn.Module, optimizer=None) -> nn.Module:
        """What is to be called in place of a model when it trains."""
        return model

    def skip_sync(self, model: nn.Module):
        """A context in which the gradients of a part of a batch are not yet summed."""
        return nullcontext()

    def begin_step(self, *key: int) -> None:
        """Random numbers for dropout, told apart by process, epoch and step."""

    def total(self, *numbers: Tensor) -> tuple[Tensor, ...]:
        """Each number summed over the processes."""
        return numbers

    def stop_signal(self, received: int | None, now: bool = False) -> int | None:
        """The signal for which all processes stop, after the same step.

        Args:
            received: What this process was sent, if anything.
            now: Wait for the others' word; otherwise it may come a step later.
        """
        return received

    def evaluate(self, model: nn.Module, batches: Batches) -> tuple[float, float]:
        """Mean cross-entropy and accuracy over all images, each counted once."""
        return evaluate(model, progress_over(batches, TESTING))

    def predict(self, model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
        """(n, K) logits and (n,) labels of all images, in order, on the CPU."""
        return predict_logits(model, progress_over(batches, TESTING))

    def whole(self, state: dict) -> dict:
        """A state with all its tensors whole, in the first process."""
        return state

    def spread(self, part, state: dict) -> dict:
        """A whole state as this process's part, a model or an optimiser, loads it."""
        return state

    def whole_model(self, model: nn.Module) -> nn.Module | None:
        """The model with all its tensors whole, in the first process."""
        return model


ALONE = Processes()


def world_size() -> int:
    """How many processes torchrun has started; 1 without it."""
    size = os.environ.get("WORLD_SIZE", "1")
    return max(1, int(size)) if size.isdecimal() else 1
