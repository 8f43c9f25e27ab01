"""A report's pictures, each as an address that is its own file."""

import base64
import io
from collections.abc import Sequence

import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from going_modular.errors import InputError
from going_modular.explorer.data import explore_image
from going_modular.explorer.encoding import to_data_url
from going_modular.explorer.picture import class_token_maps
from going_modular.plots.attention import end_of_scale
from going_modular.plots.style import to_picture
from going_modular.vit import ViT

__all__ = ["encode_figure", "encode_panels", "encode_photo", "rollout_maps"]

LONGEST_SIDE = 160  # pixels of a photo
SMALL = 32  # pixels up to which every one is kept as it is
QUALITY = 80  # of the JPEGs, in percent
SHARP = 150  # pixels of a drawing to an inch
MOST_WEIGHTS = 1e9  # bytes of attention that looking may take
ALPHA = 0.65  # how far the map covers the photo, as in explain.py's picture


def encode_photo(image: Tensor) -> str:
    """A (C, H, W) uint8 image, C 1 or 3, at most 160 pixels long, as an address."""
    if max(image.shape[1:]) <= SMALL:
        return to_data_url(image)
    array = image.cpu().permute(1, 2, 0).numpy()  # (H, W, C)
    photo = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    photo.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=QUALITY)
    return address("image/jpeg", file)


def encode_figure(figure: Figure) -> str:
    """A whole figure as the address of a PNG."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=max(SHARP, figure.dpi))
    return address("image/png", file)


def encode_panels(figure: Figure) -> dict[str, str]:
    """Each panel of a figure as a PNG of its own, by its title.

    So one may stand above the other on a phone.
    """
    figure.draw_without_rendering()  # arranges the panels
    panels = {}
    for ax in figure.axes:
        extent = ax.get_tightbbox().padded(6)  # pixels
        file = io.BytesIO()
        inches = extent.transformed(figure.dpi_scale_trans.inverted())
        figure.savefig(file, format="png", bbox_inches=inches, dpi=SHARP)
        panels[ax.get_title()] = address("image/png", file)
    return panels


def address(kind: str, file: io.BytesIO) -> str:
    return f"data:{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def rollout_maps(
    model: ViT, images: Sequence[Tensor], class_names: Sequence[str]
) -> list[str]:
    """Where a model looked in images, as pictures with the patches lit up.

    Args:
        model: In evaluation mode.
        images: Each (C, H, W) uint8, as the model sees it.
        class_names: One name a class.

    Returns:
        One address for each image; none at all if the model does not let itself be
        looked into, or if that would take more than a gigabyte.
    """
    config = model.config
    tokens = config.num_tokens
    if 4 * config.depth * config.num_heads * tokens**2 > MOST_WEIGHTS:
        return []
    maps = []
    try:
        for image in images:
            seen = explore_image(model, image, class_names, layers=[config.depth])
            weights = class_token_maps(seen, config.depth, None)["rollout"]  # (T,)
            values = torch.from_numpy(weights[1:]).view(config.grid_shape)
            maps.append(encode_photo(light_up(image, values)))
    except (InputError, RuntimeError, MemoryError):
        return []
    return maps


def light_up(image: Tensor, values: Tensor) -> Tensor:
    """Lay a (H/P, W/P) map, in viridis, over a (C, H, W) uint8 image: (3, H, W).

    Each map has its own scale, which ends where `end_of_scale` says.
    """
    rows, columns = values.shape
    height, width = (image.shape[1] // rows, image.shape[2] // columns)  # of a patch
    shares = (values / end_of_scale(values)).clamp(max=1).numpy()  # (H/P, W/P)
    colours = matplotlib.colormaps["viridis"](shares)[..., :3]  # (H/P, W/P, 3)
    colours = colours.repeat(height, 0).repeat(width, 1)  # (H, W, 3)
    grey = to_picture(image).mean(axis=2, keepdims=True)  # (H, W, 1)
    lit = ALPHA * colours + (1 - ALPHA) * grey  # (H, W, 3)
    return torch.from_numpy(np.rint(255 * lit).astype(np.uint8)).permute(2, 0, 1)
