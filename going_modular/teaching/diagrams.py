"""Drawings that explain: named steps in a row, and tokens as staircases."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from going_modular.plots.style import COLOURS, WIDTH

__all__ = [
    "draw_staircases",
    "draw_steps",
]


def draw_steps(rows: Mapping[str, Sequence[str]], lit: str = "") -> Figure:
    """Draw rows of named steps, from left to right.

    Args:
        rows: The steps of each row, by the row's name.
        lit: The step to fill with colour, wherever it stands.
    """
    longest = max(map(len, rows.values()))
    fig, ax = plt.subplots(figsize=(WIDTH, 0.62 * len(rows)))
    for y, (name, steps) in zip(range(len(rows))[::-1], rows.items(), strict=True):
        ax.text(-0.12, y, name, ha="right", va="center", fontsize=8)
        for x, step in enumerate(steps):
            fill = COLOURS["query"] if step == lit else "white"
            box = FancyBboxPatch(
                (x + 0.04, y - 0.27), 0.74, 0.54, boxstyle="round,pad=0.02",
                edgecolor="#555555", facecolor=fill,
            )  # fmt: skip
            ax.add_patch(box)
            ax.text(x + 0.41, y, step, ha="center", va="center", fontsize=7)
            if x:
                ax.annotate(
                    "", (x + 0.02, y), (x - 0.2, y), arrowprops={"arrowstyle": "->"}
                )
    ax.set(xlim=(-1.1, longest), ylim=(-0.5, len(rows) - 0.5))
    ax.axis("off")
    return fig


def draw_staircases(before: Tensor, after: Tensor) -> Figure:
    """Draw a few tokens as staircases, before and after LayerNorm.

    Args:
        before: (n, D) tokens; three at most, each written beside its staircase.
        after: (n, D) the same, normalised.
    """
    D = before.shape[1]
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.8))
    for token, normalised, colour, width in zip(
        before, after, ("#999999", COLOURS["patch"], "black"), (9, 4, 1), strict=False
    ):
        axes[0].stairs(token, baseline=None, linewidth=1.5, color=colour)
        axes[1].stairs(normalised, baseline=None, linewidth=width, color=colour)
        name = " ".join(f"{number:g}" for number in token.tolist())
        place = (D, token[-1].item())
        axes[0].annotate(name, place, (0, 4), textcoords="offset points", ha="right")
    axes[0].margins(y=0.12)
    for ax in axes:
        ax.set_xticks([i + 0.5 for i in range(D)], range(1, D + 1))
        ax.set(xlabel="position in the token, 1 to D")
    axes[0].set(title="before LN", ylabel="value")
    axes[1].set(title="after LN, all of them", ylabel="standard deviations")
    return fig
