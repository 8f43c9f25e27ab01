"""The end of the model, drawn: which token is read, and how numbers become a word."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from going_modular.plots.style import COLOURS, WIDTH, to_picture
from going_modular.teaching.scene import NAMES, QUESTIONS
from going_modular.teaching.scene_drawing import draw_crops, draw_tokens

__all__ = ["draw_bars", "draw_opinions", "draw_output", "draw_reading", "draw_runs"]

# The way of the scene through the whole model, in boxes.
WAY = {
    "pixels": "pixels",
    "z_0": "$z_0$",
    "block": "block",
    "z_1": "$z_1$",
    "class": "$z_1^0$",
    "y": "LN: $y$",
    "logits": "head",
    "shares": "softmax",
    "loss": "loss",
}
CELL, ROW = 0.46, 0.33  # inches: a cell of a table is this wide and this high
TABLE_ROWS = 6


def draw_output(image: Tensor, z: Tensor) -> Figure:
    """Show an image, and all the numbers that the encoder makes of it.

    Args:
        image: (C, H, W) floats from -1 to 1.
        z: (T, D) tokens after the last block.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.2), width_ratios=(1, 2.6))
    left.imshow(to_picture(image))
    left.set(xticks=(), yticks=(), title="what goes in")
    most = z.abs().quantile(0.99).item()
    shown = right.imshow(z, cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto")
    right.add_patch(
        Rectangle(
            (-0.5, -0.5), z.shape[1], 1, fill=False, edgecolor=COLOURS["class"],
            linewidth=2, clip_on=False,
        )
    )  # fmt: skip
    right.set(
        xlabel="the D numbers of a token", ylabel="token (0 is the class token)",
        title="what comes out, $z_L$", yticks=(0, 10, 20, 30, 40, z.shape[0] - 1),
    )  # fmt: skip
    fig.colorbar(shown, ax=right, label="value", extend="both")
    return fig


def draw_opinions(shares: Tensor, grid_shape: tuple[int, int]) -> Figure:
    """Write into each patch's place how often its token alone gives the right class.

    Args:
        shares: (T,) from 0 to 1, the class token first.
        grid_shape: Patches in a column and in a row.
    """
    rows, columns = grid_shape
    fig, ax = plt.subplots(figsize=(WIDTH, 3.6))
    middle = rows // 2  # the class token stands to the left of this row
    ax.set(xlim=(-3.6, columns - 0.5), ylim=(rows - 0.5, -0.5), aspect="equal")
    ax.set_axis_off()
    colours = plt.get_cmap("cividis")
    for token, share in enumerate(shares.tolist()):
        row, column = divmod(token - 1, columns) if token else (middle, -2.5)
        corner = (column - 0.5, row - 0.5)
        ax.add_patch(Rectangle(corner, 1, 1, facecolor=colours(share)))
        ax.text(
            column, row, f"{100 * share:.0f}", ha="center", va="center",
            color="white" if share < 0.55 else "black",
        )  # fmt: skip
    frame = Rectangle(
        (-3, middle - 0.5), 1, 1, fill=False, edgecolor=COLOURS["class"], linewidth=2.5
    )
    ax.add_patch(frame)
    ax.text(
        -2.5, middle - 0.7, "class token", ha="center", va="bottom",
        color=COLOURS["class"],
    )  # fmt: skip
    ax.text(
        (columns - 1) / 2, -0.65, "tokens of the patches, at their places",
        ha="center", va="bottom", color=COLOURS["patch"],
    )  # fmt: skip
    scale = plt.cm.ScalarMappable(cmap=colours)
    scale.set_clim(0, 1)
    fig.colorbar(scale, ax=ax, label="share named correctly")
    return fig


def draw_way(ax: Axes, upto: str) -> None:
    """Draw the boxes of the way so far; the newest is lit."""
    steps = list(WAY)[: list(WAY).index(upto) + 1]
    ax.set(xlim=(0, len(WAY)), ylim=(0, 1))
    ax.set_axis_off()
    for place, step in enumerate(steps):
        new, own = step == upto, list(WAY).index(step) >= list(WAY).index("class")
        colour = COLOURS["class"] if own else "#B5B5B5"
        ax.add_patch(
            Rectangle(
                (place + 0.03, 0.15), 0.8, 0.7, edgecolor=colour,
                facecolor=to_rgba(colour, 0.25) if new else "white",
                linewidth=1.8 if new else 0.9,
            )
        )  # fmt: skip
        ax.text(
            place + 0.43, 0.5, WAY[step], ha="center", va="center", fontsize=9,
            color="black" if new else "#767676",
        )  # fmt: skip
        if not new:
            ax.annotate(
                "", (place + 1.03, 0.5), (place + 0.83, 0.5),
                arrowprops={"arrowstyle": "->", "color": "#767676", "lw": 0.8},
            )  # fmt: skip


def draw_reading(
    upto: str,
    z: Tensor,
    y: Tensor,
    W: Tensor | None = None,
    classes: Sequence[str] = (),
) -> Figure:
    """Draw how the scene's class token is read, up to one of the boxes of `WAY`.

    Args:
        upto: The newest step.
        z: (T, D) tokens after the block, the first of which is framed.
        y: (D,) class token after LN.
        W: (K, D) head; its columns stand under those numbers of y that they multiply.
        classes: The K names.
    """
    height = 1.05 + TABLE_ROWS * ROW
    fig = plt.figure(figsize=(WIDTH, height), layout="none")
    draw_way(fig.add_axes((0, 1 - 0.42 / height, 1, 0.4 / height)), upto)

    def place(left: float, row: float, columns: float, rows: int) -> Axes:
        bottom = height - 1.03 - (row + rows) * ROW
        box = (left, bottom, columns * CELL, rows * ROW)
        sizes = (WIDTH, height, WIDTH, height)
        return fig.add_axes(tuple(b / s for b, s in zip(box, sizes, strict=True)))

    draw_crops(place(0.02, 0, 0.38 / CELL, TABLE_ROWS))
    left, D = 1.22, len(y)  # after the crops and the tokens' names
    ax = place(left, 0, D, len(z))
    draw_tokens(ax, z, QUESTIONS, NAMES, "$z_1$", 2, lit=("class",))
    left += D * CELL + 0.55
    draw_tokens(place(left, 0, D, 1), y[None], QUESTIONS, ("",), "$y$", 2)
    if W is not None:
        logits = W @ y
        ax = place(left, 2, D, len(W))
        draw_tokens(ax, W, (), (), "head $W$")
        for row, name in enumerate(classes):
            ax.text(-0.15, row + 0.5, name, ha="right", va="center")
        for title, numbers in {"logits": logits, "shares": logits.softmax(0)}.items():
            left += (D if title == "logits" else 1) * CELL + 0.12
            ax = place(left, 2, 1, len(W))
            draw_tokens(ax, numbers[:, None], (), (), title, 2)
    return fig


def draw_bars(
    panels: Mapping[str, Mapping[str, float]],
    xlabels: Sequence[str],
    form: str = "%.0f",
    most: float | None = None,
) -> Figure:
    """Draw named numbers as grey bars, in panels that share the names.

    Args:
        panels: For each panel, by its title, the number of each name.
        xlabels: What the numbers of each panel are, with their unit.
        form: How a number is written beside its bar.
        most: The greatest number that there can be, where it is the same everywhere.
    """
    names = next(iter(panels.values()))
    lines = max(title.count("\n") for title in panels)
    height = 0.75 + 0.15 * lines + 0.24 * len(names)
    fig, axes = plt.subplots(
        1, len(panels), sharey=True, squeeze=False, figsize=(WIDTH, height)
    )
    columns = zip(axes.flat, panels.items(), xlabels, strict=True)
    for ax, (title, numbers), xlabel in columns:
        bars = ax.barh(list(numbers), list(numbers.values()), color="#808080")
        ax.bar_label(bars, fmt=form, padding=3)
        limit = most or max(numbers.values()) or 1
        ax.set(title=title, xlabel=xlabel, xlim=(0, 1.3 * limit))
        if most:
            ax.set_xticks((0, most / 2, most))
    axes[0, 0].invert_yaxis()
    return fig


def draw_runs(runs: Mapping[str, Tensor], floor: float) -> Figure:
    """Draw the losses of several seeds, one panel for each version of a model.

    Args:
        runs: (seeds, steps) losses of each version, by its name.
        floor: The loss of a model that gives each class the same probability.
    """
    fig, axes = plt.subplots(
        1, len(runs), sharey=True, squeeze=False, figsize=(WIDTH, 2.7)
    )
    for ax, (name, losses) in zip(axes.flat, runs.items(), strict=True):
        ax.axhline(floor, color="black", linestyle=":", linewidth=1)
        ax.semilogy(losses.T, color=COLOURS["class"], linewidth=1, alpha=0.7)
        ax.set(title=name, xlabel="step", xlim=(0, losses.shape[1] - 1))
    axes.flat[0].set(ylabel="cross-entropy (log scale)", ylim=(1e-6, 6))
    axes.flat[0].text(1, floor * 1.15, "ln K", va="bottom")
    return fig
