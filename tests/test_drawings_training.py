"""The drawings of notebook 07 show every run that they are given."""

import math

import matplotlib.pyplot as plt
import pytest

from going_modular.teaching import drawings_training


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def test_two_groups_have_a_line_for_each_run_and_one_for_guessing():
    good = {"train_loss": [1.0, 0.5], "val_acc": [0.5, 0.75]}
    bad = {"train_loss": [2.0, 2.0], "val_acc": [0.2, 0.25]}
    figure = drawings_training.draw_two_groups(
        {"new": [good, good, good], "old": [bad, bad]}, math.log(10)
    )
    loss, accuracy = figure.axes
    assert len(loss.lines) == len(accuracy.lines) == 3 + 2 + 1
    assert list(accuracy.lines[0].get_ydata()) == [50, 75]
    assert list(accuracy.lines[-1].get_ydata()) == pytest.approx([10, 10])
    places = {text.get_text(): text.get_position()[1] for text in accuracy.texts}
    assert places["new"] == 75 and places["old"] == 25


def test_every_run_is_a_dot_beside_the_band():
    figure = drawings_training.draw_beside_band(
        {"a": [0.1, 0.2, 0.3], "b": [0.7, 0.75]}, [0.68, 0.72], (0, 40), (60, 80)
    )
    left, right = figure.axes
    for ax in left, right:
        dots = [list(line.get_xdata()) for line in ax.lines]
        assert dots == [
            pytest.approx(row) for row in ([68, 72], [10, 20, 30], [70, 75])
        ]
    assert left.get_xlim() == (0, 40) and right.get_xlim() == (60, 80)
    (band,) = right.patches
    assert band.get_x() == pytest.approx(68) and band.get_width() == pytest.approx(4)
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names == ["full recipe", "a", "b"]
