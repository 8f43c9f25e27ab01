"""Each process makes its own share of every batch."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from going_modular.data_setup import Batches

__all__ = ["PADDING", "Shares"]

PADDING = -100  # a label that counts for nothing: cross_entropy's ignore_index


@dataclass(eq=False, repr=False)
class Shares(Batches):
    """One process's shares of the batches that one process alone would make.

    A batch is cut into `count` parts, one after the other; together they hold the same
    images, seen through the same augmentation. All parts have the same length, so that
    all processes do the same work: what a short batch lacks at its end is filled up
    with copies, whose label is `PADDING`. A part may be all padding.

    Attributes:
        rank: Which part, from 0.
        count: How many parts.

    Augmentation is also called with the `start` and `of` of `random_crop_and_flip`.
    """

    rank: int = 0
    count: int = 1

    def make(self, chosen: Tensor, place: int) -> tuple[Tensor, Tensor]:
        """This part of the batch of the chosen images."""
        size = math.ceil(len(chosen) / self.count)
        start = self.rank * size
        own = chosen[start : start + size]
        labels = torch.full((size,), PADDING)
        labels[: len(own)] = self.data.labels[own]
        if not len(own):
            start, own = 0, chosen[:1]  # something to compute with
        share = dict(start=start, of=len(chosen))
        images = self.prepare(self.data.take(own), place, **share)
        if len(own) < size:
            rows = torch.arange(size, device=images.device).clamp(max=len(own) - 1)
            images = images[rows]  # (B / count, C, H, W)
        return images, labels.to(self.device)
