"""Drawings of notebook 02: a picture as a row of patches, and Equation 1."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from torch import Tensor

from going_modular.plots.images import plot_patch_grid
from going_modular.plots.style import COLOURS, WIDTH, to_picture
from going_modular.teaching.scene import NAMES, PLACES, QUESTIONS
from going_modular.teaching.scene_drawing import draw_small_photo

__all__ = [
    "draw_equation_1",
    "draw_filters",
    "draw_patch",
    "draw_patch_sizes",
    "draw_runs",
    "draw_sentence",
]

GREYS = dict(cmap="gray", vmin=-5, vmax=5)  # as in the scene's photo
WEIGHTS = dict(cmap="RdBu_r", vmin=-10, vmax=10)  # pale, so that numbers can be read


def draw_sentence(photo: Tensor, patch_size: int, per_line: int) -> Figure:
    """Draw a photo's patches one after the other, like the words of a text.

    Args:
        photo: (C, H, W) bytes or floats from -1 to 1.
        patch_size: Patch side P, in pixels.
        per_line: Patches in a line; it should differ from those in a row of the photo.
    """
    P, (rows, columns) = patch_size, (s // patch_size for s in photo.shape[1:])
    lines = -(-rows * columns // per_line)
    height = lines * WIDTH / per_line * 1.5
    fig, axes = plt.subplots(lines, per_line, figsize=(WIDTH, height))
    fig.get_layout_engine().set(w_pad=0.01, h_pad=0.01, wspace=0.05, hspace=0.02)
    for ax in axes.flat:
        ax.set_axis_off()
    for i, ax in zip(range(rows * columns), axes.flat, strict=False):
        y, x = i // columns * P, i % columns * P
        ax.imshow(to_picture(photo[:, y : y + P, x : x + P]))
        ax.text(
            0.5, -0.08, str(i + 1), transform=ax.transAxes, ha="center", va="top",
            color=COLOURS["patch"],
        )  # fmt: skip
    return fig


def draw_patch_sizes(photo: Tensor, titles: Mapping[int, str]) -> Figure:
    """Draw a photo under the grid of each patch side, with a title over it."""
    fig, axes = plt.subplots(1, len(titles), figsize=(WIDTH, 3), squeeze=False)
    for ax, (side, title) in zip(axes.flat, titles.items(), strict=True):
        plot_patch_grid(photo, side, ax)
        ax.set(title=title, xticks=(), yticks=(), xlabel="", ylabel="")
    return fig


def draw_numbers(ax: Axes, numbers: Tensor, title: str = "", **style) -> None:
    """Draw a small matrix as coloured squares with its whole numbers in them."""
    shown = ax.imshow(numbers.numpy(), **style)
    ax.set_title(title, fontsize=9)
    ax.set(xticks=(), yticks=())
    for edge in ("top", "right"):
        ax.spines[edge].set_visible(True)
    for row, values in enumerate(numbers.tolist()):
        for column, value in enumerate(values):
            dark = sum(shown.cmap(shown.norm(value))[:3]) < 1.4
            ax.text(
                column, row, f"{round(value)}".replace("-", "−"), ha="center",
                va="center", fontsize=11, color="white" if dark else "black",
            )  # fmt: skip


def draw_patch(patch: Tensor, name: str, title: str) -> Figure:
    """Draw the scene's photo, one of its patches enlarged, and that patch as a row.

    Args:
        patch: (3, 3) pixels.
        name: Its name.
        title: What its row is called.
    """
    fig = plt.figure(figsize=(WIDTH, 3.6))
    left, right = fig.subfigures(1, 2, width_ratios=(3.6, 3.4))
    draw_small_photo(left.subplots())
    large, flat = right.subplots(2, 1, height_ratios=(3, 1))
    draw_numbers(large, patch, f"the patch “{name}”, 3 x 3 pixels", **GREYS)
    draw_numbers(flat, patch.reshape(1, -1), title, **GREYS)
    return fig


def draw_filters(filters: Tensor, patch: Tensor, name: str) -> Figure:
    """Draw the filters of E, and below them how the first one reads a patch.

    Args:
        filters: (D, 3, 3), the columns of E as pictures.
        patch: (3, 3) pixels.
        name: The patch's name.
    """
    fig = plt.figure(figsize=(WIDTH, 4))
    top, bottom = fig.subfigures(2, 1)
    for ax, weights, question in zip(
        top.subplots(1, len(filters)), filters, QUESTIONS, strict=True
    ):
        draw_numbers(ax, weights, question, **WEIGHTS)
    top.suptitle("the four filters of E", fontsize=10)
    products = patch * filters[0]  # (3, 3)
    first, times, second, equals, third, total = bottom.subplots(
        1, 6, width_ratios=(3, 0.7, 3, 0.7, 3, 2.6)
    )
    draw_numbers(first, patch, f"the pixels of “{name}”", **GREYS)
    draw_numbers(second, filters[0], f"the filter “{QUESTIONS[0]}”", **WEIGHTS)
    draw_numbers(third, products, "products", **WEIGHTS)
    terms = " + ".join(str(round(p)) for p in products.flatten().tolist() if p)
    terms = terms.replace("+ -", "− ").replace("-", "−")
    answer = f"added up:\n{terms}\n= {products.sum():.0f}"
    for ax, text in ((times, "×"), (equals, "="), (total, answer)):
        ax.text(0.5, 0.5, text, ha="center", va="center", fontsize=11)
        ax.set_axis_off()
    return fig


def draw_equation_1() -> Figure:
    """Draw Equation 1 with the scene's five patches, one small square per number.

    Blue squares come from patches, orange ones from the class token, green ones from
    positions; a square of z_0 has the colours of the two that were added.
    """
    N, T, P2C, D = len(PLACES), len(NAMES), 9, len(QUESTIONS)
    blue, orange, green = (COLOURS[k] for k in ("patch", "class", "position"))
    tokens = [orange] + [blue] * N
    x_p, E, stack, E_pos, z_0 = 0, 11, 18.5, 24.5, 30.5  # left edges
    fig, ax = plt.subplots(figsize=(WIDTH, 2.7))
    draw_squares(ax, [blue] * N, P2C, x_p, 1)
    draw_squares(ax, [blue] * P2C, D, E, -0.5)
    draw_squares(ax, tokens, D, stack, 0)
    draw_squares(ax, [green] * T, D, E_pos, 0)
    draw_squares(ax, tokens, D, z_0, 0)
    for row in range(T):
        for x in [z_0 + column for column in range(D)]:
            corners = [(x, row + 1), (x + 1, row + 1), (x + 1, row)]
            half = Polygon(corners, facecolor=green, edgecolor="white", linewidth=0.5)
            ax.add_patch(half)
    for row, name in enumerate(NAMES):
        colour = tokens[row]
        ax.text(z_0 + D + 0.4, row + 0.5, name, va="center", color=colour)
    for x, sign in ((10, "×"), (16.7, "→"), (23.5, "+"), (29.5, "=")):
        ax.text(x, 3, sign, ha="center", va="center", fontsize=14)
    for left, width, title, shape, bottom in (
        (x_p, P2C, "$x_p$", "N x P²C", 6),
        (E, D, "E", "P²C x D", 8.5),
        (stack, D, "$[x_{class}; x_pE]$", "T x D", 6),
        (E_pos, D, "$E_{pos}$", "T x D", 6),
        (z_0, D, "$z_0$", "T x D", 6),
    ):
        middle = left + width / 2
        ax.text(middle, -1.1, title, ha="center", va="bottom", fontsize=11)
        ax.text(middle, bottom + 0.4, shape, ha="center", va="top")
    ax.set(xlim=(-0.3, 39), ylim=(9.8, -2.6), aspect="equal")
    ax.set_axis_off()
    return fig


def draw_squares(ax: Axes, rows: Sequence[str], columns: int, left, top) -> None:
    """Draw a matrix as squares, each row in its colour."""
    for row, colour in enumerate(rows):
        for column in range(columns):
            corner = (left + column, top + row)
            square = Rectangle(corner, 1, 1, facecolor=colour, edgecolor="white", lw=1)
            ax.add_patch(square)


def draw_runs(
    results: Mapping[str, tuple[Sequence[float], Sequence[float]]], chance: float
) -> Figure:
    """Draw each run as a dot, on whole and on shuffled pictures.

    Args:
        results: Accuracies on whole and on shuffled pictures, by the kind of model.
        chance: Accuracy of guessing.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 2.6))
    looks = (
        ("whole pictures", "o", "black", 0.16),
        ("shuffled", "s", "#808080", -0.16),
    )
    for row, accuracies in enumerate(results.values()):
        for (label, mark, colour, up), values in zip(looks, accuracies, strict=True):
            percent = 100 * torch.as_tensor(values)
            places = torch.full_like(percent, row - up)
            ax.plot(
                percent, places, mark, color=colour, fillstyle="none", markersize=6,
                label=label if row == 0 else None,
            )  # fmt: skip
    ax.axvline(100 * chance, color="black", linestyle=":", label="guessing")
    ax.set_yticks(range(len(results)), results)
    ax.set(xlim=(0, 100), ylim=(len(results) - 0.5, -0.5))
    ax.set_xlabel("% of 2,000 test images named correctly")
    fig.legend(loc="outside upper center", ncols=3)
    return fig
