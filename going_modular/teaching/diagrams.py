"""Drawings that explain: the pipeline strip at the head of each notebook."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor

from going_modular.plots.style import COLOURS, WIDTH

__all__ = [
    "STAGES",
    "draw_attention",
    "draw_model",
    "draw_pipeline",
    "draw_staircases",
    "draw_steps",
]

# Name, what it does, and the notebook that builds it.
STAGES = {
    "image": ("image", "(B, C, H, W)", "01"),
    "patches": ("patches and\npositions", "Equation 1", "02"),
    "attention": ("attention\nblock", "Equation 2", "03"),
    "mlp": ("MLP\nblock", "Equation 3", "04"),
    "encoder": ("L such\nblocks", "2 and 3", "05"),
    "head": ("class token\nand head", "Equation 4", "06"),
    "training": ("loss and\nlearning", "Table 3", "07"),
}


def draw_pipeline(stage: str | None = None) -> Figure:
    """Draw the way from image to learning, with one stage (or none) lit.

    Args:
        stage: A key of `STAGES`, or None to light every stage.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 1.2))
    for i, (name, (title, source, notebook)) in enumerate(STAGES.items()):
        lit = stage in (None, name)
        box = FancyBboxPatch(
            (i, 0), 0.76, 1, boxstyle="round,pad=0.02", linewidth=1,
            edgecolor=COLOURS["patch"] if lit else "#999999",
            facecolor="#D6EAF5" if lit else "white",
        )  # fmt: skip
        ax.add_patch(box)
        colour = "black" if lit else "#666666"
        weight = "bold" if lit and stage else "normal"
        ax.text(i + 0.38, 0.68, title, ha="center", va="center", fontsize=7.5,
                color=colour, weight=weight)  # fmt: skip
        ax.text(i + 0.38, 0.28, source, ha="center", va="center", fontsize=7,
                color=colour)  # fmt: skip
        ax.text(i + 0.38, -0.22, f"notebook {notebook}", ha="center", va="center",
                fontsize=6.5, color=colour)  # fmt: skip
        if i:
            arrow = {"arrowstyle": "->"}
            ax.annotate("", (i - 0.01, 0.5), (i - 0.21, 0.5), arrowprops=arrow)
    ax.set(xlim=(-0.1, len(STAGES) - 0.1), ylim=(-0.4, 1.1))
    ax.axis("off")
    return fig


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


def draw_model() -> Figure:
    """Draw the whole model, and below it the inside of one of its L blocks.

    Source: ViT paper, figure 1.
    """
    patch, token, position, grey = "#CFE5F2", "#F8DCC8", "#C7E8DD", "#DDDDDD"
    stages = [  # text, colour, and the name of what comes out
        ("image", "white", "x"), ("cut into\npatches", patch, "$x_p$"),
        ("linear\nlayer E", patch, ""), ("class\ntoken first", token, ""),
        ("add\npositions", position, "$z_0$"), ("encoder\nL blocks", grey, "$z_L$"),
        ("LN of\ntoken 0", token, "y"), ("head", "white", ""),
    ]  # fmt: skip
    steps = [
        ("LN", "white", ""), ("MSA", grey, ""), ("+", "white", "$z'_l$"),
        ("LN", "white", ""), ("MLP", grey, ""), ("+", "white", "$z_l$"),
    ]  # fmt: skip
    fig, ax = plt.subplots(figsize=(WIDTH, 3.3))
    _draw_row(ax, stages, 0, 3.4)
    _draw_row(ax, steps, 2.3, 0, label_height=-0.3)
    ax.text(14.5, 3.4, "logits", va="center", fontsize=8)
    ax.text(1.6, -0.3, "$z_{l-1}$", ha="center", fontsize=8)
    for left, name in ((1.9, "Equation 2"), (7.3, "Equation 3")):
        ax.plot([left] * 2 + [left + 4.5] * 2, [0, 1.1, 1.1, 0.42], color="black", lw=1)
        name = f"residual connection, {name}"
        ax.text(left + 2.2, 1.2, name, ha="center", fontsize=7.5)
    ax.annotate("", (2.3, 0), (1.4, 0), arrowprops={"arrowstyle": "->"})
    for left, right, name in ((1.8, 8.5, "Equation 1"), (9, 10.3, "2 and 3"),
                              (10.8, 12.1, "Equation 4")):  # fmt: skip
        ax.plot([left, right], [4.1, 4.1], color="black", lw=1)
        ax.text((left + right) / 2, 4.2, name, ha="center", fontsize=7.5)
    frame = FancyBboxPatch((1, -0.9), 12.3, 2.6, boxstyle="round,pad=0.02",
                           facecolor="none", edgecolor="#666666")  # fmt: skip
    ax.add_patch(frame)
    ax.text(7.15, -0.8, "one of the L blocks", ha="center", fontsize=7.5)
    for x, corner in ((9, 1), (10.3, 13.3)):
        ax.plot([x, corner], [2.9, 1.72], ":", color="#666666", lw=1)
    ax.set(xlim=(-0.1, 15.5), ylim=(-1, 4.6))
    ax.axis("off")
    return fig


