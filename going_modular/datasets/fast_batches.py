"""Batches made faster than in notebook 01, with the same windows and numbers."""

import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ReusedMemory", "pixel_boxes", "prefetch", "reusing_memory", "stretch_bytes"]


def stretch_bytes(images: Tensor, windows: Tensor, out: Tensor | None = None) -> Tensor:
    """Do what `data_setup.stretch_windows` does, with bytes.

    Args:
        images: (B, C, H, W) uint8 on the CPU. Fastest where the channels of a pixel
            lie side by side in memory, as in photos that `datasets.folders` reads.
        windows: (B, 2, 3), as `data_setup.random_windows` gives them.
        out: (B, C, H, W) uint8 to write into; it may be the images themselves.

    Returns:
        (B, C, H, W) uint8, rounded to the nearest.
    """
    size = torch.tensor(images.shape[:1:-1])  # (2,): width and height
    mirrored = (windows[:, 0, 0] < 0).tolist()
    boxes = pixel_boxes(windows, size).tolist()
    crops = torch.empty_like(images) if out is None else out
    for place, (left, top, width, height) in enumerate(boxes):
        image = images[place : place + 1]  # (1, C, H, W)
        part = image[..., top : top + height, left : left + width]
        crop = F.interpolate(part, tuple(images.shape[2:]), mode="bilinear")
        crops[place] = (crop.flip(-1) if mirrored[place] else crop)[0]
    return crops


def pixel_boxes(windows: Tensor, size: Tensor) -> Tensor:
    """The boxes of whole pixels nearest to windows.

    Args:
        windows: (B, 2, 3), as `data_setup.random_windows` gives them.
        size: (2,), width and height of the images in pixels.

    Returns:
        (B, 4) int64: left, top, width and height, at least one pixel each.
    """
    shares = windows[:, :, :2].sum(2).abs()  # (B, 2): one of the two numbers is zero
    sides = (shares * size).round().clamp(min=1)  # (B, 2)
    corners = ((windows[:, :, 2] + 1 - shares) / 2 * size).round()  # (B, 2)
    corners = corners.minimum(size - sides)
    return torch.cat([corners, sides], dim=1).long()  # (B, 4)


def prefetch(batches: Iterable) -> Iterator:
    """Iterate over batches that a thread makes, one ahead.

    Order and content are those of the batches; an error in making one comes up where
    it would have been taken.
    """
    end = object()
    iterator = iter(batches)
    thread = ThreadPoolExecutor(max_workers=1)
    coming = thread.submit(next, iterator, end)
    try:
        while (batch := coming.result()) is not end:
            coming = thread.submit(next, iterator, end)
            yield batch
    finally:
        thread.shutdown(wait=False)
        wait([coming])  # Ctrl-C here leaves the thread for Python's end to wait for
        thread.shutdown()


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
