"""Drawings of training runs, each shown beside the luck of the draw."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from going_modular.plots.style import WIDTH

__all__ = ["draw_beside_band", "draw_two_groups"]

Curves = Mapping[str, Sequence[float]]


def draw_two_groups(groups: Mapping[str, Sequence[Curves]], guess: float) -> Figure:
    """Draw the runs of two groups, the first black and the second grey.

    Args:
        groups: For each group, by its name, the results of its runs: train_loss and
            val_acc, one entry for each epoch.
        guess: The loss of a model that gives every class the same probability.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.9))
    for (name, runs), colour in zip(groups.items(), ("black", "#808080"), strict=True):
        for run in runs:
            epochs = range(1, len(run["val_acc"]) + 1)
            left.plot(epochs, run["train_loss"], "--o", color=colour, markersize=4)
            shares = [100 * share for share in run["val_acc"]]
            right.plot(epochs, shares, "-o", color=colour, markersize=4)
        middle = 100 * sum(run["val_acc"][-1] for run in runs) / len(runs)
        right.text(epochs[-1] + 0.12, middle, name, va="center", color=colour)
    left.axhline(guess, color="black", linestyle=":")
    left.text(1, 1.02 * guess, "guessing", va="bottom")
    share = 100 * math.exp(-guess)
    right.axhline(share, color="black", linestyle=":")
    right.text(1, share + 1.5, "guessing", va="bottom")
    left.set(xlabel="epoch", ylabel="training loss", ylim=(0, 1.15 * guess))
    right.set(xlabel="epoch", ylabel="% correct (validation)", ylim=(0, 100))
    right.set_xlim(right=epochs[-1] + 0.75)
    for ax in (left, right):
        ax.set_xticks(epochs)
    return fig


def draw_beside_band(
    runs: Mapping[str, Sequence[float]],
    band: Sequence[float],
    low: tuple[float, float],
    high: tuple[float, float],
) -> Figure:
    """Draw one dot for each run, beside the band of the runs that they compare with.

    The axis is cut in two, because the runs that fail lie far from all others.

    Args:
        runs: Shares of images classified correctly, 0 to 1, by the name of the setting.
        band: The same of several runs of one setting, from which only the seeds differ.
        low: The left part of the axis, in per cent.
        high: The right part.
    """
    rows = {"full recipe": band, **runs}
    fig, axes = plt.subplots(
        1,
        2,
        figsize=(WIDTH, 0.9 + 0.29 * len(rows)),
        sharey=True,
        width_ratios=[1, 2.6],
    )
    for ax, limits in zip(axes, (low, high), strict=True):
        ax.axvspan(100 * min(band), 100 * max(band), color="#E4E4E4", linewidth=0)
        for y, (name, shares) in enumerate(rows.items()):
            colour = "#808080" if name == "full recipe" else "black"
            places = [100 * share for share in shares]
            ax.plot(places, [y] * len(places), "o", color=colour, alpha=0.75)
        ax.set_xlim(*limits)
        ax.grid(axis="y", color="#EEEEEE")
        ax.set_axisbelow(True)
    axes[0].set_yticks(range(len(rows)), list(rows))
    axes[0].invert_yaxis()
    axes[0].xaxis.set_major_locator(MultipleLocator(10))
    axes[1].spines["left"].set_linestyle((0, (3, 3)))
    axes[1].tick_params(axis="y", left=False)
    fig.supxlabel("% of validation images correct, one dot for each run", fontsize=9)
    return fig
