"""Pictures of attention show the numbers they were given, each on its patch."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.patches import Rectangle

from going_modular.helper_functions import (
    plot_attention_distance,
    plot_attention_over_image,
    plot_deletion_curves,
    plot_figure_7,
    plot_layers_by_heads,
    plot_maps_of_images,
    plot_position_similarity,
)
from going_modular.inspection.deletion import DeletionCurves
from going_modular.plots.attention import BRIGHTEST, end_of_scale
from going_modular.plots.inspection import tile

WIDE = torch.zeros(3, 24, 40, dtype=torch.uint8)  # 3 x 5 patches of 8 pixels


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def rectangles(ax) -> list[tuple]:
    found = [p for p in ax.patches if isinstance(p, Rectangle)]
    return [(*p.get_xy(), p.get_width(), p.get_height()) for p in found]


def test_map_lies_patch_on_patch_over_an_image_that_is_not_square():
    values = torch.arange(15.0).view(3, 5)
    figure = plot_attention_over_image(WIDE, values, "weight", patch=(2, 4))
    left, right, bar = figure.axes
    picture, heat = right.images
    assert picture.get_extent() == heat.get_extent() == [0, 40, 24, 0]
    assert heat.get_array().tolist() == values.tolist()
    assert heat.get_clim() == (0, 14) and bar.get_ylabel() == "weight"
    assert set(rectangles(right)) == {(32, 16, 8, 8)}
    lines = {tuple(line.get_ydata()) for line in left.lines}
    assert {(8, 8), (16, 16)} <= lines and len(left.lines) == 4 + 6


def test_sheet_has_a_panel_for_each_layer_and_head_on_one_scale():
    maps = torch.rand(2, 3, 3, 5)
    figure = plot_layers_by_heads(WIDE, maps, [2, 6], "weight", patch=(0, 1))
    panels = [ax for ax in figure.axes if len(ax.images) == 2]
    shown = torch.tensor([ax.images[1].get_array().tolist() for ax in panels]).view_as(
        maps
    )
    assert torch.allclose(shown, maps)
    assert len({ax.images[1].get_clim() for ax in panels}) == 1
    assert [ax.get_title() for ax in panels[:3]] == ["head 1", "head 2", "head 3"]
    assert [panels[i].get_ylabel() for i in (0, 3)] == ["layer 2", "layer 6"]
    assert all(set(rectangles(ax)) == {(8, 0, 8, 8)} for ax in panels)


def test_scale_of_a_sheet_ignores_one_bright_patch_and_says_so():
    maps = torch.full((1, 4, 10, 10), 0.01)
    maps[0, 0, 0, 0] = 1
    figure = plot_layers_by_heads(torch.zeros(1, 20, 20), maps, [1], "weight")
    assert figure.axes[0].images[1].get_clim()[1] == pytest.approx(0.01)
    assert figure.axes[-1]._colorbar.extend == "max"


def test_maps_of_images_are_each_scaled_to_their_own_greatest_value():
    maps = {"a": torch.rand(2, 3, 5), "b": 100 * torch.rand(2, 3, 5)}
    figure = plot_maps_of_images([WIDE, WIDE], maps, names=["cat", "dog"])
    panels = [ax for ax in figure.axes if len(ax.images) == 2]
    order = [maps["a"][0], maps["b"][0], maps["a"][1], maps["b"][1]]
    for ax, values in zip(panels, order, strict=True):
        shown = torch.tensor(ax.images[1].get_array().tolist())
        assert torch.allclose(shown, values / values.max())
    names = [ax.get_ylabel() for ax in figure.axes if len(ax.images) == 1]
    assert names[:2] == ["cat", "dog"]


def test_maps_of_images_end_at_a_quantile_where_one_is_asked_for():
    maps = torch.arange(100.0).view(1, 10, 10).clone()
    maps[0, 3, 4] = 1e6
    figure = plot_maps_of_images([WIDE], {"a": maps}, quantile=0.9)
    shown = torch.tensor(figure.axes[1].images[1].get_array().tolist())
    assert torch.allclose(shown, maps[0] / np.quantile(maps, 0.9, method="lower"))
    assert figure.axes[-1]._colorbar.extend == "max"


@pytest.mark.parametrize("share", [0.5, 0.98, 1.0])
def test_a_scale_ends_at_the_quantile_of_numpy(share):
    values = torch.rand(7, 9, generator=torch.Generator().manual_seed(0))
    expected = np.quantile(values.numpy(), share, method="lower")
    assert end_of_scale(values, share) == pytest.approx(expected, rel=1e-5)
    assert end_of_scale(values) == end_of_scale(values, BRIGHTEST)


def test_a_map_that_is_nearly_all_zero_still_shows_its_patch():
    values = torch.zeros(40, 40)
    values[3, 4] = 0.25
    assert end_of_scale(values) == 0.25
    values[:2, :2] = 0.01
    values[:, 9] = 0.02
    assert end_of_scale(values) == pytest.approx(0.02)
    few = torch.tensor([[0.1, 0.2], [0.3, 90]])
    assert end_of_scale(few) == pytest.approx(0.3), "the outlier counts in no way"
    assert end_of_scale(torch.zeros(3, 3)) > 0


def test_an_empty_map_is_no_division_by_zero():
    figure = plot_maps_of_images([WIDE], {"a": torch.zeros(1, 3, 5)})
    assert torch.tensor(figure.axes[1].images[1].get_array().tolist()).eq(0).all()


def test_tiles_keep_their_order_with_gaps_between():
    sheet = tile(torch.arange(1.0, 6).view(5, 1, 1), columns=3)
    nan = torch.nan
    expected = torch.tensor([[1, nan, 2, nan, 3], [nan] * 5, [4, nan, 5, nan, nan]])
    assert torch.equal(sheet.nan_to_num(-1), expected.nan_to_num(-1))


@pytest.mark.parametrize("channels", [1, 3])
def test_figure_7_shows_filters_positions_and_every_head(channels):
    distances = torch.tensor([[10.0, 20.0], [30.0, 40.0], [15.0, 25.0]])
    similarity = torch.eye(15).view(3, 5, 3, 5)
    filters = torch.randn(9, channels, 4, 4)
    figure = plot_figure_7(filters, similarity, distances, uniform=21.0)
    left, middle, right = figure.axes[:3]
    assert left.images[0].get_array().shape[:2] == (3 * 5 - 1, 3 * 5 - 1)
    assert middle.images[0].get_clim() == (-1, 1)
    assert middle.images[0].get_array().shape == (3 * 4 - 1, 5 * 6 - 1)
    dots = {(x, y) for line in right.lines[:2] for x, y in zip(*line.get_data())}  # noqa: B905
    assert dots == {(1, 10), (1, 20), (2, 30), (2, 40), (3, 15), (3, 25)}
    assert list(right.lines[2].get_ydata()) == [21, 21]
    assert right.get_ylim()[0] == 0 and right.get_ylim()[1] > 40


def test_figure_11_and_figure_10_have_a_panel_for_each_model():
    distances = {"one": torch.rand(4, 2), "two": torch.rand(4, 2)}
    axes = plot_attention_distance(distances).axes
    assert [ax.get_title() for ax in axes] == ["one", "two"]
    similarities = dict.fromkeys("abc", torch.eye(6).view(2, 3, 2, 3))
    axes = plot_position_similarity(similarities).axes
    assert [ax.get_title() for ax in axes[:3]] == ["a", "b", "c"]


def test_deletion_curves_show_means_and_the_area_between():
    shares = torch.tensor([0.0, 0.5, 1.0])
    curves = DeletionCurves(
        shares,
        highest=torch.tensor([[1.0, 0.8], [0.2, 0.0], [0.0, 0.0]]),
        lowest=torch.tensor([[1.0, 0.8], [0.9, 0.7], [0.0, 0.0]]),
        random=torch.tensor([[1.0, 0.8], [0.5, 0.5], [0.0, 0.0]]),
    )
    figure = plot_deletion_curves({"a map": curves, "another": curves})
    ax = figure.axes[0]
    shown = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert shown["highest first"] == pytest.approx([0.9, 0.1, 0])
    assert shown["lowest first"] == pytest.approx([0.9, 0.8, 0])
    assert shown["in random order"] == pytest.approx([0.9, 0.5, 0])
    assert list(ax.lines[0].get_xdata()) == [0, 50, 100]
    assert ax.get_title() == "a map: area 0.35"
