"""Scores of attention, with and without the division by the root of D_h."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from going_modular.plots.style import WIDTH

__all__ = [
    "plot_score_scaling",
]


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
