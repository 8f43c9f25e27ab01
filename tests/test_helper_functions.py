"""Figures show the numbers they were given."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

import functions.helper_functions
from going_modular import helper_functions
from going_modular.helper_functions import (
    plot_confusion_matrix,
    plot_heatmap,
    plot_images,
    plot_loss_curves,
    plot_patch_grid,
    plot_score_scaling,
    to_picture,
)
from going_modular.plots.style import use_style

RESULTS = {
    "train_loss": [2.0, 1.5],
    "train_acc": [0.25, 0.5],
    "test_loss": [1.75, 1.25],
    "test_acc": [0.375, 0.75],
}


@pytest.mark.parametrize("kind", [dict, pd.DataFrame])
def test_loss_curves_show_every_column(kind):
    loss, accuracy = plot_loss_curves(kind(RESULTS)).axes
    curves = {line.get_label(): list(line.get_ydata()) for line in loss.lines}
    assert curves == {"train": [2.0, 1.5], "test": [1.75, 1.25]}
    curves = {line.get_label(): list(line.get_ydata()) for line in accuracy.lines}
    assert curves == {"train": [25, 50], "test": [37.5, 75]}
    assert list(loss.lines[0].get_xdata()) == [1, 2]


@pytest.mark.parametrize("results", [{}, {"train_loss": [1.0]}, 5, "text", None])
def test_loss_curves_refuse_what_is_no_results_table(results):
    with pytest.raises(ValueError, match="no training results"):
        plot_loss_curves(results)


def test_confusion_matrix_shows_shares_of_the_true_class():
    labels = torch.tensor([0, 0, 0, 0, 1])
    predictions = torch.tensor([0, 0, 0, 1, 0])
    ax = plot_confusion_matrix(labels, predictions, ["cat", "dog"]).axes[0]
    assert ax.images[0].get_array().tolist() == [[0.75, 0.25], [1, 0]]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")


@pytest.mark.parametrize("K", [2, 3, 10, 20, 21, 50, 51, 100, 1000])
def test_names_beside_a_confusion_matrix_never_touch(K):
    use_style()
    labels = torch.arange(K)
    names = [f"{i} is a name of thirty letters"[:30] for i in range(K)]
    figure = plot_confusion_matrix(labels, labels, names)
    figure.canvas.draw()
    ax = figure.axes[0]
    rows, columns = (axis.get_ticklabels() for axis in (ax.yaxis, ax.xaxis))
    assert len(rows) == len(columns) <= 50 and (K > 50 or len(rows) == K)
    assert rows[0].get_text() == names[0][:23] + "…"
    tops = [text.get_window_extent() for text in rows]
    assert all(a.ymin > b.ymax for a, b in pairwise(tops))
    turned = [text.get_window_extent() for text in columns]
    if columns[0].get_rotation() == 90:
        assert all(a.xmax < b.xmin for a, b in pairwise(turned))
    else:  # slanted: what lies between two baselines is their step across times sin 45
        lines = np.diff([text.get_transform().transform((text._x, 0))[0]
                         for text in columns]) / 2**0.5  # fmt: skip
        assert (lines > 9 * figure.dpi / 72).all()
    whole = figure.bbox
    for box in (*tops, *turned):
        assert 0 <= box.xmin and box.xmax <= whole.xmax and 0 <= box.ymin
    assert (figure.get_figwidth() > 7) == (20 < K <= 50)


def test_cells_of_a_confusion_matrix_count_images_up_to_20_classes():
    labels = torch.tensor([0] * 12345 + [1] * 3)
    predictions = labels.clone()
    predictions[:5] = 1
    figure = plot_confusion_matrix(labels, predictions, [*"abcdefghijklmnopqrst"])
    figure.canvas.draw()
    texts = {t.get_position(): t for t in figure.axes[0].texts}
    shown = {
        place: t.get_text() for place, t in texts.items() if t.get_text() != "none"
    }
    assert shown == {(0, 0): "12340", (1, 0): "5", (1, 1): "3"}
    cell = figure.axes[0].get_window_extent().width / 20
    assert texts[0, 0].get_window_extent().width < cell
    labels = torch.arange(21)
    assert not plot_confusion_matrix(labels, labels, [*map(str, labels)]).axes[0].texts


def test_pictures_are_the_same_from_bytes_and_from_normalised_floats():
    pixels = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
    bytes_picture = to_picture(pixels)
    float_picture = to_picture(pixels / 127.5 - 1)
    assert bytes_picture.shape == (5, 7, 3)
    assert abs(bytes_picture - float_picture).max() < 1e-6
    assert to_picture(pixels[:1]).shape == (5, 7, 3)


def test_patch_grid_draws_every_border():
    ax = plot_patch_grid(torch.zeros(3, 24, 40), patch_size=8).axes[0]
    assert len(ax.lines) == (24 // 8 + 1) + (40 // 8 + 1)


def test_images_fill_rows_and_leave_the_rest_empty():
    figure = plot_images(torch.zeros(5, 1, 4, 4), titles=list("abcde"), columns=3)
    shown = [ax for ax in figure.axes if ax.images]
    assert len(figure.axes) == 6 and len(shown) == 5
    assert [ax.get_title() for ax in shown] == list("abcde")


def test_heatmap_scales_follow_their_kind():
    matrix = torch.tensor([[-1.0, 3.0]])
    limits = {
        kind: plot_heatmap(matrix, kind=kind).axes[0].images[0].get_clim()
        for kind in ("magnitude", "probability", "signed")
    }
    assert limits == {"magnitude": (-1, 3), "probability": (0, 1), "signed": (-3, 3)}


def test_functions_package_offers_the_same_helpers():
    for name in helper_functions.__all__:
        here = getattr(functions.helper_functions, name)
        assert here is getattr(helper_functions, name)


def test_scores_of_many_queries_are_drawn_as_median_and_band():
    scores = torch.randn(3, 25, generator=torch.Generator().manual_seed(0))
    left, right = plot_score_scaling((4, 16), (4.0, 16.0), scores, width=4).axes
    assert [list(line.get_ydata()) for line in left.lines] == [[4, 16], [1, 1]]
    for line, values in zip(right.lines, (scores, scores / 2), strict=True):
        weights = values.softmax(dim=1).sort(dim=1, descending=True).values  # (3, T)
        middle = weights.sort(dim=0).values[1, :20]  # of three queries, the second
        assert torch.allclose(torch.as_tensor(line.get_ydata()).float(), middle)
    assert len(right.collections) == 2  # one band for each


def test_names_of_classes_are_drawn_as_they_are():
    labels = torch.tensor([0, 1, 2])
    names = ["$100_$200", "\udcff", "a\nb"]
    figure = plot_confusion_matrix(labels, labels, names)
    figure.canvas.draw()
    shown = [text.get_text() for text in figure.axes[0].get_xticklabels()]
    assert shown == ["$100_$200", "\\udcff", "a\\nb"]
