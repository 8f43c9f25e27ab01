"""Pictures of a training run."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from torch import Tensor

from going_modular.plots.style import COLOURS, WIDTH
from going_modular.system.text import printable

__all__ = ["plot_confusion_matrix", "plot_loss_curves"]


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
    """Show which share of each class's images was taken for which class.

    The row of a class that has no images says "none".

    Args:
        labels: (n,) true classes.
        predictions: (n,) predicted classes.
        class_names: One name a class.
    """
    K = len(class_names)
    counts = np.zeros((K, K))
    np.add.at(counts, (labels.cpu().numpy(), predictions.cpu().numpy()), 1)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    fig, ax = plt.subplots(figsize=(WIDTH, WIDTH * 0.8))
    picture = ax.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    ticks = range(K)
    names = [printable(name) for name in class_names]
    ax.set_xticks(ticks, names, rotation=45, ha="right", parse_math=False)
    ax.set_yticks(ticks, names, parse_math=False)
    ax.set(xlabel="predicted class", ylabel="true class")
    fig.colorbar(picture, ax=ax, label="share of the true class's images")
    for row in np.flatnonzero(counts.sum(axis=1) == 0):
        ax.text((K - 1) / 2, row, "none", ha="center", va="center", color="white")
    if K <= 20:
        for (row, column), share in np.ndenumerate(shares):
            if counts[row, column]:
                ax.text(
                    column, row, f"{100 * share:.0f}", ha="center", va="center",
                    color="black" if share > 0.5 else "white", fontsize=7,
                )  # fmt: skip
    return fig
