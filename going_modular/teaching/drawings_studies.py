"""Drawings of studies: differences with their intervals, and curves over a size."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from going_modular.plots.style import COLOURS, WIDTH

__all__ = ["draw_curves", "draw_differences"]


def draw_differences(
    table: pd.DataFrame, base: str, limits: tuple[float, float]
) -> Figure:
    """Draw how much each setting differs from one of them.

    Black is what the interval tells from nothing, grey what it does not. Where a
    difference lies outside the limits, an arrow points to it, with the number.

    Args:
        table: Columns mean and half_width, in shares of images, one row a setting: see
            `experiments.intervals.compare`.
        base: What all are held against.
        limits: Of the axis, in points.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 0.8 + 0.27 * len(table)))
    ax.axvline(0, color=COLOURS["patch"], linewidth=1.2)
    for y, (mean, half) in enumerate(100 * table[["mean", "half_width"]].to_numpy()):
        told = abs(mean) > half
        colour = "black" if told else "#808080"
        if not limits[0] < mean < limits[1]:
            end = limits[0] if mean < 0 else limits[1]
            tail = end + (0.12 if mean < 0 else -0.12) * (limits[1] - limits[0])
            ax.annotate(
                f"{mean:.1f} ± {half:.1f}",
                (end, y),
                (tail, y),
                arrowprops={"arrowstyle": "->"},
                va="center",
                ha="left" if mean < 0 else "right",
            )
            continue
        ax.errorbar(mean, y, xerr=half, fmt="o", color=colour, capsize=3, markersize=5)
    ax.set_yticks(range(len(table)), table.index)
    ax.invert_yaxis()
    ax.set_xlim(*limits)
    ax.grid(axis="y", color="#EEEEEE")
    ax.set_axisbelow(True)
    ax.set_xlabel(f"points of test accuracy, beside {base}")
    return fig


def draw_curves(
    ax: Axes,
    curves: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]],
    styles: Mapping[str, Mapping],
    log: bool = True,
) -> None:
    """Draw means with their intervals over a size.

    Args:
        ax: Where.
        curves: By name, the sizes, the means and the halves of the intervals, these
            two in shares of images.
        styles: By name, arguments of `Axes.errorbar`.
        log: Whether sizes grow by factors.
    """
    for name, (sizes, means, halves) in curves.items():
        ax.errorbar(
            sizes,
            [100 * mean for mean in means],
            yerr=[100 * half for half in halves],
            label=name,
            capsize=2,
            markersize=4,
            **styles[name],
        )
    if log:
        ax.set_xscale("log")
    ax.legend()
