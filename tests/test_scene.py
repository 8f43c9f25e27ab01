"""The scene of notebooks 02 to 06: whole numbers, and a story that the numbers tell."""

import matplotlib.pyplot as plt
import pytest
import torch

from going_modular.teaching import scene
from going_modular.teaching.scene_drawing import (
    STEPS,
    draw_scene,
    draw_small_photo,
    draw_tokens,
)


def row(matrix, name):
    return matrix[scene.NAMES.index(name)]


def test_the_scene_is_made_of_whole_numbers():
    for numbers in (scene.small_photo(), scene.E, scene.E_POS, scene.z0()):
        assert torch.equal(numbers, numbers.round())
    assert scene.named_patches().shape == (5, 9)
    assert row(scene.z0(), "eye").tolist() == [1, -3, 1, -3]


def test_no_pixel_of_the_named_patches_lies_between_two_levels():
    """Elsewhere a photo library's last digit could turn one into its neighbour."""
    grey = scene.load_photo("chelsea").float().mean(dim=0)
    levels = (scene.adaptive_avg_pool2d(grey[None], 21)[0] - 90) / 18
    distance = (levels - levels.floor() - 0.5).abs()
    for down, right in scene.PLACES.values():
        patch = distance[3 * down : 3 * down + 3, 3 * right : 3 * right + 3]
        assert patch.min() > 0.01


def test_layer_norm_gives_all_six_patterns_of_two_up_and_two_down():
    patterns = scene.layer_norm(scene.z0())
    assert torch.allclose(patterns, patterns.round(), atol=1e-5)
    found = {tuple(pattern) for pattern in patterns.round().int().tolist()}
    assert len(found) == 6
    assert all(sorted(pattern) == [-1, -1, 1, 1] for pattern in found)


def test_everybody_looks_where_the_story_says():
    normalised = scene.layer_norm(scene.z0())
    one = scene.msa(normalised, num_heads=1)[1][0]  # (T, T)
    partners = dict(eye="nose", nose="eye", fur="background", background="fur")
    for name, partner in partners.items():
        assert scene.NAMES[row(one, name).argmax()] == partner
    both = row(one, "class")[[scene.NAMES.index(n) for n in ("eye", "nose")]]
    assert both.tolist() == pytest.approx([0.4334, 0.4334], abs=1e-3)

    first, second = scene.msa(normalised)[1]  # (T, T) each
    assert scene.NAMES[row(first, "class").argmax()] == "eye"
    assert scene.NAMES[row(second, "class").argmax()] == "nose"


def test_a_block_sorts_the_tokens_into_face_and_surface():
    z_prime, z = scene.block(scene.z0())
    for after in (z_prime, z):
        evidence = after[:, 0] - after[:, 1]  # spot less bright
        change = evidence - (scene.z0()[:, 0] - scene.z0()[:, 1])
        assert [n for n, c in zip(scene.NAMES, change, strict=True) if c > 0] == [
            "class", "eye", "nose",
        ]  # fmt: skip


def test_without_its_bias_the_mlp_of_the_scene_would_be_linear(monkeypatch):
    z = scene.layer_norm(scene.z0())
    apart = scene.mlp(2 * z) - 2 * scene.mlp(z)
    assert apart.abs().max() > 0.5
    monkeypatch.setattr(scene, "B_1", torch.zeros(8))
    assert torch.allclose(scene.mlp(2 * z), 2 * scene.mlp(z), atol=1e-4)


@pytest.mark.parametrize("upto", STEPS)
def test_a_figure_of_the_scene_grows_to_any_step(upto):
    figure = draw_scene(upto, {"tokens": scene.z0(), "E_pos": scene.E_POS / 3})
    top, bottom = figure.subfigs
    assert len(top.axes[0].patches) == list(STEPS).index(upto) + 1
    texts = [text.get_text() for text in bottom.axes[1].texts]
    assert "−3" in texts and "background" in texts  # whole numbers as they are
    assert "−0.67" in [text.get_text() for text in bottom.axes[2].texts]
    plt.close(figure)


def test_a_table_writes_no_negative_zero():
    ax = plt.figure().subplots()
    draw_tokens(ax, torch.tensor([[-0.001, -1.0]]), ("a", "b"), ("eye",))
    assert [text.get_text() for text in ax.texts] == ["0", "−1", "a", "b", "eye"]
    plt.close("all")


def test_the_small_photo_names_its_patches():
    ax = plt.figure().subplots()
    draw_small_photo(ax)
    assert [text.get_text() for text in ax.texts] == list(scene.PLACES)
    plt.close("all")
