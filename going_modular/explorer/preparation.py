"""One photo and one model, brought together so that its attention can be shown.

A photo is cut to the square that the model was trained on, or kept whole. A whole one
gives another grid of patches, and the position embeddings are resized to it.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from going_modular.config import ViTConfig
from going_modular.datasets.fitting import fit_images
from going_modular.datasets.photos import (
    open_photo,
    read_photo,
    read_upright,
    why_unreadable,
)
from going_modular.errors import InputError
from going_modular.explorer.data import check_head
from going_modular.inspection.capture import check_layer
from going_modular.vit import make_head
from going_modular.weights.conversion import resize_positions
from going_modular.weights.reading import Pretrained

__all__ = ["add_head", "choose_layers", "has_head", "read_image", "resize_weights"]

MOST_ELONGATED = 4  # times that a whole photo may be longer than it is wide


def read_image(path: Path, config: ViTConfig, whole: bool = False) -> Tensor:
    """Read a photo as a model sees it: upright, in its size and channels.

    Args:
        path: The photo's file.
        config: The model.
        whole: Keep the whole photo: its shorter side gets the model's size, the longer
            one the nearest multiple of the patch side. Else the central square.

    Returns:
        (C, H, W) uint8; H and W are the model's unless `whole`.

    Raises:
        InputError: The file is no readable photo, or one too small or too long.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder: give one photo")
    if not path.is_file():
        raise InputError(f"no photo {str(path)!r}: give the file of one")
    try:
        side = max(config.image_shape)
        if whole:
            photo = read_upright(path, side)
            size = photo.size
        else:
            with open_photo(path) as photo:
                size = photo.size  # not turned yet, which does not matter here
            x = read_photo(path, side)  # (3, side, side)
    except Exception as error:  # damaged files raise many kinds
        raise InputError(
            f"{path} is no readable image ({why_unreadable(error)}): give another photo"
        ) from None
    check_size(path, size, config.patch_size, whole)
    if whole:
        config = replace(config, image_size=whole_shape(size, config))
        x = to_tensor(photo, config.image_shape)  # (3, H, W)
    return fit_images(x[None], config)[0]  # (C, H, W)


def to_tensor(photo: Image.Image, image_shape: tuple[int, int]) -> Tensor:
    """Resize an RGB photo to (3, H, W) bytes."""
    size = image_shape[::-1]  # width before height
    array = np.array(photo.resize(size, Image.Resampling.BICUBIC))  # (H, W, 3)
    return torch.from_numpy(array).permute(2, 0, 1)  # (3, H, W)


def check_size(path: Path, size: tuple[int, int], patch_size: int, whole: bool) -> None:
    """Refuse a photo smaller than a patch or, as a whole, too elongated."""
    width, height = size
    if min(size) < patch_size:
        raise InputError(
            f"{path} is {width} x {height} pixels, smaller than one patch of "
            f"{patch_size} x {patch_size}: give a larger photo"
        )
    if whole and max(size) > MOST_ELONGATED * min(size):
        raise InputError(
            f"{path} is {width} x {height} pixels, one side more than {MOST_ELONGATED} "
            "times the other: crop it, or leave out --whole"
        )


def whole_shape(size: tuple[int, int], config: ViTConfig) -> tuple[int, int]:
    """Height and width (H, W) that a whole photo of (width, height) gets."""
    shorter, P = min(config.image_shape), config.patch_size
    width, height = (
        P * round(shorter * side / min(size) / P) for side in size
    )  # the shorter one comes out as it is, being a multiple of P
    return height, width


def resize_weights(
    found: Pretrained, image_shape: tuple[int, int], resize: str = "official"
) -> Pretrained:
    """The same weights for images of another size, their positions interpolated.

    Args:
        found: The weights.
        image_shape: Height and width in pixels.
        resize: How, one of `weights.conversion.RESIZE_METHODS`.

    Source: ViT paper, section 3.2.
    """
    if image_shape == found.config.image_shape:
        return found
    try:
        config = replace(found.config, image_size=image_shape)
    except ValueError as error:
        raise InputError(str(error)) from None
    name = "patch_embedding.position_embedding"
    grids = (found.config.grid_shape, config.grid_shape)
    positions = resize_positions(found.weights[name], *grids, resize)  # (1, T, D)
    return replace(found, config=config, weights={**found.weights, name: positions})


def has_head(found: Pretrained) -> bool:
    """Whether weights can predict classes: a backbone alone can only attend."""
    return any(name.startswith("head") for name in found.weights)


def add_head(found: Pretrained) -> Pretrained:
    """The same weights with a head of zeros, for one class, where they have none."""
    if has_head(found):
        return found
    config = replace(found.config, num_classes=1)
    head = {f"head.{name}": w for name, w in make_head(config).state_dict().items()}
    return replace(found, config=config, weights=found.weights | head)


def choose_layers(
    config: ViTConfig, layers: list[int] | None, layer: int | None, head: int | None
) -> tuple[list[int], int]:
    """Check what is to be shown of a model, and fill in what is left open.

    Args:
        config: The model.
        layers: The layers to show, from 1; all of them if None.
        layer: The one shown first; the last of them if None.
        head: The head shown first, from 1; the mean of all if None.

    Returns:
        The layers and the one shown first.

    Raises:
        InputError: There is no such layer or head, or `layer` is not among `layers`.
    """
    layers = list(range(1, config.depth + 1)) if layers is None else layers
    layer = max(layers) if layer is None else layer
    for number in (*layers, layer):
        check_layer(number, config.depth)
    if layer not in layers:
        listed = ",".join(map(str, layers))
        raise InputError(f"--layer {layer} is not among --layers {listed}: add it")
    if head is not None:
        check_head(head, config.num_heads)
    return layers, layer
