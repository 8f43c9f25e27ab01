"""Drawings of the encoder: blocks in a row, the residual stream, depth and training."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor

from going_modular.plots.style import WIDTH, to_picture
from going_modular.teaching.scene import NAMES, QUESTIONS
from going_modular.teaching.scene_drawing import draw_crops, draw_tokens

__all__ = [
    "PART_COLOURS",
    "draw_bands",
    "draw_block_chain",
    "draw_guesses",
    "draw_orders",
    "draw_stream",
]

# The terms of Equations 2 and 3, here and in the equations of the notebooks.
PART_COLOURS = {
    "LN": "#808080",
    "MSA": "#CC79A7",
    "MLP": "#8C510A",
    "residual": "#0072B2",
}


def draw_guesses(
    picture: Tensor,
    probabilities: Tensor,
    class_names: Sequence[str],
    accuracies: Sequence[float],
) -> Figure:
    """Draw what a model would say after each block, and how often that is correct.

    Args:
        picture: (C, H, W) the image that is asked about.
        probabilities: (L + 1, K) of its classes, before the first block and after each.
        class_names: One for each class.
        accuracies: L + 1 shares of many images that are named correctly.
    """
    fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 3), width_ratios=(1.3, 2.5, 2.2))
    axes[0].imshow(to_picture(picture))
    axes[0].set_axis_off()
    shown = axes[1].imshow(probabilities.T.numpy(), cmap="cividis", vmin=0, vmax=1)
    axes[1].set_aspect("auto")
    axes[1].set_yticks(range(len(class_names)), class_names)
    axes[1].plot(
        probabilities.argmax(dim=1), "o", color="white", markeredgecolor="black"
    )
    axes[1].spines[:].set_visible(False)
    axes[1].set(title="this picture", xlabel="blocks passed")
    fig.colorbar(shown, ax=axes[1], label="probability")
    shares = [100 * share for share in accuracies]
    axes[2].plot(shares, "o-", color="black")
    for place, share in enumerate(shares):
        axes[2].annotate(
            f"{share:.0f}", (place, share), (6, -5) if place < 3 else (2, -6),
            textcoords="offset points", ha="left" if place < 3 else "center", va="top",
        )  # fmt: skip
    axes[2].set(
        title="2,000 pictures", xlabel="blocks passed", ylabel="named correctly (%)",
        ylim=(0, 105), xlim=(-0.3, len(shares) - 0.4),
    )  # fmt: skip
    return fig


def draw_block_chain(
    blocks: int, tables: Mapping[str, Tensor], digits: int = 2, lit: Sequence[str] = ()
) -> Figure:
    """Draw the scene's way through whole blocks, and its numbers between them.

    Args:
        blocks: How many blocks there are so far; the last one is new, and coloured.
        tables: Titles, and (T, D) tokens under each.
        digits: Decimals to write in tables that do not hold whole numbers alone.
        lit: Rows to frame.
    """
    steps = ["pixels", "$x_p$", "$x_pE$", "$z_0$"]
    for layer in range(1, blocks + 1):
        steps += [f"block {layer}", f"$z_{layer}$"]
    figure = plt.figure(figsize=(WIDTH, 3.1))
    top, bottom = figure.subfigures(2, 1, height_ratios=(0.5, 2.6))
    ax = top.subplots()
    ax.set(xlim=(0, 12), ylim=(0, 1))
    ax.set_axis_off()
    left = 0.05
    for place, step in enumerate(steps):
        block, new = "block" in step, place >= len(steps) - 2
        width = 1.9 if block else 0.82
        ax.add_patch(
            Rectangle(
                (left, 0.15 if block else 0.25), width, 0.7 if block else 0.5,
                edgecolor="black" if new else "#B5B5B5",
                facecolor=to_rgba("#808080", 0.25) if new else "white",
                linewidth=1.8 if new else 0.9,
            )
        )  # fmt: skip
        ax.text(
            left + width / 2, 0.5, step, ha="center", va="center", fontsize=9,
            color="black" if new else "#767676",
        )  # fmt: skip
        left += width
        if place < len(steps) - 1:
            ax.annotate(
                "", (left + 0.3, 0.5), (left, 0.5),
                arrowprops={"arrowstyle": "->", "color": "#767676", "lw": 0.8},
            )  # fmt: skip
        left += 0.3
    axes = bottom.subplots(1, len(tables) + 1, width_ratios=(0.45, *[4] * len(tables)))
    draw_crops(axes[0])
    for ax, (title, tokens) in zip(axes[1:], tables.items(), strict=True):
        whole = bool((tokens == tokens.round()).all())
        first = ax is axes[1]
        draw_tokens(
            ax, tokens, QUESTIONS, NAMES, title, 0 if whole else digits, first, lit
        )
        ax.set_title(title, pad=20)  # clear of the columns' names
    return figure


def draw_stream(added: Mapping[str, Tensor], columns: Sequence[str]) -> Figure:
    """Draw each number of one token as a running sum of what was added to it.

    Args:
        added: The token that entered, then what each half added, by names such as
            "MSA 1"; each of shape (D,).
        columns: The D numbers' names.
    """
    names = [*added, f"$z_{(len(added) - 1) // 2}$"]
    fig, axes = plt.subplots(1, len(columns), sharey=True, figsize=(WIDTH, 2.4))
    for place, (ax, column) in enumerate(zip(axes, columns, strict=True)):
        total = 0.0
        ax.axvline(0, color="#B5B5B5", linewidth=0.8, zorder=0)
        for y, name in enumerate(names):
            part = next((p for p in ("MSA", "MLP") if name.startswith(p)), "residual")
            change = part != "residual"
            step = added[name][place].item() if name in added else total
            left = total if change else 0.0
            ax.barh(y, step, 0.75, left, color=PART_COLOURS[part])
            total = left + step
            if y < len(names) - 1:
                ax.plot([total] * 2, [y, y + 1], color="#444444", linewidth=0.8)
            text = f"{step:+.1f}" if change else f"{step:.1f}"
            if not float(text):
                text = "0"
            end = max(left, total) if place == 0 else min(left, total)
            ax.annotate(
                text.replace("-", "−"), (end, y), (3 if place == 0 else -3, 0),
                textcoords="offset points", va="center",
                ha="left" if place == 0 else "right",
            )  # fmt: skip
        ax.set(title=column, xlim=(-1.5, 11) if place == 0 else (-8.5, 4))
        ax.spines["left"].set_visible(False)
        ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    fig.supxlabel("the class token's number, a running sum from row to row", fontsize=9)
    return fig


def draw_orders() -> Figure:
    """Draw a block that normalises before each half, above one that does so after.

    Source: ViT paper, figure 1; Vaswani et al., arXiv 1706.03762, figure 1.
    """
    rows = {  # the boxes of a block; a residual leaves before a half and joins at its +
        "pre-norm\n(ViT)": ["LN", "MSA", "+", "LN", "MLP", "+"],
        "post-norm\n(2017)": ["MSA", "+", "LN", "MLP", "+", "LN"],
    }
    fig, ax = plt.subplots(figsize=(WIDTH, 2.7))
    for y, (name, steps) in zip((2.5, 0), rows.items(), strict=True):
        ax.text(-0.75, y, name, ha="right", va="center")
        ax.text(-0.35, y + 0.12, r"$z_{\ell-1}$", ha="center", va="bottom")
        leave = -0.15
        for place, step in enumerate(steps):
            _draw_step(ax, step, place, y)
            end = place + 1
            ax.annotate(
                "", (end + 0.05, y), (end - 0.32, y),
                arrowprops={"arrowstyle": "->", "color": "#444444"},
            )  # fmt: skip
            if step == "+":
                middle, colour = place + 0.36, PART_COLOURS["residual"]
                way = ([leave, leave, middle], [y, y + 0.95, y + 0.95])
                ax.plot(*way, color=colour, linewidth=1.8)
                ax.annotate(
                    "", (middle, y + 0.3), (middle, y + 0.98),
                    arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.8},
                )  # fmt: skip
                ax.text((leave + middle) / 2, y + 1.02, "residual", ha="center",
                        va="bottom", color=colour)  # fmt: skip
            if place in (2, 5):
                label = r"$z'_\ell$" if place == 2 else r"$z_\ell$"
                ax.text(end - 0.13, y - 0.12, label, ha="center", va="top")
                leave = end - 0.13
        ax.annotate("", (0.05, y), (-0.6, y), arrowprops={"arrowstyle": "->"})
    ax.set(xlim=(-1.8, 6.2), ylim=(-0.6, 4))
    ax.set_axis_off()
    return fig


def _draw_step(ax: Axes, step: str, left: float, y: float) -> None:
    """Draw one box of a block in its part's colour."""
    colour = PART_COLOURS.get(step, "#444444")
    box = FancyBboxPatch(
        (left + 0.08, y - 0.3), 0.56, 0.6, boxstyle="round,pad=0,rounding_size=0.08",
        facecolor=to_rgba(colour, 0.3) if step != "+" else "white", edgecolor=colour,
        linewidth=1.4,
    )  # fmt: skip
    ax.add_patch(box)
    ax.text(left + 0.36, y, step, ha="center", va="center")


def draw_bands(
    ax: Axes,
    x: Sequence[float],
    runs: Mapping[str, Tensor],
    styles: Mapping[str, tuple[str, str]],
) -> None:
    """Draw the mean of several seeds as a line, in a band from the least to the most.

    Args:
        ax: Where to draw.
        x: (n,) places.
        runs: (seeds, n) values, by the line's name.
        styles: Colour and line style of each name.
    """
    for name, values in runs.items():
        colour, style = styles[name]
        least, most = values.min(dim=0).values, values.max(dim=0).values
        ax.fill_between(x, least, most, color=colour, alpha=0.2, linewidth=0)
        ax.plot(x, values.mean(dim=0), style, color=colour, label=name)
