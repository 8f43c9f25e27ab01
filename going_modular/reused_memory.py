"""Large batches are written into memory that an earlier batch has left.

New memory is slow at the first touch: the system clears it, page by page, and for a
batch of 100 photos of 224 pixels (60 MB) that takes six times as long as filling it.
"""

import weakref
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["ReusedMemory", "reusing_memory"]


class ReusedMemory:
    """Memory for tensors, lent again as soon as nothing refers to its last tensor.

    Views count, and so does what autograd keeps: a tensor still in use is never
    overwritten.
    """

    def __init__(self):
        self.free = []  # arrays of float32

    def empty_like(self, images: Tensor) -> Tensor:
        """Float32 of the same shape and memory order, with anything in it."""
        array = self.free.pop() if self.free else None
        if array is None or array.size < images.numel():
            array = torch.empty(images.numel()).numpy()
        lent = array[: images.numel()]  # lives as long as a tensor needs it
        weakref.finalize(lent, self.free.append, array).atexit = False
        order = torch.empty_like(images, device="meta")  # dense, whatever `images` is
        return torch.from_numpy(lent).as_strided(order.shape, order.stride())


def reusing_memory(transform: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    """A `transform` for `Batches` that takes `out`, as `normalise` does.

    On other devices than the CPU, PyTorch itself keeps memory for the next tensor.
    """
    memory = ReusedMemory()

    def write(images: Tensor) -> Tensor:
        if images.device.type != "cpu":
            return transform(images)
        return transform(images, out=memory.empty_like(images))

    return write
