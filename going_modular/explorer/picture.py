"""The picture of one photo: where a model looked, and what it took the photo for."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from going_modular.explorer.data import Exploration
from going_modular.explorer.encoding import restore
from going_modular.plots.attention import beyond, draw_map, end_of_scale
from going_modular.plots.predictions import MOST_GUESSES, draw_guesses, shorten
from going_modular.plots.style import WIDTH, to_picture
from going_modular.predictions import Guess
from going_modular.system.text import printable

__all__ = ["class_token_maps", "plot_explanation"]

TALLEST = 4.5  # inches, of a picture
MARGIN = 0.15  # inches
LONG = 2  # width by height from which pictures stand one above the other


def class_token_maps(
    exploration: Exploration, layer: int, head: int | None
) -> dict[str, np.ndarray]:
    """Where the class token looks, as (T,) weights that sum to one.

    Args:
        exploration: Holds the layer.
        layer: From 1.
        head: From 1; the mean of all heads if None.

    Returns:
        "attention" of this layer and "rollout" up to it, to 1/510 of each maximum.
    """
    e, place = exploration, exploration.description["layers"].index(layer)
    heads = slice(None) if head is None else slice(head - 1, head)
    attention = restore(
        e.attention[place, heads, 0], e.attention_scales[place, heads, 0]
    )  # (nh, T)
    rollout = restore(e.rollout[place, 0], e.rollout_scales[place, 0])  # (T,)
    return {"attention": attention.mean(0), "rollout": rollout}


def plot_explanation(
    image: Tensor, exploration: Exploration, layer: int, head: int | None = None
) -> Figure:
    """Show a photo's patches, where the class token looks, and the predictions.

    Args:
        image: (C, H, W) uint8, the photo as the model saw it.
        exploration: What `explorer.data.explore_image` found in it.
        layer, head: As for `class_token_maps`.
    """
    about = exploration.description
    grid_shape, P = (about["rows"], about["columns"]), about["patch_size"]
    guesses = [Guess(g["name"], 0, g["probability"]) for g in about["predictions"]]
    guesses = guesses[:MOST_GUESSES]
    fig, pictures, colour_bars, bars = arrange(
        image.shape[2] / image.shape[1], len(guesses)
    )
    title = shorten(printable(about["title"]), 75, keep_end=True)
    fig.text(
        MARGIN / WIDTH, 1 - MARGIN / fig.get_figheight(), title,
        fontsize=10, va="top", parse_math=False,
    )  # fmt: skip

    draw_patches(pictures[0], image, P)
    size = f"{grid_shape[0]} x {grid_shape[1]} patches of {P} x {P}"
    pictures[0].set_title(f"what the model sees\n{size}", fontsize=9)
    grey = image.float().mean(0, keepdim=True).byte()  # (1, H, W): colours are weights
    maps = class_token_maps(exploration, layer, head)
    which = f"head {head}" if head else f"mean of {about['heads']} heads"
    titles = {
        "attention": f"class token's attention\nlayer {layer}, {which}",
        "rollout": f"rollout to the class token\nlayers 1 to {layer}",
    }
    for ax, bar, (kind, weights) in zip(
        pictures[1:], colour_bars, maps.items(), strict=True
    ):
        values = torch.from_numpy(weights[1:]).view(grid_shape)  # (H/P, W/P)
        greatest = end_of_scale(values)
        shown = draw_map(ax, grey, values, greatest)
        ax.set_title(titles[kind], fontsize=9)
        label = f"weight (class token itself: {weights[0]:.3f})"
        draw_colour_bar(bar, shown, label, beyond(values, greatest))
    if guesses:
        draw_guesses(bars, guesses, most=80)
        bars.set_ylim(len(guesses) - 0.5, -0.5)
        bars.set_title("probability of each class", fontsize=9, loc="left")
    return fig


def arrange(
    elongation: float, guesses: int
) -> tuple[Figure, list[Axes], list[Axes], Axes | None]:
    """Axes for three pictures, side by side or stacked if long, and for their bars.

    Args:
        elongation: Width by height of the photo.
        guesses: Classes to show; without any there are no axes for them.

    Returns:
        The figure; axes of pictures, of the last two's colour bars, and of the classes.
    """
    columns = 1 if elongation > LONG else 3
    width = (WIDTH - (columns + 1) * MARGIN) / columns  # of a column; all in inches
    height = min(width / elongation, TALLEST)
    above, colour_bar = 0.45, 0.55  # a picture's title, and what is below it
    title, text = 0.3, 0.6  # the figure's, and that of each class
    row = above + height + colour_bar
    rows = row if columns == 3 else 3 * row - colour_bar
    below = 0.35 + 0.21 * guesses if guesses else 0
    total = title + rows + below + MARGIN
    fig = plt.figure(figsize=(WIDTH, total), layout="none")

    def place(left: float, top: float, width: float, height: float) -> Axes:
        bottom = total - top - height
        size = (width / WIDTH, height / total)
        return fig.add_axes((left / WIDTH, bottom / total, *size))

    pictures, colour_bars = [], []
    for panel in range(3):
        down, across = divmod(panel, columns)
        left = MARGIN + across * (width + MARGIN)
        upper = title + down * row + above - (colour_bar if down else 0)
        pictures.append(place(left, upper, width, height))
        if panel > 0:  # the photo itself has none
            bar = (left + 0.1, upper + height + 0.08, width - 0.2, 0.08)
            colour_bars.append(place(*bar))
    if not guesses:
        return fig, pictures, colour_bars, None
    lower = total - MARGIN - 0.21 * guesses
    bars = place(text, lower, WIDTH - text - MARGIN, 0.21 * guesses)
    return fig, pictures, colour_bars, bars


def draw_patches(ax: Axes, image: Tensor, patch_size: int) -> None:
    """Draw a (C, H, W) image with the borders of its patches."""
    height, width = image.shape[1:]
    ax.imshow(to_picture(image), extent=(0, width, height, 0))
    thickness = min(0.7, 8 * patch_size / max(height, width))  # points
    # Light on dark, to be seen on photos of any brightness.
    for style in (
        dict(color="black", linewidth=2 * thickness, alpha=0.4),
        dict(color="white", linewidth=thickness),
    ):
        ax.hlines(range(0, height + 1, patch_size), 0, width, **style)
        ax.vlines(range(0, width + 1, patch_size), 0, height, **style)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def draw_colour_bar(ax: Axes, shown, label: str, extend: str) -> None:
    bar = ax.figure.colorbar(shown, cax=ax, orientation="horizontal", extend=extend)
    bar.solids.set_alpha(1)
    bar.outline.set_visible(False)
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=7, pad=2, length=2)
    bar.locator = MaxNLocator(4, steps=[1, 2, 5, 10])
