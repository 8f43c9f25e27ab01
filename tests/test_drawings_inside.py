"""The drawings of notebooks 11 and 12 mark and label what their data say."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex

from going_modular.plots.style import COLOURS
from going_modular.teaching import drawings_inside as drawings


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def test_the_brightest_row_of_a_map_and_the_row_that_hurts_most_are_marked():
    panels = {"map": [0.2, 0.7, 0.1], "probability,\nrow left out": [0.9, 0.8, 0.1]}
    figure = drawings.draw_rows(torch.zeros(1, 6, 6), panels)
    marked = [
        [to_hex(bar.get_facecolor()) == COLOURS["class"].lower() for bar in ax.patches]
        for ax in figure.axes[1:]
    ]
    assert marked == [[False, True, False], [False, False, True]]


def test_ways_through_two_layers_are_as_thick_as_what_arrives():
    second = torch.tensor([[0.5, 0, 0.5], [0, 1, 0], [0, 0, 1]])
    first = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0.25, 0.75]])
    (ax,) = drawings.draw_two_layers([first, second], ["a", "b", "c"]).axes
    ways = {
        (*line.get_xdata(), line.get_ydata()[0]): line.get_linewidth() / 12
        for line in ax.lines
    }
    assert ways == {
        (0, 0, 2): 0.5, (0, 2, 2): 0.5, (0, 0, 1): 0.5, (2, 1, 1): 0.125,
        (2, 2, 1): 0.375,
    }  # fmt: skip
    below = {
        t.get_text(): t.get_position()[0] for t in ax.texts if t.get_position()[1] < 0
    }
    assert below == {"0.5": 0, "0.125": 1, "0.375": 2, "a token's row of R": -0.75}


def test_kinds_of_maps_are_sorted_by_area_and_those_of_the_model_are_blue():
    on_object = {"rollout": [0.5], "brightness": [1.0], "untrained": [0.75, 1.0]}
    areas = {
        "rollout": [(0.4, 0.1)], "brightness": [(0.1, 0.1)],
        "untrained": [(0.2, 0.1), (0.3, 0.1)],
    }  # fmt: skip
    left, _ = drawings.draw_object_and_trust(on_object, areas).axes
    names = [label.get_text() for label in left.get_yticklabels()]
    assert names == ["brightness", "untrained", "rollout"]
    dots = [
        (*line.get_xdata(), *line.get_ydata(), line.get_color()) for line in left.lines
    ]
    assert dots == [
        (100, 0, "#606060"), (75, 1, "#606060"), (100, 1, "#606060"),
        (50, 2, COLOURS["patch"]),
    ]  # fmt: skip


def test_the_lens_has_a_row_for_each_depth_and_a_column_for_each_class():
    said = torch.rand(4, 2, 3)
    figure = drawings.draw_lens(torch.zeros(2, 1, 4, 4), said, ["x", "y", "z"])
    for image, ax in enumerate(figure.axes[1:4:2]):
        assert (ax.images[0].get_array() == said[:, image].numpy()).all()
    assert [t.get_text() for t in figure.axes[3].get_xticklabels()] == ["x", "y", "z"]
