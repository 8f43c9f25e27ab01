"""The drawings of notebook 04 show the numbers that they are given."""

import matplotlib.pyplot as plt
import pytest
import torch

from going_modular.teaching import drawings_mlp, scene


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def test_each_favourite_is_shown_and_its_patch_framed():
    images = torch.zeros(3, 1, 28, 28, dtype=torch.uint8)
    images[2] = 255
    rows = {"unit 5": (torch.tensor([2, 0]), torch.tensor([8, 0]))}
    figure = drawings_mlp.draw_favourites(images, {"a": rows, "b": rows})
    assert len(figure.axes) == 4  # two panels of one row of two pictures
    first = figure.axes[0]
    assert first.get_ylabel() == "unit 5"
    bright = [ax.images[0].get_array().mean() > 0.5 for ax in figure.axes]
    assert bright == [True, False, True, False]
    for frame in first.patches:  # patch 8 of 7 x 7 is in row 1, column 1
        assert (frame.get_xy(), frame.get_width()) == ((3.5, 3.5), 4)


def test_widths_are_in_proportion_and_written_down():
    figure = drawings_mlp.draw_widths({"tiny": (3, 12), "even": (1000, 1000)})
    texts = [{text.get_text() for text in ax.texts} for ax in figure.axes]
    assert {"3", "12", "2 · 36 weights"} < texts[0]
    assert {"1,000", "2 · 1,000,000 weights"} < texts[1]
    heights = [abs(y) for _, y in figure.axes[0].patches[0].get_xy()]
    assert min(heights) == pytest.approx(max(heights) * 3 / 12)


def test_without_a_bias_the_points_lie_on_the_line():
    figure = drawings_mlp.draw_thresholds([0, -1])
    tables, points = figure.axes[:2], figure.axes[2:4]
    assert [ax.get_title() for ax in tables] == ["$b_1 = 0$", "$b_1 = -1$"]
    assert tables[0].images[0].get_array().shape == (8, 6)  # units by tokens
    assert [ax.texts[0].get_text() for ax in points] == ["× 2.00", "× 0.93"]
    u = scene.layer_norm(scene.block(scene.z0())[0])
    for ax, added in zip(points, (2 * u, scene.mlp(u)), strict=True):
        drawn = torch.as_tensor(ax.collections[0].get_offsets())
        pairs = torch.stack([u, added], dim=-1).flatten(0, 1)  # (T * D, 2)
        assert torch.allclose(drawn.float(), pairs, atol=1e-4)
