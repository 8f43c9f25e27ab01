"""The "inception crop": each image is shown through a random window, some mirrored.

A window has a width w and a height h, as shares of the image, so its area is a = w h
and its form r = w / h. Neither share may exceed 1, so r lies between a and 1 / a. Here
the range of r is narrowed where a window would not fit; torchvision draws again.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["random_crop_and_flip", "random_windows", "stretch_windows"]


def random_windows(
    count: int,
    min_area: float = 0.05,
    generator: torch.Generator | None = None,
    flip: bool = True,
) -> Tensor:
    """Draw `count` windows that lie inside an image, half of them mirrored if `flip`.

    A window covers `min_area` to 100 % of the image, all shares equally likely, and is
    3/4 to 4/3 as wide as high (in image sides), or squarer where that would not fit.

    Returns:
        (count, 2, 3) floats, [[width, 0, x], [0, height, y]]: the sides as shares, the
        centre from -1 to 1. The width of a mirrored window is negative.
    """
    if not 0 < min_area <= 1:
        raise ValueError(f"min_area must be above 0 and at most 1, not {min_area}")
    area, shape, x, y, mirror = torch.rand(5, count, generator=generator)
    area = min_area + (1 - min_area) * area
    ratio = torch.exp((2 * shape - 1) * (-area.log()).clamp(max=math.log(4 / 3)))
    width, height = (area * ratio).sqrt(), (area / ratio).sqrt()
    windows = torch.zeros(count, 2, 3)
    windows[:, 0, 0] = torch.where((mirror < 0.5) & flip, -width, width)
    windows[:, 1, 1] = height
    windows[:, 0, 2] = (2 * x - 1) * (1 - width)
    windows[:, 1, 2] = (2 * y - 1) * (1 - height)
    return windows


def stretch_windows(images: Tensor, windows: Tensor) -> Tensor:
    """(B, C, H, W): what each of (B, 2, 3) windows shows, as large as the image."""
    windows = windows.to(images)
    grid = F.affine_grid(windows, images.shape, align_corners=False)  # (B, H, W, 2)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def random_crop_and_flip(
    images: Tensor,
    min_area: float = 0.05,
    generator: torch.Generator | None = None,
    flip: bool = True,
) -> Tensor:
    """Show each image through a random window, stretched back to the image's size.

    Args:
        images: (B, C, H, W) floats.
        min_area: Least share of the area, above 0 and up to 1.
        generator: Source of the random numbers.
        flip: Mirror half of the images.

    Returns:
        (B, C, H, W) floats.

    Source: the "inception crop" of the official code's pre-training, 5 to 100 %.
    """
    windows = random_windows(len(images), min_area, generator, flip)  # (B, 2, 3)
    return stretch_windows(images, windows)
