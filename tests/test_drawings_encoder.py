"""The drawings of notebook 05 show the numbers that they are given."""

import matplotlib.pyplot as plt
import pytest
import torch

from going_modular.plots.style import WIDTH
from going_modular.teaching import drawings_encoder, scene


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def words(ax) -> list[str]:
    return [text.get_text() for text in ax.texts if text.get_text()]


def test_the_likeliest_class_after_each_block_is_marked():
    probabilities = torch.tensor([[0.2, 0.8], [0.6, 0.4], [0.9, 0.1]])
    figure = drawings_encoder.draw_guesses(
        torch.zeros(1, 4, 4), probabilities, ("cat", "cup"), [0.5, 0.75, 1]
    )
    heat, curve = figure.axes[1:3]
    assert torch.equal(
        torch.tensor(heat.images[0].get_array().tolist()), probabilities.T
    )
    assert list(heat.lines[0].get_ydata()) == [1, 0, 0]
    assert words(curve) == ["50", "75", "100"]


def test_the_chain_names_every_block_and_its_tokens():
    z_0 = scene.z0()
    z_1 = scene.block(z_0)[1]
    figure = drawings_encoder.draw_block_chain(1, {"a": z_0, "b": z_1}, digits=1)
    chain, _, before, after = figure.axes
    assert words(chain)[:6] == [
        "pixels",
        "$x_p$",
        "$x_pE$",
        "$z_0$",
        "block 1",
        "$z_1$",
    ]
    assert [ax.get_title() for ax in (before, after)] == ["a", "b"]
    assert "4" in words(before) and f"{z_1[0, 0]:.1f}" in words(after)
    assert "eye" in words(before) and "eye" not in words(after)


def test_each_bar_begins_where_the_one_before_it_ends():
    added = {
        "$z_0$": torch.tensor([1.0, -1]),
        "MSA 1": torch.tensor([2.0, 0]),
        "MLP 1": torch.tensor([-0.5, 3]),
    }
    figure = drawings_encoder.draw_stream(added, ("spot", "left"))
    spot, left = figure.axes
    bars = [(bar.get_x(), bar.get_width()) for bar in spot.patches]
    assert bars == [(0, 1), (1, 2), (3, -0.5), (0, 2.5)]
    assert words(left) == ["−1.0", "0", "+3.0", "2.0"]
    assert [t.get_text() for t in spot.get_yticklabels()][-1] == "$z_1$"
    colours = drawings_encoder.PART_COLOURS
    assert plt.matplotlib.colors.to_hex(spot.patches[1].get_facecolor()) == (
        colours["MSA"].lower()
    )


def test_the_orders_differ_in_where_ln_stands():
    (ax,) = drawings_encoder.draw_orders().axes
    boxes = [word for word in words(ax) if word in ("LN", "MSA", "MLP", "+")]
    assert boxes[:6] == ["LN", "MSA", "+", "LN", "MLP", "+"]
    assert boxes[6:] == ["MSA", "+", "LN", "MLP", "+", "LN"]


def test_a_band_reaches_from_the_least_to_the_most():
    _, ax = plt.subplots(figsize=(WIDTH, 3))
    runs = {"ours": torch.tensor([[1.0, 2, 6], [3, 4, 5]])}
    drawings_encoder.draw_bands(ax, range(3), runs, {"ours": ("black", "-")})
    (line,), (band,) = ax.lines, ax.collections
    assert list(line.get_ydata()) == [2, 3, 5.5] and line.get_label() == "ours"
    assert {tuple(p) for p in band.get_paths()[0].vertices} == {
        *((x, y) for x, y in enumerate([1, 2, 5])),
        *((x, y) for x, y in enumerate([3, 4, 6])),
    }
