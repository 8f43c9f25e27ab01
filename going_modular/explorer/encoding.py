"""Weights, the image and its colours as text, for JSON."""

import base64
import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from PIL import Image
from torch import Tensor

__all__ = ["quantise", "restore", "rounding_errors", "to_data_url", "viridis"]

STEPS = 255


def quantise(weights: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Round each row of (n, ..., T) weights to 255 steps of its maximum.

    Args:
        weights: An array, or one for each of n layers.

    Returns:
        (n, ..., T) uint8 steps and (n, ...) float32 scales, the worth of one step. No
        weight is off by more than its row's maximum / 510.
    """
    steps = np.empty((len(weights), *weights[0].shape), np.uint8)
    scales = np.empty(steps.shape[:-1], np.float32)
    for i, layer in enumerate(weights):  # one at a time, for memory's sake
        scales[i] = layer.max(-1).astype(np.float64) / STEPS
        worth = scales[i].astype(np.float64)[..., None]  # (..., 1)
        steps[i] = np.rint(layer / np.where(worth > 0, worth, 1))
    return steps, scales


def restore(steps: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The weights that (..., T) steps and (...) scales stand for, as float64."""
    return steps * scales[..., None].astype(np.float64)


def rounding_errors(
    *stored: tuple[np.ndarray, np.ndarray, Sequence[np.ndarray]],
) -> dict[str, float]:
    """How far steps and scales are from the weights that they were made of.

    Args:
        stored: Steps, scales and float weights, of one kind after the other.

    Returns:
        The "greatest" error and the "mean" over all weights of all kinds.
    """
    greatest, total, count = 0.0, 0.0, 0
    for steps, scales, weights in stored:
        for i, layer in enumerate(weights):
            errors = np.abs(restore(steps[i], scales[i]) - layer)
            greatest = max(greatest, float(errors.max()))
            total += float(errors.sum())
            count += errors.size
    return {"greatest": greatest, "mean": total / count}


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
