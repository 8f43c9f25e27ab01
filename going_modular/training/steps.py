"""What a step of a long run adds to `engine`: parts, several processes, saved sums."""

from collections.abc import Callable
from contextlib import nullcontext

import torch.nn.functional as F
from torch import Tensor, nn

from going_modular.engine import Sums
from going_modular.processes.alone import ALONE, Processes

__all__ = ["RunSums", "gradients_in_parts"]


def gradients_in_parts(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    label_smoothing: float = 0.0,
    parts: int = 1,
    processes: Processes = ALONE,
    batch_length: int | None = None,
    mix: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None = None,
) -> tuple[Tensor, Tensor]:
    """What `engine.compute_gradients` does, for a batch that is cut into parts.

    The gradients of the parts add up to that of the whole batch, in the memory that
    one part needs.

    Args:
        model, images, labels, label_smoothing: As for `engine.compute_gradients`.
        parts: How many parts.
        processes: Where there are several, these are the images of one, as
            `FastBatches` makes them, and all of them take the step together.
        batch_length: Images in the batches of all processes, padding left out.
        mix: Mixes images, and gives (B, K) shares of the classes in place of labels.

    Returns:
        The mean loss of the whole batch, and how many images were classified correctly.
    """
    batch_length = batch_length or len(labels)
    total, correct = 0.0, 0
    images, targets = (images, labels) if mix is None else mix(images, labels)
    pieces = [tensor.chunk(parts) for tensor in (images, targets, labels)]
    for x, target, y in zip(*pieces, strict=True):
        last = y is pieces[-1][-1]
        with nullcontext() if last else processes.skip_sync(model):
            logits = model(x)  # (B / parts, K)
            loss = F.cross_entropy(
                logits, target, label_smoothing=label_smoothing, reduction="sum"
            )
            loss = loss / batch_length
            # Gradients of several processes are averaged, and should be summed.
            (loss * processes.count).backward()
        total = total + loss.detach()
        correct = correct + (logits.argmax(dim=1) == y).sum()
    return processes.total(total, correct)


class RunSums(Sums):
    """Sums that can be saved, of batches whose length another counts."""

    def __init__(self, batch_length: Callable[[], int]):
        super().__init__()
        self.batch_length = batch_length

    def add(self, loss: Tensor, correct: Tensor, count: int) -> None:
        """Note a step; one process sees `count` images, all together the batch's."""
        super().add(loss, correct, self.batch_length())

    def state_dict(self) -> dict:
        self.look()
        names = ("loss", "correct", "seen", "steps")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: dict) -> None:
        for name in ("loss", "correct", "seen", "steps"):
            setattr(self, name, state[name])
