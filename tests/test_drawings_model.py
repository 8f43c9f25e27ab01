"""The drawings of notebook 06 show the numbers that they are given."""

import matplotlib.pyplot as plt
import pytest
import torch

from going_modular.teaching import drawings_model, scene


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def words(figure) -> list[str]:
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_each_token_has_its_share_at_its_place():
    shares = torch.arange(7) / 100
    figure = drawings_model.draw_opinions(shares, (2, 3))
    texts = {t.get_text(): t.get_position() for t in figure.axes[0].texts}
    assert texts["1"] == (0, 0) and texts["6"] == (2, 1)
    assert texts["0"][0] < -1, "the class token stands apart"


def test_the_reading_grows_by_the_head():
    z = scene.block(scene.z0())[1]
    y, W = scene.layer_norm(z[0]), torch.tensor([[1.0, -1, 0, 0], [0, 1, 1, 0]])
    short = words(drawings_model.draw_reading("y", z, y))
    assert "LN: $y$" in short and "1.73" in short and "head" not in short
    full = words(drawings_model.draw_reading("loss", z, y, W, ("cat", "cup")))
    logit = f"{(W @ y)[0]:.2f}"
    assert {"cat", "cup", "loss", logit} <= set(full)
    assert full[full.index(logit) + 1].startswith("−")


def test_bars_carry_their_numbers_and_share_the_names():
    figure = drawings_model.draw_bars(
        {"a": {"x": 3, "y": 0}, "b": {"x": 1, "y": 2}}, "?!"
    )
    assert words(figure) == ["3", "0", "1", "2"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["x", "y"]


def test_every_seed_is_a_line():
    figure = drawings_model.draw_runs({"whole": torch.rand(4, 9)}, 2.3)
    assert len(figure.axes[0].lines) == 5  # and the floor


def test_the_class_token_of_the_output_is_framed():
    figure = drawings_model.draw_output(torch.zeros(1, 8, 8), torch.randn(50, 6))
    (frame,) = figure.axes[1].patches
    assert (frame.get_xy(), frame.get_width(), frame.get_height()) == (
        (-0.5, -0.5),
        6,
        1,
    )
