"""Attention, drawn: LN before it, who looks where, a row of A as lines, heads."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from matplotlib.patheffects import Normal, withStroke
from torch import Tensor

from going_modular.data_setup import load_photo
from going_modular.plots.style import COLOURS, WIDTH, to_picture
from going_modular.teaching.scene import NAMES, PLACES

__all__ = [
    "draw_accuracies",
    "draw_attention_row",
    "draw_head_maps",
    "draw_heads",
    "draw_looks",
    "draw_staircases",
]

# Heads have colours of their own: none of those of patches, queries and so on.
HEADS = ("#332288", "#999933", "#882255", "#44AA99")
THICKEST = 14  # points, of the line of a weight of 1
DARK = "#444444"


def draw_accuracies(accuracies: Mapping[str, Sequence[float]]) -> Figure:
    """Draw for each model its runs as dots, and their mean as a bar.

    Args:
        accuracies: From 0 to 1, one for each seed, by what the model is called.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 0.8 + 0.42 * len(accuracies)))
    for row, runs in enumerate(accuracies.values()):
        ax.barh(row, sum(runs) / len(runs), height=0.6, color="#D0D0D0")
        ax.plot(runs, [row] * len(runs), "o", color="black", markersize=5, alpha=0.7)
    ax.axvline(0.1, color="black", linestyle=":", label="guessing")
    ax.set_yticks(range(len(accuracies)), accuracies)
    ax.set(xlim=(0, 1), xlabel="share of 1,350 validation images named correctly")
    ax.invert_yaxis()
    ax.legend(loc="lower right")
    return fig


def draw_line(ax: Axes, ends: Sequence[Sequence[float]], weight: float, **options):
    """A line as thick as an attention weight, with a dark outline."""
    thick = max(THICKEST * weight, 0.4)
    effects = [withStroke(linewidth=thick + 1.2, foreground=DARK), Normal()]
    colour = COLOURS["query"]
    ax.plot(
        *zip(*ends, strict=True), color=colour, linewidth=thick, path_effects=effects,
        solid_capstyle="butt", **options,
    )  # fmt: skip


# Where a name stands, seen from the middle of its patch: (x, y), and its side.
LABELS = {
    "class": (0, 26, "center"),
    "fur": (0, 27, "center"),
    "eye": (-4, -24, "center"),
    "stripe": (-20, 4, "right"),
    "nose": (4, 26, "right"),
    "background": (-19, 9, "right"),
}


def draw_looks(attention: Tensor, lookers: Sequence[str]) -> Figure:
    """Draw over the cat how much some tokens look at each of the six.

    Args:
        attention: (T, T) weights of the scene.
        lookers: Names of the tokens that look, one panel for each.
    """
    fig, axes = plt.subplots(1, len(lookers), figsize=(WIDTH, 3.1))
    photo = to_picture(load_photo("chelsea"))
    places = {name: (32 * x + 16, 32 * y + 16) for name, (y, x) in PLACES.items()}
    places = {"class": (-34, 112), **places}
    for ax, looker in zip(axes.flat, lookers, strict=True):
        ax.imshow(photo, alpha=0.75)
        ax.set(xlim=(-66, 226), ylim=(226, -2), title=f"the {looker} token looks")
        ax.set_axis_off()
        weights = attention[NAMES.index(looker)].tolist()
        for name, weight in zip(NAMES, weights, strict=True):
            draw_looked_at(ax, name, weight, places[name], places[looker])
    return fig


