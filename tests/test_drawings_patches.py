"""The drawings of notebook 02 show every patch and every number."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.patches import Polygon, Rectangle

from going_modular.data_setup import load_photo
from going_modular.teaching import drawings_patches as drawings
from going_modular.teaching import scene


@pytest.fixture(autouse=True)
def closed_figures():
    with plt.rc_context({"figure.constrained_layout.use": True}):
        yield
    plt.close("all")


def texts(figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_a_sentence_has_a_numbered_picture_for_each_patch_in_reading_order():
    photo = load_photo("chelsea")
    figure = drawings.draw_sentence(photo, 32, 17)
    assert texts(figure) == [str(i) for i in range(1, 50)]
    pictures = [ax.images[0].get_array() for ax in figure.axes if ax.images]
    expected = photo[:, 64:96, 64:96].permute(1, 2, 0) / 255  # patch 17
    assert torch.allclose(torch.tensor(pictures[16]), expected)


def test_a_patch_and_the_filters_show_their_numbers():
    eye = scene.named_patches()[1].view(3, 3)
    shown = texts(drawings.draw_patch(eye, "eye", "row"))
    assert [t for t in shown if t.lstrip("−").isdigit()][-9:] == [
        f"{round(n)}".replace("-", "−") for n in eye.flatten().tolist()
    ]
    shown = texts(drawings.draw_filters(scene.E.T.view(4, 3, 3), eye, "eye"))
    assert "added up:\n−3 + 6 − 2\n= 1" in shown and "−0" not in shown


def test_equation_1_has_a_square_for_each_number():
    (ax,) = drawings.draw_equation_1().axes
    squares = [p for p in ax.patches if isinstance(p, Rectangle)]
    halves = [p for p in ax.patches if type(p) is Polygon]
    assert len(squares) == 5 * 9 + 9 * 4 + 3 * 6 * 4
    assert len(halves) == 6 * 4


def test_runs_and_patch_sizes_are_drawn_one_by_one():
    results = {"a": ([0.8, 0.9], [0.4]), "b": ([0.7], [0.7])}
    (ax,) = drawings.draw_runs(results, chance=0.1).axes
    assert sorted(len(line.get_xdata()) for line in ax.lines[:4]) == [1, 1, 1, 2]
    titles = {8: "P = 8", 32: "P = 32"}
    figure = drawings.draw_patch_sizes(load_photo("chelsea"), titles)
    assert [ax.get_title() for ax in figure.axes] == ["P = 8", "P = 32"]
