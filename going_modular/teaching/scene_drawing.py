"""The scene of notebooks 02 to 06, drawn: each figure adds a box to the one before."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from matplotlib.patches import Rectangle
from torch import Tensor

from going_modular.data_setup import load_photo
from going_modular.plots.style import COLOURS, WIDTH, to_picture
from going_modular.teaching.scene import NAMES, PLACES, QUESTIONS, small_photo

__all__ = ["STEPS", "draw_scene", "draw_small_photo", "draw_tokens"]

# The way of a token through one block, in boxes.
STEPS = {
    "pixels": "patch",
    "x_p": "patch",
    "x_p E": "patch",
    "z_0": "position",
    "LN": None,
    "q k v": "query",
    "A": "key",
    "A v": "value",
    "MSA": "value",
    "z'": None,
    "LN'": None,
    "hidden": None,
    "GELU": None,
    "MLP": None,
    "z": None,
}
LABELS = {  # as formulas, where the name of the step is not one
    "x_p": "$x_p$",
    "x_p E": "$x_pE$",
    "z_0": "$z_0$",
    "q k v": "$q\\,k\\,v$",
    "A": "$A$",
    "A v": "$A\\,v$",
    "z'": "$z'$",
    "LN'": "LN",
    "hidden": "$h$",
    "z": "$z_1$",
}


def draw_tokens(
    ax: Axes,
    numbers: Tensor,
    columns: Sequence[str] = QUESTIONS,
    rows: Sequence[str] = NAMES,
    title: str = "",
    digits: int = 0,
    names: bool = True,
    lit: Sequence[str] = (),
) -> None:
    """Write a matrix as a table: blue cells are negative, red ones positive.

    Args:
        ax: Where to draw.
        numbers: One row for each token and one number for each column.
        columns: The columns' names, written over them.
        rows: The tokens' names.
        title: What the matrix is.
        digits: Decimals to write.
        names: Write the rows' names to the left of them.
        lit: Rows to frame.
    """
    numbers = torch.as_tensor(numbers).detach().float()
    most = numbers.abs().max().clamp(min=1e-6)
    ax.set(xlim=(0, numbers.shape[1]), ylim=(numbers.shape[0], 0), title=title)
    ax.set_axis_off()
    for (row, column), value in zip(
        torch.cartesian_prod(*map(torch.arange, numbers.shape)).tolist(),
        numbers.flatten().tolist(),
        strict=True,
    ):
        shade = plt.get_cmap("RdBu_r")(0.5 + 0.22 * value / most.item())
        ax.add_patch(Rectangle((column, row), 1, 1, facecolor=shade, edgecolor="white"))
        text = f"{value:.{digits}f}".replace("-", "−")
        text = text.removeprefix("−") if not float(f"{value:.{digits}f}") else text
        ax.text(column + 0.5, row + 0.5, text, ha="center", va="center", fontsize=9)
    for column, name in enumerate(columns):
        ax.text(column + 0.5, -0.12, name, ha="center", va="bottom", fontsize=9)
    if title and len(columns):
        ax.set_title(title, pad=16)
    for row, name in enumerate(rows):
        if names:
            colour = COLOURS["class" if name == "class" else "patch"]
            ax.text(-0.15, row + 0.5, name, ha="right", va="center", color=colour)
        if name in lit:
            ax.add_patch(
                Rectangle(
                    (0, row), numbers.shape[1], 1, fill=False, clip_on=False,
                    edgecolor="black", linewidth=1.5,
                )
            )  # fmt: skip


def draw_chain(ax: Axes, steps: Sequence[str]) -> None:
    """Draw the steps so far as boxes in a row; the last one is new, and lit."""
    ax.set(xlim=(0, len(STEPS)), ylim=(0, 1))
    ax.set_axis_off()
    for place, step in enumerate(steps):
        new = step == steps[-1]
        colour = COLOURS.get(STEPS[step], "#444444")
        ax.add_patch(
            Rectangle(
                (place + 0.04, 0.2), 0.82, 0.6, edgecolor=colour if new else "#B5B5B5",
                facecolor=to_rgba(colour, 0.25) if new else "white",
                linewidth=1.8 if new else 0.9,
            )
        )  # fmt: skip
        ax.text(
            place + 0.45, 0.5, LABELS.get(step, step), ha="center", va="center",
            fontsize=9, color="black" if new else "#767676",
        )  # fmt: skip
        if not new:
            ax.annotate(
                "", (place + 1.04, 0.5), (place + 0.86, 0.5),
                arrowprops={
                    "arrowstyle": "->", "color": "#767676", "lw": 0.8,
                    "shrinkA": 0, "shrinkB": 0,
                },
            )  # fmt: skip


def draw_crops(ax: Axes, rows: Sequence[str] = NAMES) -> None:
    """Show the named patches as they are in the photo, one below the other."""
    photo = to_picture(load_photo("chelsea"))
    ax.set(xlim=(0, 1), ylim=(len(rows), 0))
    ax.set_axis_off()
    for row, name in enumerate(rows):
        if name == "class":
            ax.text(
                0.5, row + 0.5, "*", ha="center", va="center", fontsize=14,
                color=COLOURS["class"],
            )  # fmt: skip
            continue
        down, right = PLACES[name]
        crop = photo[32 * down : 32 * down + 32, 32 * right : 32 * right + 32]
        picture = OffsetImage(crop, zoom=0.75)
        ax.add_artist(AnnotationBbox(picture, (0.5, row + 0.5), frameon=False))


def draw_scene(
    upto: str,
    tables: Mapping[str, Tensor],
    columns: Mapping[str, Sequence[str]] | None = None,
    digits: int = 2,
    lit: Sequence[str] = (),
    rows: Sequence[str] = NAMES,
) -> Figure:
    """Draw the way so far as boxes, and under it the numbers of its last steps.

    Args:
        upto: The newest step, one of `STEPS`.
        tables: Titles, and a matrix with a row for each token under each.
        columns: The columns' names of some tables; the four questions for others.
        digits: Decimals to write in tables that do not hold whole numbers alone.
        lit: Rows to frame.
        rows: The rows' names, if they are not the six tokens.
    """
    steps = list(STEPS)[: list(STEPS).index(upto) + 1]
    widths = [0.45, *(max(t.shape[1], 2) for t in tables.values())]
    figure = plt.figure(figsize=(WIDTH, 3.1))
    top, bottom = figure.subfigures(2, 1, height_ratios=(0.45, 2.65))
    draw_chain(top.subplots(), steps)
    axes = bottom.subplots(1, len(widths), width_ratios=widths)
    if set(rows) <= set(NAMES):
        draw_crops(axes[0], rows)
    else:
        axes[0].set_axis_off()
    for place, (title, numbers) in enumerate(tables.items()):
        names = (columns or {}).get(title, QUESTIONS)
        whole = torch.allclose(numbers, numbers.round(), atol=1e-3)
        draw_tokens(
            axes[place + 1], numbers, names, rows, title, 0 if whole else digits,
            place == 0, lit,
        )  # fmt: skip
    return figure


def draw_small_photo(ax: Axes) -> None:
    """Show the 21 x 21 pixels under the grid of patches, the named ones outlined."""
    pixels = small_photo()
    ax.imshow(pixels, cmap="gray", vmin=-5, vmax=5)
    ax.set(xticks=(), yticks=())
    for side in range(0, 22, 3):
        ax.axhline(side - 0.5, color="white", linewidth=0.5)
        ax.axvline(side - 0.5, color="white", linewidth=0.5)
    for name, (row, column) in PLACES.items():
        corner = (3 * column - 0.5, 3 * row - 0.5)
        ax.add_patch(
            Rectangle(corner, 3, 3, fill=False, edgecolor=COLOURS["patch"], lw=2)
        )
        below = row < 6
        ax.text(
            corner[0] + 1.5, corner[1] + (3.2 if below else -0.2), name, ha="center",
            va="top" if below else "bottom", fontsize=9, color="white",
            bbox={"facecolor": COLOURS["patch"], "pad": 1, "edgecolor": "none"},
        )  # fmt: skip
