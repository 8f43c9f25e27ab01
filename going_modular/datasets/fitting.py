"""Bringing images into the size and the channels that a model reads."""

from dataclasses import replace

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from going_modular.config import ViTConfig
from going_modular.data_setup import ImageSet

__all__ = ["fit_images", "fit_set"]

# Weights of red, green and blue in the brightness of a pixel (ITU-R BT.601).
LUMA = (0.299, 0.587, 0.114)


def fit_images(images: Tensor, config: ViTConfig) -> Tensor:
    """Give images a model's size and channels.

    Grey images become RGB by repeating them, RGB images grey by their brightness.

    Args:
        images: (n, C, H, W) uint8, C 1 or 3.
        config: The model.

    Returns:
        (n, in_channels, height, width) uint8.

    Raises:
        ValueError: The channels cannot become those of the model.
    """
    have, want = images.shape[1], config.in_channels
    if have == 3 and want == 1:
        luma = torch.tensor(LUMA, device=images.device).view(3, 1, 1)
        images = (images * luma).sum(dim=1, keepdim=True)  # (n, 1, H, W)
        images = images.round().to(torch.uint8)
    elif have == 1 and want == 3:
        images = images.expand(-1, 3, -1, -1)  # (n, 3, H, W)
    elif have != want:
        raise ValueError(f"images of {have} channels cannot become {want} channels")
    if tuple(images.shape[2:]) == config.image_shape:
        return images
    return functional.resize(
        images,
        list(config.image_shape),
        functional.InterpolationMode.BICUBIC,
        antialias=True,
    )  # (n, C, height, width)


def fit_set(data: ImageSet, config: ViTConfig) -> ImageSet:
    """The same set with images as `fit_images` makes them."""
    return replace(data, images=fit_images(data.images, config))
