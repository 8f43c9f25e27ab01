"""Drawings of the two notebooks that look inside a trained model."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from going_modular.plots.style import COLOURS, WIDTH, to_picture

__all__ = [
    "draw_lens",
    "draw_object_and_trust",
    "draw_rows",
    "draw_two_layers",
]


def draw_rows(image: Tensor, panels: Mapping[str, Sequence[float]]) -> Figure:
    """Show an image beside bars that belong to the rows of its patches.

    Args:
        image: (C, H, W).
        panels: One value for each row of patches, from the top, by the panel's title.
    """
    rows = len(next(iter(panels.values())))
    fig, axes = plt.subplots(
        1, len(panels) + 1, figsize=(WIDTH, 2.4), width_ratios=[1.5] + [1] * len(panels)
    )
    height, width = image.shape[1:]
    axes[0].imshow(
        to_picture(image), extent=(0, rows * width / height, rows - 0.5, -0.5)
    )
    for row in range(rows - 1):
        axes[0].axhline(row + 0.5, color="white", linewidth=0.6)
    axes[0].set(xticks=[], yticks=range(rows), ylabel="row of patches", aspect="auto")
    for ax, (title, values) in zip(axes[1:], panels.items(), strict=True):
        greatest = max(values)
        lowest = "probability" in title  # the row that matters is the shortest bar
        marked = min(values) if lowest else greatest
        colours = [COLOURS["class"] if v == marked else "#A0A0A0" for v in values]
        ax.barh(range(rows), values, color=colours)
        ax.set(ylim=(rows - 0.5, -0.5), yticks=[], xlim=(0, 1 if lowest else None))
        ax.set_title(title, fontsize=9)
        ax.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        ax.locator_params(axis="x", nbins=2)
    return fig


def draw_two_layers(steps: Sequence[Tensor], names: Sequence[str]) -> Figure:
    """Show which ways lead down from the first token through two layers, as lines.

    A line is as thick as the share that it hands over, and numbers at the bottom say
    what arrives: the first row of the product of the two matrices.

    Args:
        steps: Two (T, T) matrices, the first layer's and the second layer's; rows are
            tokens that look, and sum to one.
        names: The T tokens; the first one, at the top, is the one whose ways are drawn.
    """
    first, second = steps
    T = len(names)
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    colours = [COLOURS["class"]] + [COLOURS["patch"]] * (T - 1)
    for i in range(T):
        draw_way(ax, (0, 2), (i, 1), second[0, i].item(), second[0, i].item())
        for j in range(T):
            carried = second[0, i] * first[i, j]
            draw_way(ax, (i, 1), (j, 0), carried.item(), first[i, j].item())
    arrives = (second @ first)[0]
    for level, label in enumerate(
        ("$z_0$, the input", "after layer 1", "after layer 2")
    ):
        ax.text(-0.75, level, label, ha="right", va="center")
        for i, name in enumerate(names):
            reached = (arrives[i], second[0, i], float(i == 0))[level] > 0
            ax.text(
                i, level, name, ha="center", va="center", zorder=4,
                color=colours[i] if reached else "#767676",
                bbox=dict(
                    boxstyle="round,pad=0.4", facecolor="white",
                    edgecolor=colours[i] if reached else "#B5B5B5", linewidth=1.5,
                ),
            )  # fmt: skip
    for i, share in enumerate(arrives.tolist()):
        ax.text(i, -0.42, f"{share:g}", ha="center", va="center")
    ax.text(-0.75, -0.42, f"{names[0]} token's row of R", ha="right", va="center")
    ax.set(xlim=(-2.3, T - 0.5), ylim=(-0.65, 2.3))
    ax.axis("off")
    return fig


def draw_way(ax, upper, lower, carried: float, weight: float) -> None:
    """A line between two places, with the share of the step written on it."""
    if carried == 0:
        return
    (x1, y1), (x0, y0) = upper, lower
    ax.plot((x1, x0), (y1, y0), color="#404040", linewidth=12 * carried, alpha=0.55)
    ax.text(
        (x1 + x0) / 2, (y1 + y0) / 2, f"{weight:g}", ha="center", va="center",
        fontsize=9, bbox=dict(boxstyle="round,pad=0.15", facecolor="white", lw=0),
    )  # fmt: skip


def draw_object_and_trust(
    on_object: Mapping[str, Sequence[float]],
    areas: Mapping[str, Sequence[tuple[float, float]]],
) -> Figure:
    """Show, for each kind of map, whether it marks the object and what it is worth.

    Args:
        on_object: Share of images whose highest patch lies on the object, one for each
            model that was asked, by the kind of map.
        areas: The deletion test's area and two standard errors of it, likewise.
    """
    names = sorted(areas, key=lambda name: max(area for area, _ in areas[name]))
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2), sharey=True)
    for place, name in enumerate(names):
        seen = name in ("brightness", "nearness to the centre")  # knows no model
        colour = COLOURS["patch"] if not seen and len(areas[name]) == 1 else "#606060"
        for share, (area, error) in zip(on_object[name], areas[name], strict=True):
            left.plot(100 * share, place, "o", color=colour)
            right.errorbar(area, place, xerr=error, fmt="o", color=colour)
    left.set_yticks(range(len(names)), names)
    left.set(xlabel="images (%)", title="brightest patch is on the object")
    right.set(xlabel="area", title="deletion test")
    right.set_xlim(left=0)
    for ax in (left, right):
        ax.grid(axis="y", color="0.9")
        ax.set_axisbelow(True)
    return fig


def draw_lens(
    images: Sequence[Tensor], probabilities: Tensor, class_names: Sequence[str]
) -> Figure:
    """Show images and, beside each, what the head would say after each block.

    Args:
        images: n images, (C, H, W).
        probabilities: (L + 1, n, K), the first before any block.
        class_names: The K classes.
    """
    n = len(images)
    fig, axes = plt.subplots(
        n, 2, figsize=(WIDTH, 1.9 * n + 0.6), width_ratios=(1, 3), squeeze=False
    )
    for (left, right), image, said in zip(
        axes, images, probabilities.unbind(1), strict=True
    ):
        left.imshow(to_picture(image))
        left.axis("off")
        shown = right.imshow(
            said.numpy(), cmap="cividis", vmin=0, vmax=1, aspect="auto"
        )
        right.set_xticks(range(len(class_names)), [""] * len(class_names))
        right.set_yticks(range(len(said)), ["before", *range(1, len(said))])
        right.set(ylabel="after block", ylim=(-0.5, len(said) - 0.5))
        right.spines[:].set_visible(False)
    axes[-1, 1].set_xticklabels(class_names, rotation=45, ha="right")
    fig.colorbar(shown, ax=axes[:, 1], label="probability")
    return fig
