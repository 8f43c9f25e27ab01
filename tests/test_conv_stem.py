"""The hybrid: a Vision Transformer on the feature map of a few convolutions."""

from dataclasses import replace

import pytest
import torch
from peers import add_noise

from going_modular.checkpoint import load_model, save_model
from going_modular.errors import InputError
from going_modular.pretrained import export_state_dict, load_pretrained
from going_modular.teaching.toy import toy_config
from going_modular.training.fast_path import FastPath
from going_modular.utils import set_seeds
from going_modular.variants.conv_stem import ViTWithConvStem, conv_stem
from going_modular.vit import ViT
from going_modular.weights.reading import read_pretrained

CONFIG = toy_config(image_size=32, patch_size=8, depth=2)


@pytest.fixture
def model() -> ViTWithConvStem:
    set_seeds(0)
    return add_noise(ViTWithConvStem(CONFIG)).eval()


@pytest.mark.parametrize("patch_size", [2, 4, 8, 16, 32])
def test_a_place_of_the_map_stands_for_each_patch(patch_size):
    config = replace(CONFIG, image_size=(64, 96), patch_size=patch_size)
    features = conv_stem(config)(torch.zeros(1, 3, 64, 96))  # (1, W_stem, H/P, W/P)
    assert tuple(features.shape[2:]) == config.grid_shape
    assert ViTWithConvStem(config)(torch.zeros(1, 3, 64, 96)).shape == (1, 10)


@pytest.mark.parametrize("patch_size", [1, 6, 7])
def test_other_sides_get_one_line(patch_size):
    with pytest.raises(ValueError, match=f"2, 4, 8, 16 or 32, not {patch_size}$"):
        ViTWithConvStem(replace(CONFIG, image_size=42, patch_size=patch_size))


@torch.no_grad()
def test_a_token_is_its_place_of_the_map_times_e_plus_its_position(model):
    x = torch.randn(2, 3, 32, 32)
    embedding = model.patch_embedding
    E, positions = embedding.projection, embedding.position_embedding
    z0 = embedding(x)  # (2, 17, D)
    for row, column in ((0, 0), (1, 3), (3, 2)):
        place = 1 + 4 * row + column
        features = embedding.stem(x)[:, :, row, column]  # (2, W_stem)
        expected = features @ E.weight.T + E.bias + positions[0, place]  # (2, D)
        torch.testing.assert_close(z0[:, place], expected)


@torch.no_grad()
def test_images_that_are_predicted_together_do_not_depend_on_each_other(model):
    x = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]))


@torch.no_grad()
def test_what_training_saw_of_the_channels_is_saved_with_the_weights(model, tmp_path):
    x = 5 * torch.randn(8, 3, 32, 32) + 2
    before = model.eval()(x)
    model.train()(x)
    after = model.eval()(x)
    assert not torch.equal(before, after)
    save_model(tmp_path / "it.safetensors", model, tuple("abcdefghij"))
    loaded, _ = load_model(tmp_path / "it.safetensors")
    assert torch.equal(loaded.eval()(x), after)


def test_the_head_does_not_start_at_zero(model):
    """Zeros would hide from the stem for hundreds of steps what it should learn."""
    assert ViTWithConvStem(CONFIG).head.weight.std() > 0.5 / CONFIG.embedding_dim**0.5


@torch.no_grad()
def test_the_fast_path_and_the_named_steps_give_the_same(model):
    x = torch.randn(2, 3, 32, 32)
    logits, seen = model(x, return_intermediates=True)
    torch.testing.assert_close(FastPath(model)(x), logits)
    assert FastPath(model).shortened
    assert seen["attention_2"].shape == (2, CONFIG.num_heads, 17, 17)


def test_a_wrong_shape_is_named(model):
    with pytest.raises(ValueError, match=r"\(B, 3, 32, 32\), got \(1, 3, 32, 40\)"):
        model(torch.zeros(1, 3, 32, 40))


@torch.no_grad()
def test_it_is_saved_and_read_as_what_it_is(model, tmp_path):
    path, names = tmp_path / "it.safetensors", tuple("abcdefghij")
    save_model(path, model, names)
    x = torch.randn(2, 3, 32, 32)
    loaded, class_names = load_model(path)
    assert class_names == names and torch.equal(loaded(x), model(x))
    found = read_pretrained(path)
    tuned = found.build(replace(found.config, num_classes=3)).eval()
    load_pretrained(tuned, found, new_head=True, quiet=True)
    assert torch.equal(tuned.forward_features(x), model.forward_features(x))
    with pytest.raises(InputError, match="stem"):
        load_pretrained(ViT(CONFIG), found, quiet=True)


def test_notes_that_do_not_fit_the_stem_are_refused(model, tmp_path):
    model.config = replace(CONFIG, patch_size=4)
    save_model(tmp_path / "it.safetensors", model, tuple("abcdefghij"))
    with pytest.raises(InputError, match="holds no model of this project"):
        load_model(tmp_path / "it.safetensors")
    with pytest.raises(InputError):
        read_pretrained(tmp_path / "it.safetensors")


def test_no_other_library_has_a_place_for_it(model):
    with pytest.raises(ValueError, match="a convolutional stem before"):
        export_state_dict(model, "timm")
