"""Stronger augmentation than crops, as torchvision's v2 transforms make it.

They draw from the random numbers that all of PyTorch shares. Here each image and each
batch draws from a key of its own, so that a run that goes on sees what it would have
seen, and so do several processes.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from going_modular.utils import random_stream

__all__ = ["Mixing", "rand_augment"]

DRAWING = threading.Lock()  # the shared random numbers are of one key at a time


@contextmanager
def numbers_of(*key: int) -> Iterator[None]:
    """A context in which the CPU's shared random numbers are those of a key."""
    with DRAWING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(random_stream(*key).initial_seed())
        yield


def rand_augment(
    images: Tensor, magnitude: int, key: tuple[int, ...], first: int = 0
) -> Tensor:
    """Change each image by two operations drawn at random, such as a shear or a blur.

    Args:
        images: (B, C, H, W) uint8, of one channel or three.
        magnitude: How strong they are, 1 to 30.
        key: Decides them, together with the place of the image in the batch.
        first: Place of the first of these images there.

    Returns:
        (B, C, H, W) uint8.

    Source: RandAugment, arXiv 1909.13719.
    """
    change = v2.RandAugment(num_ops=2, magnitude=magnitude)
    changed = torch.empty_like(images)
    for place, image in enumerate(images):
        with numbers_of(*key, first + place):
            changed[place] = change(image)
    return changed


class Mixing:
    """Mixes the images of a batch in pairs, and their labels in the same shares.

    mixup lays one image over the other; CutMix cuts a rectangle out of one and pastes
    it into the other. Where both are asked for, each batch takes one of them.

    Source: mixup, arXiv 1710.09412; CutMix, arXiv 1905.04899.
    """

    def __init__(self, num_classes: int, mixup: float, cutmix: float):
        """Prepare it.

        Args:
            num_classes: K.
            mixup, cutmix: The alpha of each, whose Beta distribution decides the
                shares; 0 leaves it out. One of them is positive.
        """
        self.num_classes = num_classes
        kinds = [v2.MixUp(alpha=mixup)] if mixup else []
        kinds += [v2.CutMix(alpha=cutmix)] if cutmix else []
        self.mix = v2.RandomChoice(kinds)

    def __call__(
        self, images: Tensor, labels: Tensor, key: tuple[int, ...]
    ) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            images: (B, C, H, W) floats.
            labels: (B,) classes; one below 0 stands for no class.
            key: Decides the pairs and their shares.

        Returns:
            (B, C, H, W) images, and (B, K) shares of the classes.
        """
        shares = F.one_hot(labels.clamp(min=0), self.num_classes).to(images.dtype)
        shares = shares * (labels >= 0)[:, None]  # (B, K)
        with numbers_of(*key):
            return self.mix(images, shares)
