"""The figure of `benchmarks.growth`."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from going_modular.helper_functions import COLOURS, WIDTH

__all__ = ["LABELS", "plot_growth"]

LABELS = {
    "image size": "image size (pixels)",
    "depth": "depth (blocks)",
    "width": "width D",
    "batch": "batch (images)",
}


def plot_growth(rows: list[dict], title: str) -> Figure:
    """Images per second, and memory below where it is known, over each dimension."""
    known = all(row["peak_mib"] is not None for row in rows)
    fig, axes = plt.subplots(
        1 + known,
        len(LABELS),
        figsize=(WIDTH, 2.6 + 1.7 * known),
        sharex="col",
        sharey="row",
        squeeze=False,
    )
    for column, (dimension, label) in zip(axes.T, LABELS.items(), strict=True):
        chosen = [row for row in rows if row["dimension"] == dimension]
        draw_column(column, chosen)
        column[-1].set_xlabel(label)
    axes[0, 0].set_ylabel("images per second")
    if known:
        axes[1, 0].set_ylabel("memory of the pass (MiB)")
    fig.suptitle(title, fontsize=10)
    handles, names = axes[0, 0].get_legend_handles_labels()
    fig.legend(handles, names, loc="outside lower center", ncols=2)
    return fig


def draw_column(column: list[Axes], rows: list[dict]) -> None:
    values = [row["value"] for row in rows]
    median, low, high = zip(*(row["images_per_second"] for row in rows), strict=True)
    errors = [
        [m - x for m, x in zip(median, low, strict=True)],
        [x - m for m, x in zip(median, high, strict=True)],
    ]
    expected = [row["expected"] for row in rows]
    column[0].plot(
        values, expected, "--", color="#808080", label="expected from multiplications"
    )
    column[0].errorbar(
        values,
        median,
        errors,
        fmt="o-",
        markersize=4,
        color=COLOURS["patch"],
        label="measured (median, lowest to highest)",
    )
    if len(column) > 1:
        memory = [row["peak_mib"] for row in rows]
        column[1].plot(values, memory, "o-", markersize=4, color=COLOURS["patch"])
    for ax in column:
        ax.set(xscale="log", yscale="log")
        ax.set_xticks(values, [str(value) for value in values], fontsize=7)
        ax.minorticks_off()
