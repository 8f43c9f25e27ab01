"""Pictures of a training run."""

import math
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from torch import Tensor

from going_modular.plots.predictions import shorten
from going_modular.plots.style import COLOURS, WIDTH
from going_modular.system.text import printable

__all__ = ["MOST_NAMED", "plot_confusion_matrix", "plot_loss_curves"]

# Of a confusion matrix: classes up to which counts stand in the cells, and up to which
# every class is named; inches that each class between the two adds to the picture.
MOST_COUNTED, MOST_NAMED, GROWTH = 20, 50, 0.15
LONGEST_NAME = 24  # characters beside a matrix


def plot_loss_curves(results: pd.DataFrame | Mapping[str, Sequence[float]]) -> Figure:
    """Draw loss and accuracy of each epoch, in training and on the test images.

    Args:
        results: One row an epoch with train_loss, train_acc, test_loss and test_acc
            (accuracies from 0 to 1): a DataFrame, or a dictionary of lists. Where
            there are val_loss and val_acc, too, test images are counted in the last
            row only.

    Raises:
        ValueError: A column is missing, or there is no epoch.
    """
    if not isinstance(results, pd.DataFrame | Mapping):
        kind = type(results).__name__
        raise ValueError(f"these are no training results, but a {kind}")
    results = pd.DataFrame(results)
    held_out = "val" if "val_loss" in results else "test"
    needed = [f"{p}_{q}" for p in ("train", held_out) for q in ("loss", "acc")]
    missing = [column for column in needed if column not in results]
    if missing or results.empty:
        problem = f"no column {', '.join(missing)}" if missing else "no epoch"
        raise ValueError(f"these are no training results: {problem}")
    epochs = np.arange(1, len(results) + 1)
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3))
    for ax, quantity, name in zip(
        axes, ("loss", "acc"), ("Loss", "Accuracy"), strict=True
    ):
        scale = 100 if quantity == "acc" else 1
        for part, style in (("train", "--"), (held_out, "-")):
            curve = results[f"{part}_{quantity}"] * scale
            ax.plot(epochs, curve, style, color=COLOURS["scratch"], label=part,
                    marker="o" if len(epochs) == 1 else None)  # fmt: skip
        if held_out == "val" and f"test_{quantity}" in results:  # of the last epoch
            ax.plot(epochs, results[f"test_{quantity}"] * scale, "D", label="test",
                    color=COLOURS["class"])  # fmt: skip
        unit = "percent of images" if quantity == "acc" else "cross-entropy"
        ax.set(title=name, xlabel="epoch", ylabel=unit)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
    return fig


def plot_confusion_matrix(
    labels: Tensor, predictions: Tensor, class_names: Sequence[str]
) -> Figure:
    """Show which class's images were taken for which class.

    The colour of a cell is its share of the row, of all images of the true class. Up
    to 20 classes the number of images stands in it; above, the picture grows, and from
    51 on it names every so many classes only. The row of a class that has no images is
    grey.

    Args:
        labels: (n,) true classes.
        predictions: (n,) predicted classes.
        class_names: One name a class, for 2 to about 1,000 classes.
    """
    K = len(class_names)
    counts = np.zeros((K, K), int)
    np.add.at(counts, (labels.cpu().numpy(), predictions.cpu().numpy()), 1)
    totals = counts.sum(axis=1, keepdims=True)  # (K, 1)
    shares = np.ma.masked_array(counts / totals.clip(min=1))  # (K, K)
    shares[totals[:, 0] == 0] = np.ma.masked
    width = WIDTH + GROWTH * (K - MOST_COUNTED) * (MOST_COUNTED < K <= MOST_NAMED)
    fig, ax = plt.subplots(
        figsize=(width, width * 0.85),
        dpi=100 if K <= MOST_NAMED else 200,  # to be looked at closely
        layout="compressed",
    )
    picture = ax.imshow(
        shares,
        cmap=plt.get_cmap("cividis").with_extremes(bad="#D9D9D9"),
        # Among many classes a confusion is rare: dark colours are spread further.
        norm=PowerNorm(1 if K <= MOST_COUNTED else 0.5, vmin=0, vmax=1),
        interpolation="auto",  # cells smaller than a pixel are averaged, not left out
    )
    ax.set(xlabel="predicted class", ylabel="true class")
    fig.colorbar(picture, ax=ax, label="share of the true class's images", aspect=30)
    names = [shorten(printable(name), LONGEST_NAME) for name in class_names]
    cell = name_classes(ax, names)
    if K <= MOST_COUNTED:
        write_counts(ax, counts, shares, cell)
    for row in np.flatnonzero(totals == 0) if K <= MOST_NAMED else ():
        size = min(9, 0.8 * cell)
        ax.text((K - 1) / 2, row, "none", ha="center", va="center", fontsize=size)
    return fig


def name_classes(ax: Axes, names: Sequence[str]) -> float:
    """Name the rows and columns of a matrix, as many as there is room for.

    Below the columns names are slanted where all have room, then upright, then fewer.

    Returns:
        The side of a cell, in points.
    """
    K = len(names)
    size = 9 if K <= MOST_COUNTED else 7  # points
    step, slanted = math.ceil(K / MOST_NAMED), K <= MOST_COUNTED
    while True:
        ticks, shown = range(0, K, step), names[::step]
        options = dict(fontsize=size, parse_math=False)
        ax.set_yticks(ticks, shown, **options)
        if slanted:
            options |= dict(rotation=45, ha="right", rotation_mode="anchor")
        else:
            options |= dict(rotation=90, ha="center", rotation_mode="default")
        ax.set_xticks(ticks, shown, **options)
        ax.figure.draw_without_rendering()  # arranges the axes around their names
        cell = ax.get_window_extent().width * 72 / ax.figure.dpi / K
        line = 1.25 * size  # points from a name to the next
        if step * cell >= line * (2**0.5 if slanted else 1) or step >= K:
            return cell
        if slanted:
            slanted = False
        else:
            step = max(step + 1, math.ceil(line / cell))


def write_counts(ax: Axes, counts: np.ndarray, shares: np.ndarray, cell: float) -> None:
    """Write how many images a cell stands for, in letters that fit its side."""
    digits = len(str(counts.max()))
    size = min(9, 0.9 * cell / (0.64 * digits))  # a digit is 0.64 of the letters' size
    for row, column in np.argwhere(counts):
        colour = "black" if shares[row, column] > 0.5 else "white"
        ax.text(
            column, row, str(counts[row, column]), ha="center", va="center",
            color=colour, fontsize=size,
        )  # fmt: skip
