"""Losses and hits of an epoch, summed where they are computed."""

import torch
from torch import Tensor

__all__ = ["Sums"]


class Sums:
    """Sums over the images of an epoch, kept on the device: reading them waits for it.

    Attributes:
        loss: Sum of the images' losses.
        correct: Images classified rightly.
        seen: Images so far.
        finite: Steps so far whose loss, and every one before, was a finite number.
    """

    def __init__(self, device: torch.device):
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)
        self.finite = torch.zeros((), dtype=torch.int64, device=device)
        self.seen = 0

    def add(self, loss: Tensor, correct: Tensor, count: int) -> None:
        self.loss += loss.double() * count
        self.finite += torch.isfinite(self.loss)
        self.correct += correct
        self.seen += count

    def means(self) -> tuple[float, float]:
        """Mean loss and accuracy."""
        return self.loss.item() / self.seen, self.correct.item() / self.seen

    def state_dict(self) -> dict:
        return {
            "loss": self.loss.item(),
            "correct": self.correct.item(),
            "finite": self.finite.item(),
            "seen": self.seen,
        }

    def load_state_dict(self, state: dict) -> None:
        self.loss.fill_(state["loss"])
        self.correct.fill_(state["correct"])
        self.finite.fill_(state["finite"])
        self.seen = state["seen"]
