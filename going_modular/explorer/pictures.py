"""The image and its colours as text, for JSON."""

import base64
import io

import matplotlib
import numpy as np
from PIL import Image
from torch import Tensor

__all__ = ["to_data_url", "viridis"]


def to_data_url(image: Tensor) -> str:
    """A (C, H, W) uint8 image as the address of a PNG that is its own file."""
    array = image.cpu().permute(1, 2, 0).numpy()  # (H, W, C)
    picture = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    file = io.BytesIO()
    picture.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def viridis() -> str:
    """The 256 colours of viridis, six hexadecimal digits each, in one string."""
    colours = matplotlib.colormaps["viridis"](np.arange(256), bytes=True)  # (256, 4)
    return colours[:, :3].tobytes().hex()
