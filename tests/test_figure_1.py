"""The drawing of the whole model: every part can be lit, and its shapes are true."""

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from going_modular.data_setup import load_photo
from going_modular.teaching.figure_1 import PARTS, draw_figure_1
from going_modular.teaching.toy import toy_config
from going_modular.vit import ViT

matplotlib.use("Agg")
PHOTO = load_photo("chelsea", 90)


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def words(figure) -> dict[str, str]:
    """The colour of each text."""
    texts = figure.axes[0].texts
    return {t.get_text(): t.get_color() for t in texts if t.get_text()}


@pytest.mark.parametrize("part", PARTS)
def test_one_part_is_lit_and_the_others_are_not(part):
    everything, one = words(draw_figure_1(PHOTO)), words(draw_figure_1(PHOTO, part))
    assert everything.keys() == one.keys()
    assert len(set(everything.values())) == 1
    lit = [text for text, colour in one.items() if colour == everything[text]]
    assert 0 < len(lit) < len(one)
    named = dict(
        image="image x", embedding="projection", attention="MSA", mlp="MLP",
        encoder="encoder", head="head", training="loss",
    )  # fmt: skip
    assert any(named[part] in text for text in lit)


@pytest.mark.ledger("Figure 1", "the shapes shown are those of a forward pass")
def test_shapes_are_those_of_the_model():
    config = toy_config()
    x = torch.randn(2, 3, 40, 40)
    logits, inside = ViT(config)(x, return_intermediates=True)
    shown = " ".join(words(draw_figure_1(PHOTO, config=config)))
    for tensor in (x, inside["patches"], inside["z0"], inside["y"], logits):
        assert str(tuple(tensor.shape)) in shown


def test_text_is_large_enough_and_inside():
    figure = draw_figure_1(PHOTO, config=toy_config())
    figure.canvas.draw()
    frame = figure.bbox
    for text in figure.axes[0].texts:
        assert text.get_fontsize() >= 9
        box = text.get_window_extent()
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1, text.get_text()
        assert frame.y0 <= box.y0 and box.y1 <= frame.y1, text.get_text()


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="lit must be one of image, embedding"):
        draw_figure_1(PHOTO, "patches")
