"""Curves and bars."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from going_modular.plots.style import COLOURS, WIDTH

__all__ = [
    "plot_bars",
    "plot_lines",
    "plot_score_scaling",
    "plot_shares",
    "plot_through_depth",
]


def plot_lines(
    x: Tensor,
    lines: Mapping[str, Tensor],
    xlabel: str,
    ylabel: str,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw up to four named curves over x; more than one get a legend.

    Args:
        x: (n,) places.
        lines: (n,) values of each curve, by its name.
        xlabel: What x is.
        ylabel: What the values are.
        title: Title of the panel.
        ax: Where to draw.
    """
    ax = ax or plt.subplots()[1]
    colours = [COLOURS[name] for name in ("patch", "class", "position", "value")]
    styles = zip(colours, ("-", "--", "-.", ":"), strict=True)
    for (name, y), (colour, style) in zip(lines.items(), styles, strict=False):
        ax.plot(x.detach(), y.detach(), style, color=colour, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if len(lines) > 1:
        ax.legend()
    return ax.figure


def plot_bars(
    panels: Mapping[str, Mapping[str, float]],
    xlabels: Sequence[str],
    form: str = "%.3g",
) -> Figure:
    """Draw named numbers as horizontal bars, in panels that share the names.

    Args:
        panels: For each panel, by its title, the number of each name.
        xlabels: What the numbers of each panel are, with their unit.
        form: How a number is written beside its bar.
    """
    rows = len(next(iter(panels.values())))
    fig, axes = plt.subplots(
        1, len(panels), sharey=True, squeeze=False, figsize=(WIDTH, 0.8 + 0.26 * rows)
    )
    columns = zip(axes.flat, panels.items(), xlabels, strict=True)
    for ax, (title, numbers), xlabel in columns:
        bars = ax.barh(list(numbers), list(numbers.values()), color=COLOURS["patch"])
        ax.bar_label(bars, fmt=form, padding=3, fontsize=8)
        greatest = max(numbers.values()) or 1
        ax.set(title=title, xlabel=xlabel, xlim=(0, 1.25 * greatest))
    axes[0, 0].invert_yaxis()
    return fig


def plot_shares(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draw, one bar a model, the share of its parameters that sits in each part.

    Args:
        counts: For each model what `going_modular.config.count_parameters` gives.
    """
    colours = {
        "patch embedding": COLOURS["patch"], "class token": COLOURS["class"],
        "positions": COLOURS["position"], "attention": COLOURS["query"],
        "MLP": "#DDDDDD", "LayerNorm": "black", "pre-training layer": "#666666",
        "head": "#9E9E9E",
    }  # fmt: skip
    fig, ax = plt.subplots(figsize=(WIDTH, 0.8 + 0.5 * len(counts)))
    left = np.zeros(len(counts))
    for part, colour in colours.items():
        if not any(c[part] for c in counts.values()):
            continue
        shares = [100 * c[part] / sum(c.values()) for c in counts.values()]
        bars = ax.barh(list(counts), shares, left=left, color=colour, label=part,
                       linewidth=0)  # fmt: skip
        left += shares
        if part in ("attention", "MLP"):
            ax.bar_label(bars, fmt="%.0f %%", label_type="center")
    ax.set(xlabel="share of the parameters (%)", ylabel="model", xlim=(0, 100))
    ax.invert_yaxis()
    fig.legend(loc="outside upper center", ncols=7, fontsize=7.5, columnspacing=1)
    return fig


def plot_through_depth(runs: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw quantities measured at each block, one panel a quantity, one line a run.

    Args:
        runs: For each run, by its name, the quantities by theirs. A list may begin
            at block 0, the input, or at block 1; all end at the last block.
    """
    quantities = list(next(iter(runs.values())))
    depth = max(len(v) for run in runs.values() for v in run.values()) - 1
    fig, axes = plt.subplots(1, len(quantities), figsize=(WIDTH, 3), squeeze=False)
    for ax, quantity in zip(axes.flat, quantities, strict=True):
        for (name, run), style in zip(runs.items(), ("-", "--", ":"), strict=False):
            values = run[quantity]
            blocks = range(depth + 1 - len(values), depth + 1)
            ax.semilogy(blocks, values, style, color="black", label=name)
        ax.set(ylabel=quantity, xlabel="block (0: input)", xlim=(0, depth))
        ax.set_xticks(range(0, depth + 1, max(1, depth // 4)))
    lines, names = axes.flat[0].get_legend_handles_labels()
    fig.legend(lines, names, loc="outside upper center", ncols=len(runs))
    return fig


def plot_score_scaling(
    widths: Sequence[int], variances: Sequence[float], scores: Tensor, width: int
) -> Figure:
    """Show what division by the root of the head width does to scores and weights.

    Args:
        widths: Head widths.
        variances: Variance of unscaled dot products at each of them.
        scores: (n, T) unscaled scores of n queries. Of their sorted weights the median
            is drawn, in a band from the 5th to the 95th percentile.
        width: The head width of these queries.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.8))
    scaled = [v / w for v, w in zip(variances, widths, strict=True)]
    root = r"$q \cdot k / \sqrt{D_h}$"
    left.loglog(widths, variances, "o--", color="#808080", label=r"$q \cdot k$")
    left.loglog(widths, scaled, "o-", color="black", label=root)
    left.set(xlabel="head width $D_h$", ylabel="variance of the scores")
    left.set_xticks(widths, widths)
    left.minorticks_off()
    left.legend()
    for values, style, colour in (
        (scores, "o--", "#808080"),
        (scores / width**0.5, "o-", "black"),
    ):
        weights = values.softmax(dim=1).sort(dim=1, descending=True).values
        low, middle, high = (
            weights[:, :20].quantile(s, dim=0) for s in (0.05, 0.5, 0.95)
        )
        right.semilogy(range(1, 21), middle, style, color=colour, markersize=3)
        right.fill_between(
            range(1, 21), low, high, color=colour, alpha=0.2, linewidth=0
        )
    right.set(
        xlabel=f"token, sorted by weight (20 of {scores.shape[1]})",
        ylabel="attention weight",
        xticks=(1, 5, 10, 15, 20),
    )
    return fig
