"""The batches of notebook 01, made faster, and shared among processes if need be.

The same seed gives the same order, the same windows and, but for the rounding of crops
made as bytes, the same numbers.
"""

import itertools
import math
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from going_modular.data_setup import Batches, normalise
from going_modular.datasets.augmentation import rand_augment
from going_modular.datasets.windows import random_windows, stretch_windows
from going_modular.utils import random_stream

__all__ = [
    "PADDING",
    "FastBatches",
    "ReusedMemory",
    "batches_from",
    "normaliser",
    "pixel_boxes",
    "prefetch",
    "stretch_bytes",
]

CROPPED_AS_BYTES_FROM = 48  # pixels a side; smaller images are quicker as floats
RANDAUGMENT = 1  # tells its random numbers from those of the windows
PADDING = -100  # a label that counts for nothing: cross_entropy's ignore_index


@dataclass(eq=False, repr=False)
class FastBatches(Batches):
    """`Batches` that scripts train on.

    Photos are cropped as bytes, which are written over those of the batch: another
    15 MB would be new memory, slow at its first touch, for each batch of 100 photos of
    224 pixels. Several processes make a part of each batch. Together the parts hold
    the images of the whole batch, seen through the same windows. All parts have the
    same length, so that all processes do the same work: what a short batch lacks at
    its end is filled up with copies, whose label is `PADDING`.

    Attributes:
        crop_area: Show each image through a random window of at least this share of
            its area; None shows all of it.
        flip: Mirror half of the windows.
        randaugment: Strength of `augmentation.rand_augment`; 0 leaves it out.
        repeats: How often an image is in a batch, each time changed in another way. An
            epoch then has as many images as ever, of which fewer are different (Hoffer
            et al., arXiv 1901.09335).
        rank: Which part this process makes, from 0.
        count: Into how many parts a batch is cut.
    """

    crop_area: float | None = None
    flip: bool = True
    randaugment: int = 0
    repeats: int = 1
    rank: int = 0
    count: int = 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self.starting_at(0)

    def order(self) -> Tensor:
        """(n,) positions of the images, as this epoch visits them."""
        order = super().order()
        if self.repeats == 1:
            return order
        return order.repeat_interleave(self.repeats)[: len(order)]

    def starting_at(self, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of this epoch from one on, for a run that goes on."""
        batches = self.order().split(self.batch_size)
        for place in range(first, len(batches)):
            yield self.make(batches[place], place)

    def make(self, chosen: Tensor, place: int) -> tuple[Tensor, Tensor]:
        """This process's part of the batch of the chosen images."""
        size = math.ceil(len(chosen) / self.count)
        start = self.rank * size
        own = chosen[start : start + size]
        labels = torch.full((size,), PADDING)
        labels[: len(own)] = self.data.labels[own]
        if not len(own):
            start, own = 0, chosen[:1]  # something to compute with
        windows = None
        if self.crop_area is not None:
            stream = random_stream(self.seed, self.epoch, place)
            windows = random_windows(len(chosen), self.crop_area, stream, self.flip)
            windows = windows[start : start + len(own)]  # (B / count, 2, 3)
        images = take(self.data.images, own)  # (B / count, C, H, W)
        if self.randaugment:
            key = (self.seed, self.epoch, place, RANDAUGMENT)
            images = rand_augment(images, self.randaugment, key, start)
        images = self.prepare(images, windows)
        if len(own) < size:
            rows = torch.arange(size, device=images.device).clamp(max=len(own) - 1)
            images = images[rows]  # (B / count, C, H, W)
        return images, labels.to(self.device)

    def prepare(self, images: Tensor, windows: Tensor | None) -> Tensor:
        """Floats of bytes, as the windows show them; the bytes may be overwritten."""
        if windows is None:
            return self.transform(images.to(self.device))
        if images.shape[-1] >= CROPPED_AS_BYTES_FROM:
            crops = stretch_bytes(images, windows, out=images)
            return self.transform(crops.to(self.device))
        return stretch_windows(self.transform(images.to(self.device)), windows)


def batches_from(batches: Batches, first: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The batches of an epoch from one on; those of `Batches` are all made."""
    if isinstance(batches, FastBatches):
        yield from batches.starting_at(first)
    else:
        yield from itertools.islice(batches, first, None)


def take(images: Tensor, positions: Tensor) -> Tensor:
    """(B, C, H, W) images; copied whole, for photos quicker than `images[...]`."""
    return torch.cat([images[i : i + 1] for i in positions.tolist()])


def stretch_bytes(images: Tensor, windows: Tensor, out: Tensor | None = None) -> Tensor:
    """Do what `windows.stretch_windows` does, with bytes.

    Args:
        images: (B, C, H, W) uint8 on the CPU. Fastest where the channels of a pixel
            lie side by side in memory, as in photos that `datasets.folders` reads.
        windows: (B, 2, 3), as `windows.random_windows` gives them.
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
        windows: (B, 2, 3), as `windows.random_windows` gives them.
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


def normaliser(mean=(0.5,), std=(0.5,)) -> Callable[[Tensor], Tensor]:
    """`data_setup.normalise` as a `transform` that writes into memory used before.

    On other devices than the CPU, PyTorch itself keeps memory for the next tensor.
    """
    memory = ReusedMemory()

    def write(images: Tensor) -> Tensor:
        if images.device.type != "cpu":
            return normalise(images, mean, std)
        scale, shift = (torch.tensor(v).view(-1, 1, 1) for v in (std, mean))
        floats = memory.empty_like(images).copy_(images)
        return floats.div_(255 * scale).sub_(shift / scale)

    return write
