"""Pictures of matrices: heat maps, attention, similarity."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from going_modular.plots.style import WIDTH, to_picture

__all__ = ["plot_cosine_maps", "plot_heatmap", "plot_heatmaps"]


def plot_heatmap(
    matrix: Tensor,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    label: str = "",
    kind: str = "magnitude",
    ax: Axes | None = None,
    numbers: bool = False,
) -> Figure:
    """Show a matrix as colours, with a labelled colour bar.

    Args:
        matrix: (rows, columns) values.
        title: Title of the panel.
        xlabel: What the columns are.
        ylabel: What the rows are.
        label: What the colours are.
        kind: "magnitude" (viridis), "probability" (cividis from 0 to 1) or "signed"
            (red and blue around 0).
        ax: Where to draw.
        numbers: Write each value into its cell.
    """
    ax = ax or plt.subplots()[1]
    values = matrix.detach().cpu().float().numpy()
    greatest = np.abs(values).max() or 1
    style = {
        "magnitude": dict(cmap="viridis"),
        "probability": dict(cmap="cividis", vmin=0, vmax=1),
        "signed": dict(cmap="RdBu_r", vmin=-greatest, vmax=greatest),
    }[kind]
    picture = ax.imshow(values, aspect="auto", **style)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_major_locator().set_params(integer=True)
    ax.spines[:].set_visible(False)
    ax.figure.colorbar(picture, ax=ax, label=label)
    if numbers:
        for (row, column), value in np.ndenumerate(values):
            background = picture.cmap(picture.norm(value))
            dark = np.dot(background[:3], (0.299, 0.587, 0.114)) < 0.5
            ax.text(
                column, row, f"{value:.3g}", ha="center", va="center",
                color="white" if dark else "black", fontsize=7,
            )  # fmt: skip
    return ax.figure


def plot_heatmaps(
    matrices: Mapping[str, Tensor], xlabel: str, ylabel: str, label: str
) -> Figure:
    """Show square matrices of signed values side by side, with one colour bar.

    Args:
        matrices: (n, n) values, by the panel's title; values that are not a number
            stay white.
        xlabel: What the columns are; empty for pictures that need no numbered axes.
        ylabel: What the rows are.
        label: What the colours are.
    """
    panels = {title: m.detach().cpu().float().numpy() for title, m in matrices.items()}
    greatest = max(np.nanmax(np.abs(values)) for values in panels.values())
    width = WIDTH - 1.2  # the colour bar takes the rest
    fig, axes = plt.subplots(
        1, len(panels), sharey=True, squeeze=False,
        figsize=(WIDTH, width / len(panels) + (0.6 if xlabel else 0.2)),
    )  # fmt: skip
    for ax, (title, values) in zip(axes.flat, panels.items(), strict=True):
        picture = ax.imshow(values, cmap="RdBu_r", vmin=-greatest, vmax=greatest)
        ax.set(title=title, xlabel=xlabel)
        ax.spines[:].set_visible(False)
        if not xlabel:
            ax.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel(ylabel)
    fig.colorbar(picture, ax=axes, label=label)
    return fig


def plot_cosine_maps(
    image: Tensor, maps: Mapping[str, Tensor], mark: tuple[int, int]
) -> Figure:
    """Show an image, and maps of how its patches' tokens lie to a marked patch's.

    Args:
        image: (C, H, W) image.
        maps: (rows, columns) cosines on the grid of patches, by title.
        mark: Row and column of the patch that all are compared with.
    """
    fig, axes = plt.subplots(1, len(maps) + 1, figsize=(WIDTH, 1.8))
    rows, columns = next(iter(maps.values())).shape
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    axes[0].imshow(to_picture(image), extent=extent)
    for ax, (title, cosines) in zip(axes[1:], maps.items(), strict=True):
        shown = ax.imshow(cosines.detach().cpu(), cmap="RdBu_r", vmin=-1, vmax=1)
        ax.set_title(title, fontsize=8)
    for ax in axes:
        colour = "white" if ax is axes[0] else "black"
        ax.plot(mark[1], mark[0], "s", fillstyle="none", color=colour, markersize=5)
        ax.set_axis_off()
    fig.colorbar(shown, ax=axes, label="cosine with\nthe marked patch")
    return fig
