"""The drawings of studies show every mean, with its interval."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from going_modular.plots.style import COLOURS
from going_modular.teaching.drawings_studies import draw_curves, draw_differences


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def test_a_difference_is_black_only_where_its_interval_leaves_zero():
    table = pd.DataFrame(
        {"mean": [0.02, 0.01, -0.01], "half_width": [0.005, 0.015, 0.005]},
        index=["sure", "perhaps", "worse"],
    )
    (ax,) = draw_differences(table, "the base", limits=(-4, 4)).axes
    dots = [bar.lines[0] for bar in ax.containers]
    assert [dot.get_xdata()[0] for dot in dots] == pytest.approx([2, 1, -1])
    assert [dot.get_color() for dot in dots] == ["black", "#808080", "black"]
    (bar,) = ax.containers[0].lines[2]  # from mean - half to mean + half
    assert bar.get_segments()[0][:, 0] == pytest.approx([1.5, 2.5])
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["sure", "perhaps", "worse"]
    assert "the base" in ax.get_xlabel()


@pytest.mark.parametrize("mean", [-0.25, 0.25])
def test_a_difference_outside_the_axis_is_pointed_to_and_named(mean):
    table = pd.DataFrame({"mean": [mean], "half_width": [0.004]}, index=["far"])
    (ax,) = draw_differences(table, "the base", limits=(-4, 4)).axes
    (arrow,) = ax.texts
    assert arrow.get_text() == f"{100 * mean:.1f} ± 0.4"
    assert arrow.xy == (4 if mean > 0 else -4, 0)
    assert not ax.containers


def test_curves_are_in_per_cent_and_have_their_names():
    _, ax = plt.subplots()
    blue = COLOURS["patch"]
    curves = {
        "one": ([10, 100], [0.5, 0.75], [0.1, 0.05]),
        "other": ([10], [0.2], [0.0]),
    }
    styles = {"one": dict(color=blue, fmt="o-"), "other": dict(fmt="s--")}
    draw_curves(ax, curves, styles)
    line = ax.containers[0].lines[0]
    assert list(line.get_xdata()) == [10, 100]
    assert list(line.get_ydata()) == pytest.approx([50, 75])
    assert line.get_color() == blue
    assert [text.get_text() for text in ax.get_legend().texts] == ["one", "other"]
    assert ax.get_xscale() == "log"