def draw_looked_at(
    ax: Axes,
    name: str,
    weight: float,
    place: tuple[float, float],
    looker: tuple[float, float],
) -> None:
    """Draw one token, its weight, and the line to it from the token that looks."""
    (x, y), (right, down, side) = place, LABELS[name]
    if name == "class":
        circle = Circle(place, 16, fc="#F8DCC8", ec=COLOURS["class"], zorder=3)
        ax.add_patch(circle)
        star = dict(ha="center", va="center", fontsize=14, zorder=4)
        ax.text(x, y + 3, "*", color=COLOURS["class"], **star)
    else:
        frame = dict(fill=False, ec=COLOURS["patch"], lw=2, zorder=3)
        ax.add_patch(Rectangle((x - 16, y - 16), 32, 32, **frame))
    if place != looker:  # from edge to edge, so that the patches stay in sight
        way = torch.tensor(place) - torch.tensor(looker)
        step = 17 * way / way.abs().max()
        ends = torch.tensor(looker) + step, torch.tensor(place) - step
        draw_line(ax, [end.tolist() for end in ends], weight, zorder=2)
    box = dict(facecolor="white", edgecolor="none", pad=1, alpha=0.9)
    ax.text(
        x + right, y + down, f"{name} {weight:.2f}", ha=side, va="center", fontsize=9,
        zorder=5, bbox=box,
    )  # fmt: skip


def draw_row(
    ax: Axes,
    numbers: Sequence[float],
    x: float,
    y: float,
    colour: str,
    digits: int = 0,
    width: float = 1,
) -> None:
    """Write numbers into cells side by side, from (x, y)."""
    for place, number in enumerate(numbers):
        left = x + place * width
        fill = dict(facecolor=to_rgba(colour, 0.35), edgecolor=DARK, linewidth=0.8)
        ax.add_patch(Rectangle((left, y), width, 1, **fill))
        text = f"{number:.{digits}f}"
        text = text.lstrip("-") if not float(text) else text.replace("-", "−")
        ax.text(left + width / 2, y + 0.5, text, ha="center", va="center", fontsize=9)


def draw_attention_row(
    q: Tensor, k: Tensor, v: Tensor, divisor: float, names: Sequence[str] = NAMES
) -> Figure:
    """Draw what one query does: scores, weights as lines, the sum of the values.

    Args:
        q: (dh,) query of the first of the tokens.
        k: (T, dh) keys.
        v: (T, dh) values.
        divisor: What the dot products are divided by.
        names: The tokens' names.
    """
    (T, dh), scores = k.shape, k @ q / divisor
    weights = scores.softmax(dim=0)
    score_x, node_x, value_x = dh + 0.6, dh + 3.7, dh + 8.0
    out_x, wide, middle = value_x + dh + 2.2, 1.7, T / 2
    fig, ax = plt.subplots(figsize=(WIDTH, 3.3))
    draw_row(ax, q.tolist(), 0, -2.1, COLOURS["query"])
    for row, (name, weight) in enumerate(zip(names, weights.tolist(), strict=True)):
        colour = COLOURS["class" if name == "class" else "patch"]
        ax.text(-0.2, row + 0.5, name, ha="right", va="center", color=colour)
        draw_row(ax, k[row].tolist(), 0, row, COLOURS["key"])
        draw_row(ax, [scores[row].item()], score_x, row, "white", 1, 1.5)
        draw_row(ax, v[row].tolist(), value_x, row, COLOURS["value"])
        draw_line(ax, ((node_x, middle), (value_x, row + 0.5)), weight)
        inner = (value_x + dh, row + 0.5), (out_x, middle)
        draw_line(ax, inner, weight)
        box = dict(facecolor="white", edgecolor="none", pad=0.5, alpha=0.85)
        x = value_x - 0.15
        ax.text(x, row + 0.5, f"{weight:.2f}", ha="right", va="center", bbox=box)
    total = (weights @ v).tolist()
    draw_row(ax, total, out_x, middle - 0.5, COLOURS["value"], 2, wide)
    node = dict(s=420, color="#F8DCC8", edgecolors=COLOURS["class"], zorder=3)
    ax.scatter(node_x, middle, **node)
    star = dict(ha="center", va="center", fontsize=14, color=COLOURS["class"])
    ax.text(node_x, middle + 0.12, "*", zorder=4, **star)
    for x, y, text in (
        (dh / 2, -2.35, "query q of the class token"),
        (dh / 2, -0.25, "keys k"),
        (score_x + 0.75, -0.25, f"q·k / {divisor:.3g}"),
        ((node_x + value_x) / 2, -0.25, "weights"),
        (value_x + dh / 2, -0.25, "values v"),
        (out_x + dh * wide / 2, middle - 0.75, "sum, A v"),
    ):
        ax.text(x, y, text, ha="center", va="bottom")
    ax.set(xlim=(-3.6, out_x + dh * wide + 0.1), ylim=(T + 0.1, -3.1))
    ax.set_axis_off()
    return fig


