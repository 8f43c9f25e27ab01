"""One step of training, in parts if the batch is large."""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from going_modular.processes import ALONE, Processes

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
    processes: Processes = ALONE,
    of: int | None = None,
) -> tuple[Tensor, Tensor]:
    """What `engine.train_step` does, with the batch cut into parts.

    The gradients of the parts add up to that of the whole batch, in the memory that
    one part needs.

    Args:
        model, images, labels, optimizer, clip_norm, label_smoothing, precision: As for
            `engine.train_step`.
        accumulate: How many parts.
        processes: Where there are several, these are the images of one, as `Shares`
            gives them, and all of them take the step together.
        of: Images in the batches of all processes, padding left out.

    Returns:
        The mean loss of the whole batch, and how many images were classified rightly.
    """
    optimizer.zero_grad()
    total, right = 0.0, 0
    autocast = precision != torch.float32
    smooth = dict(label_smoothing=label_smoothing)
    x_parts, y_parts = images.chunk(accumulate), labels.chunk(accumulate)
    for x, y in zip(x_parts, y_parts, strict=True):
        last = y is y_parts[-1]
        with nullcontext() if last else processes.skip_sync(model):
            with torch.autocast(x.device.type, dtype=precision, enabled=autocast):
                logits = model(x)  # (B / accumulate, K)
            if processes.count == 1:
                loss = F.cross_entropy(logits.float(), y, **smooth)
                if accumulate > 1:
                    loss = loss * (len(y) / len(labels))
                loss.backward()
            else:  # padding counts for nothing; processes' gradients are averaged
                loss = F.cross_entropy(logits.float(), y, reduction="sum", **smooth)
                loss = loss / of
                (loss * processes.count).backward()
        total = total + loss.detach()
        right = right + (logits.argmax(dim=1) == y).sum()
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    optimizer.step()
    return processes.total(total, right)
