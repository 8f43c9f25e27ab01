"""Weights of each library give that library's own numbers, here and back again."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
import transformers
from peers import (
    DEEP,
    SIZES,
    WIDE,
    add_noise,
    images_for,
    noisy_vit,
    official_arrays,
    official_forward,
    save_pretrained,
    timm_vit,
    torchvision_vit,
    transformers_backbone,
    transformers_config,
    transformers_vit,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from timm.layers import resample_abs_pos_embed
from torchvision.models.vision_transformer import interpolate_embeddings
from transformers import ViTForImageClassification

from going_modular.checkpoint import load_model, save_model
from going_modular.config import VARIANTS, ViTConfig
from going_modular.errors import InputError
from going_modular.pretrained import (
    export_state_dict,
    from_pretrained,
    load_pretrained,
)
from going_modular.teaching.toy import toy_config
from going_modular.training.fast_path import FastPath
from going_modular.variants.registers import ViTWithRegisters
from going_modular.vit import ViT
from going_modular.weights.conversion import RESIZE_METHODS, resize_positions
from going_modular.weights.reading import read_pretrained
from going_modular.weights.sizes import expected_shapes

POSITIONS = "patch_embedding.position_embedding"
IMAGENET = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
HALF = dict(mean=(0.5,), std=(0.5,))


def assert_same(ours, theirs, least: float = 0.1) -> None:
    """Within 1e-5, and not because all is zero or every image gives the same."""
    ours, theirs = ours.detach(), torch.as_tensor(theirs).detach().to(ours.dtype)
    assert ours.shape == theirs.shape
    assert theirs.abs().max() > least and (theirs[0] - theirs[1]).abs().max() > 1e-3
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def build(source, **options) -> ViT:
    return from_pretrained(source, quiet=True, **options).eval()


def assert_head_is_zero(model: ViT) -> None:
    """No weights of a head were given, so the head has to be zeros."""
    assert not model.head.weight.any() and not model.head.bias.any()


# The same logits as each library


@SIZES
def test_torchvision_gives_the_same_logits(c):
    peer = torchvision_vit(c)
    model = build(peer.state_dict(), num_heads=c.num_heads)
    assert_same(model(images_for(c)), peer(images_for(c)))
    assert model.config == replace(c, **IMAGENET)


@SIZES
def test_torchvision_with_pre_logits_gives_the_same_logits(c):
    c = replace(c, representation_size=52)
    peer = torchvision_vit(c)
    model = build(peer.state_dict(), num_heads=c.num_heads)
    assert_same(model(images_for(c)), peer(images_for(c)))
    assert model.config == replace(c, **IMAGENET)


@pytest.mark.ledger("Equation 4", "timm's logits, within 1e-5")
@SIZES
def test_timm_gives_the_same_logits(c):
    peer = timm_vit(c)
    model = build(peer.state_dict(), num_heads=c.num_heads)
    assert_same(model(images_for(c)), peer(images_for(c)))
    assert model.config == replace(c, **HALF)


@SIZES
def test_timm_without_a_position_of_the_class_gives_the_same_logits(c):
    peer = timm_vit(c, no_embed_class=True)
    model = build(peer.state_dict(), num_heads=c.num_heads)
    assert_same(model(images_for(c)), peer(images_for(c)))


@SIZES
def test_deit_file_gives_the_same_logits(c, tmp_path):
    peer = timm_vit(c)
    torch.save({"model": peer.state_dict()}, tmp_path / "deit.pth")
    model = build(tmp_path / "deit.pth", num_heads=c.num_heads)
    assert_same(model(images_for(c)), peer(images_for(c)))


@pytest.mark.ledger("Equation 4", "transformers' logits, within 1e-5")
@SIZES
@pytest.mark.parametrize("gelu", ["gelu", "gelu_new"])
def test_transformers_folder_gives_the_same_logits(c, gelu, tmp_path):
    peer = transformers_vit(c, layer_norm_eps=1e-4, hidden_act=gelu)
    model = build(save_pretrained(peer, tmp_path))
    assert_same(model(images_for(c)), peer(images_for(c)).logits)
    theirs = {"gelu": "erf", "gelu_new": "tanh"}[gelu]
    assert model.config == replace(c, layer_norm_eps=1e-4, gelu=theirs)


@SIZES
def test_transformers_from_memory_gives_the_same_logits(c):
    peer = transformers_vit(c)
    model = build(peer.state_dict(), num_heads=c.num_heads)
    assert_same(model(images_for(c)), peer(images_for(c)).logits)
    assert model.config == replace(c, layer_norm_eps=1e-12)


@SIZES
@pytest.mark.parametrize("from_folder", [False, True])
def test_transformers_backbone_gives_the_same_y(c, from_folder, tmp_path):
    peer = transformers_backbone(c)
    folder = save_pretrained(peer, tmp_path)
    source, heads = (folder, None) if from_folder else (peer.state_dict(), c.num_heads)
    model = build(source, num_heads=heads)
    y = model.forward_features(images_for(c))
    assert_same(y, peer(images_for(c)).last_hidden_state[:, 0])
    assert_head_is_zero(model)


@pytest.mark.parametrize("size", [(24, 40), (40, 24), (24, 16), (16, 64)])
def test_transformers_folder_of_non_square_images_gives_the_same_logits(size, tmp_path):
    c = replace(WIDE, image_size=size)  # 15 + 1 and 8 + 1 positions are squares
    peer = transformers_vit(c)
    model = build(save_pretrained(peer, tmp_path))
    assert_same(model(images_for(c)), peer(images_for(c)).logits)


@pytest.mark.parametrize("no_embed_class", [False, True])
@pytest.mark.parametrize("size", [(24, 40), (40, 24), (32, 32)])
def test_timm_of_non_square_images_goes_into_a_model_of_that_grid(size, no_embed_class):
    c = replace(WIDE, image_size=size)
    peer, model = timm_vit(c, no_embed_class=no_embed_class), ViT(c).eval()
    load_pretrained(model, peer.state_dict(), quiet=True)
    assert_same(model(images_for(c)), peer(images_for(c)))


@pytest.mark.parametrize("wrapping", ["plain", "teacher", "ddp", "student and teacher"])
@SIZES
def test_dino_gives_the_same_y(c, wrapping, tmp_path):
    peer = timm_vit(c, num_classes=0)
    state = peer.state_dict()
    if wrapping != "plain":
        state = {f"module.backbone.{name}": value for name, value in state.items()}
        state["module.head.mlp.0.weight"] = torch.ones(3, 4)
        state["module.head.last_layer.weight_g"] = torch.ones(5, 1)
    if wrapping == "teacher":
        state = {"teacher": state}
    if wrapping == "student and teacher":
        other = {name: torch.zeros_like(value) for name, value in state.items()}
        state = {"student": other, "teacher": state, "epoch": 3}
    torch.save(state, tmp_path / "dino.pth")
    for source in (state, tmp_path / "dino.pth"):
        model = build(source, num_heads=c.num_heads)
        assert_same(model.forward_features(images_for(c)), peer(images_for(c)))
        assert model.config == replace(c, num_classes=1000, **IMAGENET)
        assert_head_is_zero(model)


@SIZES
def test_dinov2_gives_the_same_y_on_its_own_grid_and_on_a_smaller(c):
    large = replace(c, image_size=37 * c.patch_size)
    peer = timm_vit(large, num_classes=0, init_values=0.3, dynamic_img_size=True)
    state = {**peer.state_dict(), "mask_token": torch.ones(1, c.embedding_dim)}
    model = build(state, num_heads=c.num_heads)
    assert model.config.grid_shape == (37, 37)
    y = model.forward_features(images_for(large))
    assert_same(y, peer(images_for(large)))
    small = build(state, num_heads=c.num_heads, image_size=c.image_size, resize="timm")
    assert small.config == replace(c, num_classes=1000, **IMAGENET)
    assert_same(small.forward_features(images_for(c)), peer(images_for(c)))
    same = ViT(c).eval()
    load_pretrained(same, state, resize="timm", quiet=True)
    assert_same(same.forward_features(images_for(c)), peer(images_for(c)))


def dinov2(c: ViTConfig, registers: int) -> torch.nn.Module:
    """DINOv2 as transformers has it, with or without registers."""
    name = "Dinov2WithRegisters" if registers else "Dinov2"
    config = getattr(transformers, f"{name}Config")(
        image_size=c.image_size,
        patch_size=c.patch_size,
        hidden_size=c.embedding_dim,
        num_hidden_layers=c.depth,
        num_attention_heads=c.num_heads,
        mlp_ratio=c.mlp_size // c.embedding_dim,
        **({"num_register_tokens": registers} if registers else {}),
    )
    return add_noise(getattr(transformers, f"{name}Model")(config))


OTHER = replace(WIDE, embedding_dim=66, mlp_size=264, num_heads=3, patch_size=10)


@pytest.mark.parametrize("c", [WIDE, OTHER])
@pytest.mark.parametrize("registers", [0, 1, 4])
@pytest.mark.parametrize("from_folder", [False, True])
def test_dinov2_of_transformers_gives_the_same_y(c, registers, from_folder, tmp_path):
    peer = dinov2(c, registers)
    source = save_pretrained(peer, tmp_path) if from_folder else peer.state_dict()
    model = build(source, num_heads=c.num_heads)
    assert isinstance(model, ViTWithRegisters) == bool(registers)
    assert model.config.mean == IMAGENET["mean"]
    images = images_for(c)
    theirs = peer(images).last_hidden_state[:, 0]
    assert_same(model.forward_features(images), theirs)


@pytest.mark.parametrize("registers", [1, 4])
@pytest.mark.parametrize("no_embed_class", [False, True])
def test_registers_of_timm_give_the_same_logits(registers, no_embed_class, tmp_path):
    peer = timm_vit(WIDE, reg_tokens=registers, no_embed_class=no_embed_class)
    model = build(peer.state_dict(), num_heads=WIDE.num_heads)
    assert model.patch_embedding.registers.shape == (1, registers, WIDE.embedding_dim)
    images = images_for(WIDE)
    assert_same(model(images), peer(images))
    assert_same(FastPath(model)(images), peer(images))
    logits, seen = model(images, return_intermediates=True)
    assert_same(logits, peer(images))
    T = WIDE.num_tokens + registers
    assert seen["z0"].shape == (2, T, WIDE.embedding_dim)
    assert seen["attention_1"].shape == (2, WIDE.num_heads, T, T)
    # Our own file remembers them.
    save_model(tmp_path / "m.safetensors", model, tuple("abcdefghij"))
    again, _ = load_model(tmp_path / "m.safetensors")
    assert torch.equal(again(images), model(images))
    assert torch.equal(build(tmp_path / "m.safetensors")(images), model(images))


def test_registers_go_into_no_model_without_them():
    state = timm_vit(WIDE, reg_tokens=2, no_embed_class=True).state_dict()
    with pytest.raises(InputError, match="have 2 registers, the model has 0"):
        load_pretrained(ViT(WIDE), state)
    plain = timm_vit(WIDE).state_dict()
    with pytest.raises(InputError, match="have 0 registers, the model has 3"):
        load_pretrained(ViTWithRegisters(WIDE, 3), plain)


@pytest.mark.ledger("Equation 4", "a transcription of the official code, within 1e-5")
@SIZES
@pytest.mark.parametrize("representation_size", [None, 52])
def test_official_file_gives_the_same_logits(c, representation_size, tmp_path):
    c = replace(c, representation_size=representation_size)
    arrays = official_arrays(c)
    np.savez(tmp_path / "official.npz", **arrays)
    model = build(tmp_path / "official.npz")
    assert_same(model(images_for(c)), official_forward(arrays, images_for(c)))
    assert model.config == replace(c, gelu="tanh")


@SIZES
@pytest.mark.parametrize("prefix", ["", "params/", "opt/target/"])
@pytest.mark.parametrize("representation_size", [None, 52])
def test_big_vision_file_gives_the_same_logits(
    c, prefix, representation_size, tmp_path
):
    c = replace(c, representation_size=representation_size)
    arrays = official_arrays(c, big_vision=True)
    state = {prefix + name: array for name, array in arrays.items()}
    if prefix == "opt/target/":
        state["opt/state/step"] = np.array(3)
    np.savez(tmp_path / "big_vision.npz", **state)
    model = build(tmp_path / "big_vision.npz")
    expected = official_forward(arrays, images_for(c), big_vision=True)
    assert_same(model(images_for(c)), expected)
    assert model.config == replace(c, gelu="tanh")


@pytest.mark.parametrize("big_vision", [False, True])
def test_npz_without_a_head_gives_the_same_y(big_vision, tmp_path):
    arrays = official_arrays(WIDE, big_vision)
    arrays = {k: v for k, v in arrays.items() if not k.startswith("head")}
    np.savez(tmp_path / "headless.npz", **arrays)
    model = build(tmp_path / "headless.npz")
    expected = official_forward(arrays, images_for(WIDE), big_vision)
    assert_same(model.forward_features(images_for(WIDE)), expected)
    with np.load(tmp_path / "headless.npz") as archive:  # a mapping, of arrays
        same = build(archive)
    assert torch.equal(same(images_for(WIDE)), model(images_for(WIDE)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_number_formats_become_float32(dtype, tmp_path):
    peer = timm_vit(WIDE, init_values=0.3)
    state = {name: value.to(dtype) for name, value in peer.state_dict().items()}
    save_file(state, tmp_path / "model.safetensors")
    model = build(tmp_path / "model.safetensors", num_heads=4)
    assert {value.dtype for value in model.state_dict().values()} == {torch.float32}
    peer.load_state_dict(state)
    assert_same(model(images_for(WIDE)), peer(images_for(WIDE)))


def test_weights_for_grey_images_give_the_same_y():
    c = replace(WIDE, in_channels=1)
    peer = timm_vit(c, num_classes=0)
    model = build(peer.state_dict(), num_heads=4)
    assert_same(model.forward_features(images_for(c)), peer(images_for(c)))
    assert model.config.mean == pytest.approx((0.449,))
    assert model.config.std == pytest.approx((0.226,))


def test_our_own_file_gives_the_same_logits(tmp_path):
    c = replace(WIDE, gelu="tanh", layer_norm_eps=1e-4, representation_size=52)
    model = noisy_vit(c)
    path = tmp_path / "model.safetensors"
    save_model(path, model, tuple("abcdefghij"))
    again = from_pretrained(path, quiet=True).eval()
    assert again.config == c
    assert torch.equal(again(images_for(c)), model(images_for(c)))
    assert read_pretrained(path).class_names == tuple("abcdefghij")


# And back again


@SIZES
@pytest.mark.parametrize("representation_size", [None, 52])
def test_export_runs_in_torchvision(c, representation_size):
    model = noisy_vit(replace(c, representation_size=representation_size))
    peer = torchvision_vit(model.config)
    peer.load_state_dict(export_state_dict(model, "torchvision"))
    assert_same(peer(images_for(c)), model(images_for(c)))


@SIZES
def test_export_runs_in_timm(c):
    model, peer = noisy_vit(c), timm_vit(c)
    peer.load_state_dict(export_state_dict(model, "timm"))
    assert_same(peer(images_for(c)), model(images_for(c)))


@SIZES
@pytest.mark.parametrize("gelu", ["gelu", "gelu_new"])
def test_export_runs_in_transformers_in_memory(c, gelu):
    ours = {"gelu": "erf", "gelu_new": "tanh"}[gelu]
    model = noisy_vit(replace(c, layer_norm_eps=1e-4, gelu=ours))
    peer = transformers_vit(c, layer_norm_eps=1e-4, hidden_act=gelu)
    peer.load_state_dict(export_state_dict(model, "transformers 5"))
    assert_same(peer(images_for(c)).logits, model(images_for(c)))


@SIZES
def test_export_runs_in_transformers_as_a_file(c, tmp_path):
    model = noisy_vit(c)
    transformers_config(c, layer_norm_eps=1e-6).save_pretrained(tmp_path)
    state = export_state_dict(model, "transformers")
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    peer, about = ViTForImageClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(about.values()), about
    assert_same(peer.eval()(images_for(c)).logits, model(images_for(c)))


@SIZES
@pytest.mark.parametrize(
    "library", ["torchvision", "timm", "transformers", "transformers 5"]
)
def test_export_comes_back_bit_by_bit(c, library):
    model, again = noisy_vit(c), ViT(c)
    load_pretrained(again, export_state_dict(model, library), quiet=True)
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_resizing_is_told_beside_what_was_done_before():
    state = timm_vit(WIDE, no_embed_class=True).state_dict()
    report = load_pretrained(ViT(replace(WIDE, image_size=48)), state, quiet=True)
    said = "zeros added for the class token; 5 x 5 to 6 x 6 patches, as official"
    assert ("pos_embed", "resized", said) in report


def test_export_names_what_it_cannot():
    with pytest.raises(ValueError, match="library must be torchvision, timm, .*'jax'"):
        export_state_dict(ViT(WIDE), "jax")
    pretraining = ViT(replace(WIDE, representation_size=52))
    for library in ("timm", "transformers", "transformers 5"):
        with pytest.raises(ValueError, match=f"{library} has no place for the head's"):
            export_state_dict(pretraining, library)


# Positions

GRIDS = [((5, 5), (8, 8)), ((6, 6), (4, 4)), ((5, 5), (3, 7)), ((4, 6), (7, 3))]


def positions_of(grid) -> torch.Tensor:
    return torch.from_numpy(noise_of(1 + grid[0] * grid[1])).float()


def noise_of(tokens: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((1, tokens, 11))


@pytest.mark.ledger("Section 3.2", "the official resizing, within 1e-5")
@pytest.mark.parametrize(("old", "new"), GRIDS)
def test_official_resize_equals_scipys_zoom(old, new):
    ndimage = pytest.importorskip("scipy.ndimage")
    positions = positions_of(old)
    grid = positions[0, 1:].reshape(*old, 11).double().numpy()
    zoom = (new[0] / old[0], new[1] / old[1], 1)
    expected = torch.from_numpy(ndimage.zoom(grid, zoom, order=1)).reshape(1, -1, 11)
    found = resize_positions(positions, old, new)
    torch.testing.assert_close(found[:, 1:].double(), expected, atol=1e-5, rtol=0)
    assert torch.equal(found[:, :1], positions[:, :1])


@pytest.mark.ledger("Section 3.2", "timm's resizing, within 1e-5")
@pytest.mark.parametrize(("old", "new"), GRIDS)
def test_timms_resize_equals_timms(old, new):
    positions = positions_of(old)
    expected = resample_abs_pos_embed(positions, list(new), list(old))
    found = resize_positions(positions, old, new, "timm")
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert torch.equal(found[:, :1], positions[:, :1])


@pytest.mark.parametrize(("old", "new"), GRIDS[:2])
def test_torchvisions_resize_equals_torchvisions(old, new):
    positions = positions_of(old)
    state = interpolate_embeddings(
        8 * new[0], 8, {"encoder.pos_embedding": positions.clone()}
    )
    found = resize_positions(positions, old, new, "torchvision")
    expected = state["encoder.pos_embedding"]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert torch.equal(found[:, :1], positions[:, :1])


def cubic_matrix(old: int, new: int, offset: float) -> np.ndarray:
    """(new, old) weights of bicubic interpolation in one direction, by its formula."""

    def weight(distance: float) -> float:
        t, a = abs(distance), -0.75
        if t <= 1:
            return (a + 2) * t**3 - (a + 3) * t**2 + 1
        return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0

    matrix = np.zeros((new, old))
    for i in range(new):
        place = (i + 0.5) * old / (new + offset) - 0.5
        for j in range(int(np.floor(place)) - 1, int(np.floor(place)) + 3):
            matrix[i, np.clip(j, 0, old - 1)] += weight(place - j)
    return matrix


@pytest.mark.parametrize(("old", "new"), [*GRIDS, ((37, 37), (16, 16))])
def test_dinov2s_resize_moves_its_points_by_a_tenth_of_a_patch(old, new):
    positions = positions_of(old)
    grid = positions[0, 1:].reshape(*old, 11).double().numpy()
    rows, columns = (cubic_matrix(*pair, 0.1) for pair in zip(old, new, strict=True))
    expected = np.einsum("ai,bj,ijd->abd", rows, columns, grid).reshape(1, -1, 11)
    found = resize_positions(positions, old, new, "dinov2")
    torch.testing.assert_close(
        found[:, 1:].double(), torch.from_numpy(expected), atol=1e-4, rtol=0
    )
    assert torch.equal(found[:, :1], positions[:, :1])
    rows, columns = (cubic_matrix(*pair, 0.0) for pair in zip(old, new, strict=True))
    unmoved = np.einsum("ai,bj,ijd->abd", rows, columns, grid).reshape(1, -1, 11)
    assert np.abs(unmoved - expected).max() > 1e-3


@pytest.mark.parametrize(("old", "new"), GRIDS)
def test_dinov2s_resize_can_smooth(old, new):
    positions = positions_of(old)
    grid = positions[:, 1:].reshape(1, *old, 11).permute(0, 3, 1, 2)
    scale = [(there + 0.1) / here for here, there in zip(old, new, strict=True)]
    expected = torch.nn.functional.interpolate(
        grid, scale_factor=scale, mode="bicubic", antialias=True
    )
    found = resize_positions(positions, old, new, "dinov2-antialias")
    expected = expected.permute(0, 2, 3, 1).reshape(1, -1, 11)
    torch.testing.assert_close(found[:, 1:], expected, atol=1e-6, rtol=0)


def test_methods_of_resizing_differ_and_the_same_grid_is_left_alone():
    positions = positions_of((5, 5))
    assert resize_positions(positions, (5, 5), (5, 5)) is positions
    ways = [
        resize_positions(positions, (5, 5), (3, 7), method) for method in RESIZE_METHODS
    ]
    for one, other in itertools.combinations(range(len(ways)), 2):
        assert (ways[one] - ways[other]).abs().max() > 0.01


def test_wrong_resizing_is_named():
    with pytest.raises(ValueError, match="resize must be official.*not 'cubic'"):
        resize_positions(positions_of((5, 5)), (5, 5), (3, 7), "cubic")
    with pytest.raises(ValueError, match="26 positions are not 1 \\+ 4 x 6"):
        resize_positions(positions_of((5, 5)), (4, 6), (3, 7))
    for size in (40, 48):
        model = ViT(replace(WIDE, image_size=size))
        with pytest.raises(ValueError, match="resize must be official.*not 'cubic'"):
            load_pretrained(model, timm_vit(WIDE).state_dict(), "cubic", quiet=True)


@pytest.mark.parametrize("size", [56, (24, 40)])
@pytest.mark.parametrize("method", RESIZE_METHODS)
def test_load_resizes_to_the_models_grid(size, method):
    c = replace(WIDE, image_size=size)
    source, model = noisy_vit(WIDE), ViT(c)
    state = export_state_dict(source, "timm")
    report = load_pretrained(model, state, method, quiet=True)
    found = model.state_dict()[POSITIONS]
    expected = resize_positions(
        source.state_dict()[POSITIONS], (5, 5), c.grid_shape, method
    )
    assert torch.equal(found, expected)
    rows, columns = c.grid_shape
    detail = f"5 x 5 to {rows} x {columns} patches, as {method}"
    assert ("pos_embed", "resized", detail) in report
    assert actions(report, "pos_embed") == ["resized"]


def test_from_pretrained_resizes_to_another_image_size():
    state = export_state_dict(noisy_vit(WIDE), "timm")
    model = from_pretrained(state, num_heads=4, image_size=(24, 56), quiet=True)
    assert model.config == replace(WIDE, image_size=(24, 56))
    assert model(torch.zeros(2, 3, 24, 56)).shape == (2, 10)


# The configuration


@pytest.mark.parametrize("name", list(VARIANTS))
def test_usual_number_of_heads_follows_from_the_width(name):
    c = ViTConfig.from_variant(f"{name}/16", image_size=32, depth=1, num_classes=3)
    with torch.device("meta"):
        state = export_state_dict(ViT(c), "timm")
    state = {name: torch.zeros(value.shape) for name, value in state.items()}
    assert read_pretrained(state).config == c


def test_unknown_width_asks_for_the_number_of_heads():
    with pytest.raises(InputError, match="44 wide: give num_heads"):
        from_pretrained(timm_vit(WIDE).state_dict())
    with pytest.raises(InputError, match="44 is not divisible by num_heads 5"):
        from_pretrained(timm_vit(WIDE).state_dict(), num_heads=5)


@pytest.mark.parametrize(("side", "P"), [(224, 16), (384, 16), (512, 16), (518, 14)])
def test_image_size_follows_from_torchvisions_grid(side, P):
    c = replace(WIDE, image_size=side, patch_size=P, depth=1, **IMAGENET)
    state = torchvision.models.VisionTransformer(
        side, P, 1, 4, 44, 176, num_classes=10
    ).state_dict()
    assert read_pretrained(state, num_heads=4).config == c


def test_non_square_grid_is_asked_for_where_nothing_tells_it():
    state = timm_vit(replace(WIDE, image_size=(16, 40))).state_dict()
    with pytest.raises(InputError, match="10 positions.*give grid_shape"):
        read_pretrained(state, num_heads=4)
    found = read_pretrained(state, num_heads=4, grid_shape=(2, 5))
    assert found.config.image_size == (16, 40)


def test_transformers_folder_tells_pixels_and_class_names(tmp_path):
    save_pretrained(transformers_vit(WIDE), tmp_path)
    assert read_pretrained(tmp_path).config.mean == (0.5,)
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}'
    )
    found = read_pretrained(tmp_path)
    assert found.config.mean == (0.1, 0.2, 0.3)
    assert found.config.std == (0.4, 0.5, 0.6)
    assert found.class_names == tuple(f"class {i}" for i in range(10))


def test_backbone_has_no_class_names(tmp_path):
    save_pretrained(transformers_backbone(WIDE), tmp_path)
    assert read_pretrained(tmp_path).class_names is None


def test_timm_folder_tells_its_pixels(tmp_path):
    c = replace(WIDE, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    save_file(timm_vit(c).state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(
        '{"architecture": "vit", "pretrained_cfg": '
        '{"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}}'
    )
    assert read_pretrained(tmp_path, num_heads=4).config == c


def test_other_activations_are_refused(tmp_path):
    save_pretrained(transformers_vit(WIDE, hidden_act="quick_gelu"), tmp_path)
    with pytest.raises(InputError, match="'quick_gelu': our MLP has GELU only"):
        read_pretrained(tmp_path)


@pytest.mark.parametrize("pool", ["avg", "map"])
def test_models_that_pool_all_patches_are_refused(tmp_path, pool):
    save_file(timm_vit(WIDE).state_dict(), tmp_path / "model.safetensors")
    pixels = {"mean": [0.5], "std": [0.5]}
    notes = {"architecture": "vit", "global_pool": "token", "pretrained_cfg": pixels}
    (tmp_path / "config.json").write_text(json.dumps(notes))
    read_pretrained(tmp_path, num_heads=4)
    (tmp_path / "config.json").write_text(json.dumps({**notes, "global_pool": pool}))
    with pytest.raises(InputError, match=f"global_pool '{pool}'"):
        read_pretrained(tmp_path, num_heads=4)


# The report


def actions(report, key: str) -> list[str]:
    return [entry.action for entry in report if entry.key == key]


def sources() -> dict[str, tuple[dict, dict[str, str]]]:
    """State dictionaries, and for each the action on some keys; the rest is taken."""
    dino = timm_vit(WIDE, num_classes=0, init_values=0.3).state_dict()
    dino = {f"module.backbone.{name}": value for name, value in dino.items()}
    dino["module.backbone.mask_token"] = torch.ones(1, 44)
    dino["module.head.mlp.0.weight"] = torch.ones(3, 4)
    big_vision = {
        f"opt/target/{name}": torch.from_numpy(array)
        for name, array in official_arrays(WIDE, big_vision=True).items()
    }
    big_vision["opt/state/step"] = torch.tensor(3)
    pretraining = replace(WIDE, representation_size=52)
    official = official_arrays(pretraining)
    flax = {
        "query": "joined",
        "key/": "joined",
        "value": "joined",
        "kernel": "transposed",
    }
    return {
        "torchvision": (
            torchvision_vit(pretraining).state_dict(),
            {"conv_proj.weight": "transposed"},
        ),
        "timm": (
            timm_vit(WIDE, no_embed_class=True).state_dict(),
            {"patch_embed.proj.weight": "transposed", "pos_embed": "extended"},
        ),
        "dino": (
            dino,
            {
                "patch_embed.proj.weight": "transposed",
                "gamma": "folded",
                "mask_token": "left out",
                "head": "left out",
            },
        ),
        "transformers": (
            transformers_vit(WIDE).state_dict(),
            {
                "projection.weight": "transposed",
                "q_proj": "joined",
                "k_proj": "joined",
                "v_proj": "joined",
            },
        ),
        "backbone": (
            transformers_backbone(WIDE).state_dict(),
            {
                "projection.weight": "transposed",
                "q_proj": "joined",
                "k_proj": "joined",
                "v_proj": "joined",
                "pooler": "left out",
            },
        ),
        "official": (
            {name: torch.from_numpy(array) for name, array in official.items()},
            flax,
        ),
        "big_vision": (
            big_vision,
            {"opt/state": "left out", "pos_embedding": "extended", **flax},
        ),
    }


@pytest.mark.parametrize("name", list(sources()))
def test_report_has_an_entry_with_the_right_action_for_every_key(name):
    state, special = sources()[name]
    report = read_pretrained(state, num_heads=4).report
    for key in state:
        expected = next((a for part, a in special.items() if part in key), "taken")
        assert actions(report, key) == [expected], key
    assert len([e for e in report if e.action != "assumed"]) == len(state)
    assert all(entry.detail for entry in report if entry.action != "taken")


def test_report_of_our_own_file_has_every_key(tmp_path):
    save_model(tmp_path / "model.safetensors", ViT(WIDE), tuple("abcdefghij"))
    report = read_pretrained(tmp_path / "model.safetensors").report
    assert {(e.key, e.action) for e in report} == {
        (key, "taken") for key in ViT(WIDE).state_dict()
    }


def test_report_says_what_differs_in_the_models_numerics():
    state = torchvision_vit(WIDE).state_dict()
    c = replace(WIDE, layer_norm_eps=1e-5, gelu="tanh", mean=(0.1,), std=(0.2,))
    report = load_pretrained(ViT(c), state, quiet=True)
    differing = {e.key: e.detail for e in report if e.action == "differs"}
    assert set(differing) == {"layer_norm_eps", "gelu", "mean", "std"}
    assert differing["gelu"] == "erf in training, tanh in the model"
    same = replace(WIDE, mean=(0.5,) * 3, std=(0.5,) * 3)
    report = load_pretrained(ViT(same), timm_vit(WIDE).state_dict(), quiet=True)
    assert "differs" not in {entry.action for entry in report}


def test_report_is_printed_short_and_can_be_read_in_full(capsys):
    state, _ = sources()["dino"]
    report = load_pretrained(ViT(replace(WIDE, image_size=48)), state)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("2 left out, 6 folded, ")
    key = "module.backbone.pos_embed"
    assert f"{key} resized: 5 x 5 to 6 x 6 patches, as official" in printed
    assert any(line.startswith("module.backbone.mask_token left") for line in printed)
    assert any(line.startswith("head new: zeros for 10 classes") for line in printed)
    lines = str(report).splitlines()
    assert len(lines) == len(report) > len(printed)
    assert all(key in str(report) for key in state)
    load_pretrained(ViT(WIDE), state, quiet=True)
    assert capsys.readouterr().out == ""


# The head


@pytest.mark.parametrize("make", [timm_vit, torchvision_vit, transformers_vit])
def test_head_for_other_classes_becomes_zeros_and_is_said_aloud(make, capsys):
    c, peer = replace(WIDE, num_classes=7), make(WIDE)
    model = noisy_vit(c)
    report = load_pretrained(model, peer.state_dict())
    reason = "zeros for 7 classes; the old one was for 10 classes"
    assert f"head new: {reason}" in capsys.readouterr().out
    assert ("head", "new", reason) in report
    keys = [key for key in peer.state_dict() if key.startswith(("head", "classifier"))]
    assert len(keys) == 2
    assert [actions(report, key) for key in keys] == [["left out"]] * 2
    assert_head_is_zero(model)
    same = noisy_vit(WIDE)
    load_pretrained(same, peer.state_dict(), quiet=True)
    y = same.forward_features(images_for(WIDE))
    assert torch.equal(model.forward_features(images_for(WIDE)), y)


def test_representation_layer_goes_with_the_head(tmp_path, capsys):
    arrays = official_arrays(replace(WIDE, representation_size=52))
    np.savez(tmp_path / "pretraining.npz", **arrays)
    model = from_pretrained(tmp_path / "pretraining.npz", num_classes=7)
    assert model.config == replace(WIDE, gelu="tanh", num_classes=7)
    assert_head_is_zero(model)
    printed = capsys.readouterr().out
    assert "head new: zeros for 7 classes" in printed
    assert "pre_logits (2 tensors) left out" in printed
    same_classes = ViT(replace(WIDE, gelu="tanh"))
    load_pretrained(same_classes, tmp_path / "pretraining.npz")
    assert_head_is_zero(same_classes)
    assert "the old one had representation_size 52" in capsys.readouterr().out


def test_new_head_replaces_one_that_would_fit(capsys):
    model, peer = noisy_vit(WIDE), timm_vit(WIDE)
    report = load_pretrained(model, peer.state_dict(), new_head=True)
    assert_head_is_zero(model)
    assert actions(report, "head.weight") == ["left out"]
    reason = "zeros for 10 classes; the old one was for another task"
    assert f"head new: {reason}" in capsys.readouterr().out


def test_missing_head_is_said_aloud(capsys):
    load_pretrained(ViT(WIDE), timm_vit(WIDE, num_classes=0).state_dict())
    reason = "zeros for 10 classes; the weights have none"
    assert f"head new: {reason}" in capsys.readouterr().out


def test_model_is_untouched_when_loading_fails():
    model = noisy_vit(WIDE)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    good = timm_vit(WIDE).state_dict()
    missing = {k: v for k, v in good.items() if k != "blocks.2.attn.proj.bias"}
    wrong = {**good, "blocks.2.mlp.fc2.bias": torch.ones(45)}
    for bad in (missing, wrong, timm_vit(DEEP).state_dict()):
        with pytest.raises(InputError):
            load_pretrained(model, bad, quiet=True)
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(depth=2), "depth 3, the model has 2"),
        (dict(mlp_size=100), "mlp_size 176, the model has 100"),
        (dict(in_channels=1), "in_channels 3, the model has 1"),
        (dict(patch_size=4), "patch_size 8, the model has 4"),
        (dict(embedding_dim=48), "embedding_dim 44, the model has 48"),
    ],
)
def test_model_of_another_size_is_refused(changes, message):
    with pytest.raises(InputError, match=f"the weights have {message}"):
        load_pretrained(
            ViT(replace(WIDE, **changes)), timm_vit(WIDE).state_dict(), quiet=True
        )


def test_heads_of_the_official_file_must_be_the_models():
    arrays = official_arrays(WIDE)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    with pytest.raises(InputError, match="num_heads 4, the model has 2"):
        load_pretrained(ViT(replace(WIDE, num_heads=2)), state, quiet=True)


@pytest.mark.parametrize(
    "changes",
    [{}, {"representation_size": 30, "in_channels": 1}, {"image_size": (16, 24)}],
)
def test_expected_shapes_are_those_of_the_built_model(changes):
    config = toy_config(**changes)
    built = {name: tuple(w.shape) for name, w in ViT(config).state_dict().items()}
    assert expected_shapes(config) == built


@pytest.mark.parametrize("number", ["999999999999", "9" * 5000])
def test_a_block_of_an_absurd_number_gets_one_line(number):
    """At once: no names are made up for the blocks before it."""
    key = f"blocks.{number}.norm1.weight"
    state = {**timm_vit(WIDE).state_dict(), key: torch.ones(44)}
    with pytest.raises(InputError, match=r"without a place blocks\.999") as caught:
        read_pretrained(state)
    assert "\n" not in str(caught.value)


EXPECTED = """
import sys
from going_modular.teaching.toy import toy_config
from going_modular.weights.sizes import expected_shapes
before = len(sys.modules)
assert expected_shapes(toy_config())
print(len(sys.modules) - before)
"""


def test_expected_shapes_take_no_memory_and_no_seconds_of_importing():
    config = toy_config(embedding_dim=2**20, num_heads=4)  # 4 TB a matrix
    assert expected_shapes(config)["head.weight"] == (config.num_classes, 2**20)
    said = subprocess.run(
        [sys.executable, "-c", EXPECTED], capture_output=True, text=True, check=True
    )
    assert int(said.stdout) < 20


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"depth": 10**15}, "the weights lack most of 1,000,000,000,000,000 blocks"),
        ({"mlp_size": 2**62}, "no tensor is as large as .* overflowed"),
        ({"num_classes": 10**30}, "no tensor is as large as .*Overflow"),
    ],
)
def test_notes_of_an_absurd_model_get_one_line(changes, said, tmp_path):
    """At once: no such model is built."""
    path = tmp_path / "model.safetensors"
    config = toy_config()
    save_model(path, ViT(config), tuple("abcdefghij"))
    with safe_open(path, "pt") as file:
        about = json.loads(file.metadata()["vit"])
    about["config"] |= changes
    save_file(load_file(path), path, metadata={"vit": json.dumps(about)})
    with pytest.raises(InputError, match=said) as caught:
        read_pretrained(path)
    assert "\n" not in str(caught.value)