def draw_heads(
    before: Sequence[str],
    attention: Tensor,
    after: Sequence[str],
    names: Sequence[str] = (),
    most: float = 1,
) -> Figure:
    """Draw how a token's numbers are cut for the heads, and joined again.

    Args:
        before: What stands in the D cells that are cut.
        attention: (nh, T, T) weights, the heads' rows and columns.
        after: What stands in the D cells of the heads' results, side by side.
        names: The tokens' names, to be written at the first matrix.
        most: Value at the top of the colours.
    """
    nh = len(attention)
    tall = 2.9 if names else 1.9  # names take room below a matrix
    fig = plt.figure(figsize=(WIDTH, tall + 1.4))
    top, middle, bottom = fig.subfigures(3, 1, height_ratios=(0.7, tall, 0.7))
    draw_strip(top.subplots(), before, nh, "q of one token, cut into heads")
    joined = "; ".join(f"SA$_{head}$" for head in range(1, nh + 1))
    draw_strip(bottom.subplots(), after, nh, f"[{joined}], joined again")
    axes = middle.subplots(1, nh)
    for head, (ax, weights) in enumerate(zip(axes, attention.detach(), strict=True)):
        shown = ax.imshow(weights, cmap="cividis", vmin=0, vmax=most)
        ax.set_title(f"A of head {head + 1}", color=HEADS[head])
        ax.set(xticks=range(len(names)), yticks=range(len(names)))
        ax.set_xticklabels(names, rotation=90)
        ax.set_yticklabels(names if head == 0 else [""] * len(names))
        ax.spines[:].set(visible=True, color=HEADS[head], linewidth=2)
    above = "neither" if attention.max() <= most else "max"
    middle.colorbar(shown, ax=axes, label="weight", extend=above)
    return fig


def draw_strip(ax: Axes, cells: Sequence[str], nh: int, words: str) -> None:
    """A row of cells in the colours of the heads that they belong to."""
    ax.set(xlim=(-0.01 * len(cells), 1.01 * len(cells)), ylim=(1.1, -0.9))
    ax.set_axis_off()
    for place, text in enumerate(cells):
        colour = to_rgba(HEADS[place * nh // len(cells)], 0.4)
        ax.add_patch(Rectangle((place, 0), 1, 1, fc=colour, ec="white", lw=0.8))
        ax.text(place + 0.5, 0.5, text, ha="center", va="center")
    ax.text(0, -0.15, words, ha="left", va="bottom")


def draw_head_maps(
    rows: Mapping[str, tuple[Tensor, Tensor]], greatest: float, label: str
) -> Figure:
    """Draw rows of maps, one for each head, after the image that they belong to.

    Args:
        rows: (C, H, W) image and (nh, h, w) maps, by what stands beside the row.
        greatest: Value at the top of the colours.
        label: What the colours are.
    """
    nh = next(iter(rows.values()))[1].shape[0]
    fig, axes = plt.subplots(
        len(rows), nh + 1, figsize=(WIDTH, 1.15 * len(rows) + 0.3), squeeze=False
    )
    for ax, head in zip(axes[0, 1:], range(1, nh + 1), strict=True):
        ax.set_title(f"head {head}")
    for line, (name, (image, maps)) in zip(axes, rows.items(), strict=True):
        height, width = image.shape[1:]
        line[0].imshow(to_picture(image), extent=(0, width, height, 0))
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
        for ax, values in zip(line[1:], maps, strict=True):
            shown = ax.imshow(
                torch.as_tensor(values).detach(), vmin=0, vmax=greatest,
                extent=(0, width, height, 0),
            )  # fmt: skip
        for ax in line:
            ax.set(xticks=(), yticks=())
            ax.spines[:].set_visible(False)
    fig.colorbar(shown, ax=axes, label=label, extend="max")
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
