"""One step of training, in parts if the batch is large."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["gradient_step"]


def gradient_step(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    clip_norm: float | None = 1.0,
    label_smoothing: float = 0.0,
    precision: torch.dtype = torch.float32,
    accumulate: int = 1,
) -> tuple[Tensor, Tensor]:
    """What `engine.train_step` does, with the batch cut into parts.

    The gradients of the parts add up to that of the whole batch, in the memory that
    one part needs.

    Args:
        model, images, labels, optimizer, clip_norm, label_smoothing, precision: As for
            `engine.train_step`.
        accumulate: How many parts.

    Returns:
        The batch's mean loss, and how many images were classified rightly.
    """
    optimizer.zero_grad()
    total, right = 0.0, 0
    autocast = precision != torch.float32
    parts = zip(images.chunk(accumulate), labels.chunk(accumulate), strict=True)
    for x, y in parts:
        with torch.autocast(x.device.type, dtype=precision, enabled=autocast):
            logits = model(x)  # (B / accumulate, K)
        loss = F.cross_entropy(logits.float(), y, label_smoothing=label_smoothing)
        if accumulate > 1:
            loss = loss * (len(y) / len(labels))
        loss.backward()
        total = total + loss.detach()
        right = right + (logits.argmax(dim=1) == y).sum()
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return total, right
