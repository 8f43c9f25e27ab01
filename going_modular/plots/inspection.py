"""The paper's figures 7, 10 and 11, and how far maps may be trusted."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from going_modular.inspection.deletion import DeletionCurves
from going_modular.plots.style import COLOURS, WIDTH

__all__ = [
    "plot_attention_distance",
    "plot_deletion_curves",
    "plot_figure_7",
    "plot_position_similarity",
]


def tile(tiles: Tensor, columns: int, gap: int = 1) -> Tensor:
    """Join (n, h, w, ...) pictures to one, in rows, with gaps that are no number."""
    n, height, width = tiles.shape[:3]
    rows = -(-n // columns)
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap)
    sheet = torch.full((*size, *tiles.shape[3:]), torch.nan)
    for i, picture in enumerate(tiles):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        sheet[y : y + height, x : x + width] = picture
    return sheet


def draw_filters(ax: Axes, filters: Tensor, columns: int) -> None:
    """Show (n, C, P, P) filters, each stretched to the whole range of colours."""
    pictures = filters.permute(0, 2, 3, 1)  # (n, P, P, C)
    greatest = pictures.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    sheet = tile(pictures / greatest, columns)
    if filters.shape[1] == 1:
        ax.imshow(sheet[..., 0].numpy(), cmap="RdBu_r", vmin=-1, vmax=1)
    else:
        ax.imshow(((sheet + 1) / 2).nan_to_num(1).numpy())
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def draw_similarity(ax: Axes, similarity: Tensor, ticks: bool = True):
    """Show (r, c, r, c) cosines as r x c small maps, one a patch."""
    rows, columns = similarity.shape[:2]
    sheet = tile(similarity.flatten(0, 1), columns).numpy()
    shown = ax.imshow(
        sheet, vmin=-1, vmax=1, cmap="RdBu_r", interpolation="antialiased"
    )
    step = ((sheet.shape[0] + 1) / rows, (sheet.shape[1] + 1) / columns)
    every = 1 + max(rows, columns) // 8
    if ticks:
        for axis, count, size in (
            (ax.yaxis, rows, step[0]),
            (ax.xaxis, columns, step[1]),
        ):
            places = range(0, count, every)
            axis.set_ticks(
                [(i + 0.5) * size - 1 for i in places], [i + 1 for i in places]
            )
        ax.tick_params(length=0, labelsize=9)
    else:
        ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return shown


def draw_distance(ax: Axes, distances: Tensor, uniform: float | None) -> None:
    """Show (L, nh) distances as dots over depth, and that of a blind average."""
    depth = range(1, len(distances) + 1)
    for head in range(distances.shape[1]):
        ax.plot(depth, distances[:, head], "o", color=COLOURS["patch"], markersize=4,
                alpha=0.7, label="one head" if head == 0 else None)  # fmt: skip
    if uniform is not None:
        ax.axhline(uniform, color="0.4", linestyle="--", label="all patches alike")
    ax.set(
        xlabel="depth (layer)",
        ylim=(0, 1.1 * max(distances.max().item(), uniform or 0)),
    )
    ax.xaxis.get_major_locator().set_params(integer=True)


def plot_figure_7(
    filters: Tensor,
    similarity: Tensor,
    distances: Tensor,
    uniform: float | None = None,
) -> Figure:
    """Draw the paper's figure 7: filters, positions and distances side by side.

    Args:
        filters: (n, C, P, P) principal components of the patch filters.
        similarity: (r, c, r, c) cosines of position embeddings.
        distances: (L, nh) mean attention distances, in pixels.
        uniform: Distance of attention that is the same for all patches.
    """
    fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.7), width_ratios=(1, 1.25, 1.05))
    draw_filters(axes[0], filters, columns=round(len(filters) ** 0.5))
    axes[0].set_title("principal components of\nthe patch filters", fontsize=9)
    shown = draw_similarity(axes[1], similarity)
    axes[1].set_title("similarity of\nposition embeddings", fontsize=9)
    axes[1].set(xlabel="patch column", ylabel="patch row")
    fig.colorbar(shown, ax=axes[1], label="cosine", shrink=0.75)
    draw_distance(axes[2], distances, uniform)
    axes[2].set_title("mean attention distance\n(pixels)", fontsize=9)
    fig.legend(
        *axes[2].get_legend_handles_labels(), loc="outside lower right", ncols=2,
        fontsize=9,
    )  # fmt: skip
    return fig


def plot_attention_distance(
    distances: Mapping[str, Tensor], uniform: float | None = None
) -> Figure:
    """Draw the paper's figure 11: how far each head looks, by depth.

    Args:
        distances: (L, nh) mean attention distances in pixels, by the model's name.
        uniform: Distance of attention that is the same for all patches.
    """
    fig, axes = plt.subplots(
        1, len(distances), figsize=(WIDTH, 2.6), sharey=True, squeeze=False
    )
    for ax, (name, values) in zip(axes.flat, distances.items(), strict=True):
        draw_distance(ax, values, uniform)
        ax.set_title(name, fontsize=9)
    axes[0, 0].set_ylabel("mean attention\ndistance (pixels)")
    axes[0, 0].legend(loc="lower right", fontsize=9)
    return fig


def plot_position_similarity(similarities: Mapping[str, Tensor]) -> Figure:
    """Draw the paper's figure 10: position embeddings of several models.

    Args:
        similarities: (r, c, r, c) cosines, by the model's name.
    """
    n = len(similarities)
    fig, axes = plt.subplots(1, n, figsize=(WIDTH, 0.5 + 6 / n), squeeze=False)
    for ax, (name, similarity) in zip(axes.flat, similarities.items(), strict=True):
        shown = draw_similarity(ax, similarity, ticks=False)
        ax.set_title(name, fontsize=9)
    fig.colorbar(shown, ax=axes, label="cosine")
    return fig


def plot_deletion_curves(curves: Mapping[str, DeletionCurves]) -> Figure:
    """Show what removing patches does to the class probability, one panel a map.

    The area between the curves is filled, and its size written into the panel.
    """
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, 0.4 + 2 * rows), sharex=True, sharey=True,
        squeeze=False,
    )  # fmt: skip
    kinds = (
        ("lowest", "lowest first", COLOURS["patch"], "-"),
        ("random", "in random order", "0.4", ":"),
        ("highest", "highest first", COLOURS["class"], "--"),
    )
    for ax, (name, found) in zip(axes.flat, curves.items(), strict=False):
        for kind, label, colour, style in kinds:
            mean = getattr(found, kind).mean(1)
            ax.plot(100 * found.shares, mean, style, color=colour, label=label)
        edges = found.lowest.mean(1), found.highest.mean(1)
        ax.fill_between(100 * found.shares, *edges, color="0.9")
        ax.set_title(f"{name}: area {found.area:.2f}", fontsize=9)
        ax.set_ylim(0, 1)
    for ax in axes.flat[len(curves) :]:
        ax.set_axis_off()
    for ax in axes[:, 0]:
        ax.set_ylabel("class probability")
    for ax in axes[-1]:
        ax.set_xlabel("patches removed (%)")
    fig.legend(*axes.flat[0].get_legend_handles_labels(), loc="outside upper center",
               ncols=3)  # fmt: skip
    return fig
