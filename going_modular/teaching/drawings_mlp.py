"""Drawings of notebook 04: widths, thresholds, and what hidden units react to."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from torch import Tensor
from torch.nn.functional import gelu

from going_modular.plots.style import COLOURS, WIDTH, to_picture
from going_modular.teaching import scene

__all__ = ["BROWN", "draw_favourites", "draw_thresholds", "draw_widths"]

BROWN = "#8C510A"  # the MLP's colour in Equation 3


def draw_favourites(
    images: Tensor, panels: Mapping[str, Mapping[str, tuple[Tensor, Tensor]]]
) -> Figure:
    """Show the images that excite some units most, the patch framed.

    Args:
        images: (n, 1, S, S) uint8, in 7 x 7 patches.
        panels: For each panel, by its title, the rows by their names: positions of
            images, and the patch of each, counted from 0 and row by row.
    """
    panel_rows = list(panels.values())
    counts = [len(next(iter(rows.values()))[0]) for rows in panel_rows]
    height = 0.3 + len(panel_rows[0]) * (WIDTH - 0.7 * len(panels)) / sum(counts)
    fig = plt.figure(figsize=(WIDTH, height))
    parts = fig.subfigures(1, len(panels), width_ratios=counts, squeeze=False)[0]
    side = images.shape[-1] // 7
    for part, (title, rows), count in zip(parts, panels.items(), counts, strict=True):
        if title:
            part.suptitle(title, fontsize=10)
        axes = part.subplots(len(rows), count, squeeze=False)
        for line, (name, (chosen, patches)) in zip(axes, rows.items(), strict=True):
            line[0].set_ylabel(name, rotation=0, ha="right", va="center")
            for ax, image, patch in zip(
                line, images[chosen], patches.tolist(), strict=True
            ):
                show_patch(ax, image, patch, side)
    return fig


def show_patch(ax: Axes, image: Tensor, patch: int, side: int) -> None:
    """Show an image with one of its patches framed."""
    ax.imshow(to_picture(image))
    ax.set(xticks=(), yticks=())
    ax.spines[:].set_visible(False)
    row, column = divmod(patch, 7)
    corner = (column * side - 0.5, row * side - 0.5)
    for colour, width in (("white", 3), (COLOURS["patch"], 1.6)):
        ax.add_patch(
            Rectangle(corner, side, side, fill=False, edgecolor=colour, lw=width)
        )


def draw_widths(models: Mapping[str, tuple[int, int]]) -> Figure:
    """Draw how wide a token is on its way through the MLPs of some models.

    Args:
        models: D and F of each, by its name. Each is drawn on a scale of its own.
    """
    fig, axes = plt.subplots(1, len(models), figsize=(WIDTH, 2.7))
    for ax, (name, (D, F)) in zip(axes, models.items(), strict=True):
        ends, middle = D / F / 2, 0.5
        for left, right, start, end, layer in (
            (0, 1, ends, middle, 1),
            (1.25, 2.25, middle, ends, 2),
        ):
            corners = [(left, start), (right, end), (right, -end), (left, -start)]
            ax.add_patch(Polygon(corners, facecolor="#EDE0D0", edgecolor=BROWN))
            middle_x = (left + right) / 2
            ax.text(middle_x, 0, f"$W_{layer}$", ha="center", va="center")
        ax.text(1.125, 0, "GELU", ha="center", va="center", rotation=90)
        ax.text(-0.08, 0, f"{D:,}", ha="right", va="center")
        ax.text(2.33, 0, f"{D:,}", ha="left", va="center")
        ax.text(1.125, 0.53, f"{F:,}", ha="center", va="bottom")
        ax.text(1.125, -0.55, f"2 · {D * F:,} weights", ha="center", va="top")
        ax.set(title=name, xlim=(-0.5, 2.75), ylim=(-0.66, 0.66))
        ax.axis("off")
    return fig


def draw_thresholds(biases: Sequence[float]) -> Figure:
    """Show, for one bias b_1 of all units, whom the scene's hidden units answer.

    Args:
        biases: One column of panels for each: above, the hidden units after GELU;
            below, what the MLP adds to each number, and the nearest plain multiple.
    """
    u = scene.layer_norm(scene.block(scene.z0())[0])  # (T, D)
    fig, axes = plt.subplots(
        2, len(biases), figsize=(2.05 + 1.25 * len(biases), 4.7), squeeze=False,
        height_ratios=(1.2, 1),
    )  # fmt: skip
    for column, bias in enumerate(biases):
        above, below = axes[:, column]
        hidden = gelu(u @ scene.W_1 + bias)  # (T, F)
        shown = above.imshow(hidden.T, cmap="RdBu_r", vmin=-3, vmax=3, aspect="auto")
        names = [name.replace("background", "backgr.") for name in scene.NAMES]
        above.set_xticks(
            range(6), names, rotation=60, ha="right", rotation_mode="anchor"
        )
        above.set_yticks(range(8), scene.UNITS if column == 0 else [])
        above.tick_params(length=0)
        above.set_title(f"$b_1 = {bias:g}$")
        added = hidden @ scene.W_2  # (T, D)
        factor = (u * added).sum() / u.square().sum()  # the multiple that fits best
        ends = torch.tensor([-2.0, 2.0])
        below.plot(ends, factor * ends, "--", color="#767676", linewidth=1)
        below.scatter(u, added, s=16, color=BROWN, edgecolor="black", linewidth=0.6)
        most = max(0.5, 1.25 * added.abs().max().item())
        below.set(xlabel="LN(z′)", xlim=(-2, 2), ylim=(-most, most))
        below.text(-1.8, 0.82 * most, f"× {factor:.2f}".replace("-", "−"))
    axes[0, 0].set_ylabel("hidden unit")
    axes[1, 0].set_ylabel("the MLP adds")
    fig.colorbar(shown, ax=axes[0], label="after GELU", extend="max")
    return fig
