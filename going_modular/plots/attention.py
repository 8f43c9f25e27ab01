"""Pictures of attention: over images, through layers, head by head."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from going_modular.plots.style import COLOURS, WIDTH, to_picture

__all__ = [
    "BRIGHTEST",
    "end_of_scale",
    "plot_attention_over_image",
    "plot_layers_by_heads",
    "plot_maps_of_images",
]

BRIGHTEST = 0.98  # the quantile of a map that gets the brightest colour


def end_of_scale(values: Tensor, quantile: float = BRIGHTEST) -> float:
    """Where the colours of a map end, or those of several that share one scale.

    With weights from many photos one or two patches of the background may get far more
    than all others, and on a scale up to the greatest value these would all look alike.
    So the scale ends at a quantile, and what lies above has the brightest colour.

    Args:
        values: Of any shape, from 0.
        quantile: Which one; 1 is the greatest value.

    Returns:
        A number above 0: the greatest value where the quantile is 0, since a map may
        have less patches than that with anything on them.
    """
    values = values.detach().cpu().float().flatten()
    # The lower of two neighbours: between them, an outlier would count in small grids.
    greatest = values.quantile(quantile, interpolation="lower").item()
    greatest = greatest or values.max().item()
    return max(greatest, 1e-12)  # no division by zero where nothing is on the map


def beyond(values: Tensor, greatest: float) -> str:
    """Which end of a colour bar gets an arrow: some values may lie above it."""
    return "max" if values.max().item() > greatest else "neither"


def draw_map(
    ax: Axes,
    image: Tensor,
    values: Tensor,
    greatest: float,
    patch: tuple[int, int] | None = None,
    alpha: float = 0.65,
):
    """Lay a (H/P, W/P) map over a (C, H, W) image, patch on patch."""
    height, width = image.shape[1:]
    rows, columns = values.shape
    extent = (0, width, height, 0)
    ax.imshow(to_picture(image), extent=extent)
    values = values.detach().cpu().float().numpy()
    shown = ax.imshow(values, extent=extent, alpha=alpha, vmin=0, vmax=greatest)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if patch is not None:
        step = (width / columns, height / rows)
        corner = (patch[1] * step[0], patch[0] * step[1])
        for colour, thickness in (("black", 3.5), (COLOURS["query"], 2)):
            outline = dict(fill=False, color=colour, linewidth=thickness)
            ax.add_patch(Rectangle(corner, *step, **outline))
    return shown


def plot_attention_over_image(
    image: Tensor,
    values: Tensor,
    label: str,
    patch: tuple[int, int] | None = None,
    title: str = "",
) -> Figure:
    """Show an image with the grid of its patches, and a map over it.

    Args:
        image: (C, H, W) bytes or floats -1..1.
        values: (H/P, W/P), one value a patch, from 0.
        label: What the colours are.
        patch: Row and column of the patch that looks, to be outlined, or None.
        title: Above the map.
    """
    height, width = image.shape[1:]
    rows, columns = values.shape
    side = (WIDTH - 1) / 2
    size = (WIDTH, min(side * height / width, 6) + 0.4)
    fig, (left, right) = plt.subplots(1, 2, figsize=size)
    left.imshow(to_picture(image), extent=(0, width, height, 0))
    for row in range(rows + 1):
        left.axhline(row * height / rows, color="white", linewidth=0.5)
    for column in range(columns + 1):
        left.axvline(column * width / columns, color="white", linewidth=0.5)
    left.set(title=f"{rows} x {columns} patches", xticks=[], yticks=[])
    left.spines[:].set_visible(False)
    shown = draw_map(right, image, values, values.max().item(), patch)
    right.set_title(title)
    bar = fig.colorbar(shown, ax=right, label=label)
    bar.solids.set_alpha(1)
    return fig


def plot_layers_by_heads(
    image: Tensor,
    maps: Tensor,
    layers: Sequence[int],
    label: str,
    patch: tuple[int, int] | None = None,
) -> Figure:
    """Show one map a layer (down) and head (across), all on one scale of colours.

    Args:
        image: (C, H, W), under each map.
        maps: (n, nh, H/P, W/P) maps of n layers.
        layers: The layers' numbers.
        label: What the colours are.
        patch: Row and column of the patch that looks, to be outlined, or None.
    """
    n, nh = maps.shape[:2]
    cell = min((WIDTH - 1.5) / nh * image.shape[1] / image.shape[2], 1.3)
    size = (WIDTH, (cell + 0.06) * n + 0.3)
    fig, axes = plt.subplots(n, nh, figsize=size, squeeze=False)
    maps = maps.detach().cpu().float()
    greatest = end_of_scale(maps, 0.995)  # one scale for all: few patches of each map
    for place, layer in enumerate(layers):
        for head, ax in enumerate(axes[place]):
            shown = draw_map(ax, image, maps[place, head], greatest, patch, alpha=0.8)
            if place == 0:
                ax.set_title(f"head {head + 1}" if nh <= 8 else head + 1, fontsize=9)
        side = dict(rotation=0, ha="right", va="center")
        axes[place, 0].set_ylabel(f"layer {layer}", fontsize=9, **side)
    above = beyond(maps, greatest)
    bar = fig.colorbar(shown, ax=axes, label=label, extend=above)
    bar.solids.set_alpha(1)
    return fig


def plot_maps_of_images(
    images: Sequence[Tensor],
    maps: Mapping[str, Tensor],
    label: str = "share of the map's greatest value",
    names: Sequence[str] = (),
    quantile: float = 1.0,
) -> Figure:
    """Show a row for each image: the image, then one map of it in each column.

    Each map has its own scale, from 0 to its greatest value or to a quantile: columns
    may hold kinds of maps, or the layers of one kind.

    Args:
        images: n images, (C, H, W).
        maps: (n, H/P, W/P) maps, by the column's title.
        label: What the colours are.
        names: A word for each row.
        quantile: Of each map, where its scale ends; as for `end_of_scale`.
    """
    columns = len(maps) + 1
    cell = (WIDTH - 1) / columns
    heights = [image.shape[1] / image.shape[2] * cell for image in images]
    fig, axes = plt.subplots(
        len(images), columns, squeeze=False, height_ratios=heights,
        figsize=(WIDTH, sum(heights) * 1.06 + 0.4),
    )  # fmt: skip
    for row, image in enumerate(images):
        height, width = image.shape[1:]
        axes[row, 0].imshow(to_picture(image), extent=(0, width, height, 0))
        axes[row, 0].set(xticks=[], yticks=[])
        axes[row, 0].spines[:].set_visible(False)
        if row < len(names):
            axes[row, 0].set_ylabel(names[row], fontsize=9)
        for ax, (title, values) in zip(axes[row, 1:], maps.items(), strict=True):
            relative = values[row] / end_of_scale(values[row], quantile)
            shown = draw_map(ax, image, relative, 1.0)
            if row == 0:
                ax.set_title(title, fontsize=9)
    above = "max" if quantile < 1 else "neither"
    bar = fig.colorbar(shown, ax=axes, label=label, extend=above)
    bar.solids.set_alpha(1)
    return fig