def _draw_row(
    ax: Axes,
    steps: list[tuple[str, str, str]],
    x: float,
    y: float,
    label_height: float = 0.15,
) -> None:
    """Draw boxes from left to right, with an arrow and a name after each."""
    for text, colour, name in steps:
        box = FancyBboxPatch((x, y - 0.4), 1.3, 0.8, boxstyle="round,pad=0.02",
                             facecolor=colour, edgecolor="#444444")  # fmt: skip
        ax.add_patch(box)
        ax.text(x + 0.65, y, text, ha="center", va="center", fontsize=7)
        ax.annotate("", (x + 1.8, y), (x + 1.3, y), arrowprops={"arrowstyle": "->"})
        ax.text(x + 1.55, y + label_height, name, ha="center", fontsize=8)
        x += 1.8


def draw_attention(
    q: Tensor, k: Tensor, v: Tensor, scores: Tensor, weights: Tensor, output: Tensor
) -> Figure:
    """Draw the attention of one query, from dot products to the weighted sum.

    Args:
        q: (dh,) query.
        k: (T, dh) keys.
        v: (T, dh) values.
        scores: (T,) scaled dot products.
        weights: (T,) their softmax.
        output: (dh,) weighted sum of the values.
    """
    T, dh = k.shape
    fig, ax = plt.subplots(figsize=(WIDTH, 0.42 * (T + 4)))
    middle, right = dh + 1, 2 * dh + 5  # where the scores and the values begin
    _number_boxes(ax, q[None], 0, -1.6, COLOURS["query"])
    _number_boxes(ax, k, 0, 0, COLOURS["key"])
    _number_boxes(ax, scores[:, None], middle, 0, "white", width=1.4)
    _number_boxes(ax, v, right, 0, COLOURS["value"])
    _number_boxes(ax, output[None], right, T + 0.6, "white")
    for row, weight in enumerate(weights.tolist()):
        x, length = middle + 2.2, 3 * weight
        ax.add_patch(Rectangle((x, row + 0.15), length, 0.7, facecolor="#808080"))
        ax.text(x + length + 0.1, row + 0.5, f"{weight:.2f}", va="center", fontsize=8)
    notes = [
        (-0.2, -1.1, "query q", "right"), (-0.2, T / 2, "keys k", "right"),
        (middle + 0.7, -0.3, "scores", "center"),
        (middle + 2.2, -0.3, "weights A", "left"),
        (right + dh + 0.2, T / 2, "values v", "left"),
        (right + dh + 0.2, T + 1.1, "output A v", "left"),
    ]  # fmt: skip
    for x, y, text, side in notes:
        ax.text(x, y, text, ha=side, va="center", fontsize=8)
    ax.set(xlim=(-2.2, right + dh + 2.8), ylim=(T + 1.8, -1.8))
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


def _number_boxes(
    ax: Axes, values: Tensor, left: float, top: float, colour: str, width: float = 1
) -> None:
    """Draw a (rows, columns) tensor as a table of boxes with its numbers."""
    for row, numbers in enumerate(values.tolist()):
        for column, number in enumerate(numbers):
            x, y = left + column * width, top + row
            ax.add_patch(Rectangle((x, y), width, 1, fc=colour, ec="black", lw=0.8))
            x, y = x + width / 2, y + 0.5
            ax.text(x, y, f"{number:.3g}", ha="center", va="center", fontsize=8)
