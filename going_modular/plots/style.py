"""One style for all figures: colours, width, matplotlib's defaults."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from going_modular.plots.alt_text import describe_pictures
from going_modular.system.files import MARK

__all__ = [
    "COLOURS",
    "PART_COLOURS",
    "WIDTH",
    "save_figure",
    "to_picture",
    "use_style",
]

# Told apart with any colour vision. Query and key are pale: fill and outline them.
COLOURS = {
    "patch": "#0072B2",
    "class": "#D55E00",
    "position": "#009E73",
    "query": "#E69F00",
    "key": "#56B4E9",
    "value": "#CC79A7",
    "scratch": "black",
    "transfer": "#808080",
}
# The terms of Equations 2 and 3, in figures as in the notebooks' equations.
PART_COLOURS = {
    "LN": "#808080",
    "MSA": "#CC79A7",
    "MLP": "#8C510A",
    "residual": "#0072B2",
}
WIDTH = 7  # inches, of every figure


def save_figure(figure: Figure, path: str | Path, **options) -> None:
    """Save a figure with this project's mark, by which it may be drawn anew."""
    keys = {".png": "Software", ".svg": "Creator", ".pdf": "Creator"}
    key = keys.get(Path(path).suffix.lower())
    figure.savefig(path, metadata={key: MARK} if key else None, **options)


def use_style() -> None:
    """Set matplotlib's defaults to the project's style; pictures get alt texts."""
    describe_pictures()
    plt.rcParams.update(
        {
            "figure.figsize": (WIDTH, 3),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "image.cmap": "viridis",
            "image.interpolation": "nearest",
            "legend.frameon": False,
        }
    )


def to_picture(image: Tensor) -> np.ndarray:
    """Turn a (C, H, W) image, bytes or floats -1..1, into (H, W, 3) floats 0..1."""
    image = image.detach().cpu()
    image = image / 255 if not image.is_floating_point() else (image + 1) / 2
    picture = image.clamp(0, 1).permute(1, 2, 0).numpy()  # (H, W, C)
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture
