"""R50 + ViT: its size, its parts, and timm's model with the same weights."""

import copy
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from peers import official_arrays, official_forward
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmarks.counting import saved_per_image
from going_modular.checkpoint import load_model, save_model
from going_modular.config import ViTConfig
from going_modular.errors import InputError
from going_modular.hybrid import (
    NUMERICS,
    R50_S16,
    R50_S32,
    HybridViT,
    ResNetStem,
    ResNetUnit,
    StandardisedConv2d,
    pad_same,
)
from going_modular.pretrained import (
    export_state_dict,
    from_pretrained,
    load_pretrained,
    read_pretrained,
)
from going_modular.training.fast_path import FastPath
from going_modular.training.memory import activation_bytes, stem_bytes
from going_modular.variants.conv_stem import ViTWithConvStem
from going_modular.vit import ViT

OFFICIAL = NUMERICS["official"]


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.ledger("Hybrid", "both numbers of parameters")
@pytest.mark.parametrize(
    ("variant", "units", "parameters"),
    [("B/16", R50_S16, 98_659_112), ("L/32", R50_S32, 328_994_856)],
)
def test_hybrids_have_the_parameters_of_the_official_ones(variant, units, parameters):
    with torch.device("meta"):
        model = HybridViT(ViTConfig.from_variant(variant, 224), units)
    assert count(model) == parameters


def test_a_patch_side_that_the_stages_do_not_make_is_refused():
    config = ViTConfig.from_variant("Ti/32", 224)
    with pytest.raises(ValueError, match="3 stages make features of 16 pixels, not"):
        HybridViT(config, R50_S16)


def test_filters_are_used_with_mean_0_and_deviation_1():
    torch.manual_seed(0)
    layer = StandardisedConv2d(3, 8, 7, 2, OFFICIAL)
    nn.init.normal_(layer.weight, 3.0, 0.2)
    x = torch.randn(2, 3, 20, 20)
    w = layer.weight.detach()
    w = (w - w.mean((1, 2, 3), keepdim=True)) / (
        w.std((1, 2, 3), keepdim=True, correction=0) + 1e-5
    )
    padded = F.pad(x, (2, 3, 2, 3))  # 5 in all: the greater part below and on the right
    assert torch.allclose(layer(x), F.conv2d(padded, w, stride=2), atol=1e-4)
    assert layer(x).shape == (2, 8, 10, 10)


@pytest.mark.parametrize("side", [7, 8, 9, 224])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (7, 2), (1, 2)])
def test_padding_leaves_as_many_places_as_tensorflows(side, kernel, stride):
    padded = pad_same(torch.ones(1, 1, side, side), kernel, stride)
    places = (padded.shape[-1] - kernel) // stride + 1
    assert places == -(-side // stride)


def test_a_unit_begins_by_passing_on_what_it_gets():
    torch.manual_seed(0)
    unit = ResNetUnit(256, 64, 1, OFFICIAL)
    x = torch.rand(1, 256, 5, 5)
    assert not unit.projects and torch.equal(unit(x), x)
    assert ResNetUnit(256, 128, 2, OFFICIAL)(x).shape == (1, 512, 3, 3)


def test_a_stem_sees_an_image_in_sixteenths():
    torch.manual_seed(0)
    stem = ResNetStem(3, (1, 1, 1), "official")
    assert stem.channels == 1024
    assert stem(torch.randn(1, 3, 48, 64)).shape == (1, 1024, 3, 4)


def small_hybrid(units: tuple[int, ...], numerics: str) -> HybridViT:
    config = ViTConfig(
        image_size=64,
        patch_size=2 ** (len(units) + 1),
        embedding_dim=48,
        depth=2,
        num_heads=3,
        mlp_size=96,
        num_classes=7,
        gelu="erf",
    )
    torch.manual_seed(0)
    model = HybridViT(config, units, numerics).eval()
    stream = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=stream)
            if "norm" in name:  # so that no unit is left out
                parameter.add_(0.3 * noise).add_(0.5 * ("norm_3.weight" in name))
            elif name.startswith("head"):
                parameter.copy_(0.1 * noise)
    return model


THEIRS = (  # our names as regular expressions, and timm's
    (r"patch_embedding\.stem\.root\.", "patch_embed.backbone.stem.conv."),
    (r"patch_embedding\.stem\.root_norm\.", "patch_embed.backbone.stem.norm."),
    (
        r"patch_embedding\.stem\.stages\.(\d)\.(\d+)\.(conv|norm)_shortcut\.",
        r"patch_embed.backbone.stages.\1.blocks.\2.downsample.\3.",
    ),
    (
        r"patch_embedding\.stem\.stages\.(\d)\.(\d+)\.(conv|norm)_(\d)\.",
        r"patch_embed.backbone.stages.\1.blocks.\2.\3\4.",
    ),
)


def names_of_timm(model: HybridViT) -> dict[str, torch.Tensor]:
    """The weights by timm's names; those of the encoder are what they always are."""
    own = model.state_dict()
    plain = ViT(model.config)
    encoder = {k: v for k, v in own.items() if k in plain.state_dict()}
    kernel = "patch_embedding.projection.weight"
    projection = encoder.pop(kernel)
    plain.load_state_dict(encoder, strict=False)
    theirs = export_state_dict(plain, "timm")
    theirs["patch_embed.proj.weight"] = projection[..., None, None]  # (D, W, 1, 1)
    for name, weight in own.items():
        for pattern, replacement in THEIRS:
            if re.match(pattern, name):
                theirs[re.sub(pattern, replacement, name)] = weight
    return theirs


def timms_hybrid(model: HybridViT) -> nn.Module:
    """timm's model with the same weights."""
    timm = pytest.importorskip("timm")
    from timm.models.vision_transformer_hybrid import HybridEmbed, _resnetv2

    c = model.config
    units = [len(stage) for stage in model.patch_embedding.stem.stages]
    theirs = timm.models.vision_transformer.VisionTransformer(
        img_size=c.image_size,
        patch_size=1,
        embed_dim=c.embedding_dim,
        depth=c.depth,
        num_heads=c.num_heads,
        mlp_ratio=2,
        num_classes=7,
        embed_layer=lambda **given: HybridEmbed(_resnetv2(units), **given),
    ).eval()
    theirs.load_state_dict(names_of_timm(model))
    return theirs


X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
UNITS = pytest.mark.parametrize("units", [(2, 1, 2), (1, 2, 1, 1)])


@UNITS
def test_timms_model_gives_the_same_logits(units):
    model = small_hybrid(units, "timm")
    with torch.inference_mode():
        ours, expected = model(X), timms_hybrid(model)(X)
    assert expected.abs().max() > 0.1
    assert torch.allclose(ours, expected, atol=1e-5)


def test_the_two_kinds_of_numerics_differ_a_little():
    with torch.inference_mode():
        first, second = (small_hybrid((1, 1, 1), name)(X) for name in NUMERICS)
    assert 0 < (first - second).abs().max() < 0.05


# Weights from elsewhere.


@pytest.mark.ledger("Hybrid", "timm's weights give timm's logits, within 1e-5")
@UNITS
def test_weights_of_timm_are_read(units, tmp_path):
    theirs = timms_hybrid(small_hybrid(units, "timm"))
    save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    found = read_pretrained(tmp_path / "w.safetensors", num_heads=3)
    assert not {e.action for e in found.report} - {"taken", "transposed", "assumed"}
    model = from_pretrained(found, quiet=True).eval()
    assert type(model) is HybridViT and model.config.patch_size == 2 ** (1 + len(units))
    with torch.inference_mode():
        torch.testing.assert_close(model(X), theirs(X), atol=1e-5, rtol=0)


def official_resnet_arrays(units: tuple[int, ...], vector: tuple = ()) -> dict:
    """Random weights of a ResNet in the layout of the official .npz files.

    Args:
        units: Of each stage.
        vector: Axes before the one of GroupNorm's weights, which some files have.
    """
    shapes = {"conv_root/kernel": (7, 7, 3, 64), "gn_root": 64}
    inputs = 64
    for number, count in enumerate(units):
        width = 64 * 2**number
        for place in range(count):
            unit = f"block{number + 1}/unit{place + 1}"
            if place == 0:
                shapes[f"{unit}/conv_proj/kernel"] = (1, 1, inputs, 4 * width)
                shapes[f"{unit}/gn_proj"] = 4 * width
            for layer, (side, into, out) in enumerate(
                ((1, inputs, width), (3, width, width), (1, width, 4 * width)), 1
            ):
                shapes[f"{unit}/conv{layer}/kernel"] = (side, side, into, out)
                shapes[f"{unit}/gn{layer}"] = out
            inputs = 4 * width
    random = np.random.default_rng(0)
    arrays = {}
    for name, shape in shapes.items():
        if isinstance(shape, tuple):
            arrays[name] = random.standard_normal(shape)
        else:
            arrays[f"{name}/scale"] = random.uniform(0.5, 1.5, (*vector, shape))
            arrays[f"{name}/bias"] = random.normal(0, 0.3, (*vector, shape))
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def official_resnet_forward(arrays: dict, images: Tensor, units: tuple) -> Tensor:
    """The official forward pass in NumPy, to the map of features, (B, W, H, W).

    Source: vit_jax/models_resnet.py of google-research/vision_transformer.
    """
    a = {name: array.astype(np.float64) for name, array in arrays.items()}

    def pad(x, side, stride, value=0.0):
        sides = [(0, 0)]
        for length in x.shape[1:3]:
            most = max((-(-length // stride) - 1) * stride + side - length, 0)
            sides.append((most // 2, most - most // 2))
        return np.pad(x, [*sides, (0, 0)], constant_values=value)

    def windows(x, side, stride):
        view = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(1, 2))
        return view[:, ::stride, ::stride]  # (B, rows, columns, C, side, side)

    def conv(x, name, stride=1):
        w = a[f"{name}/kernel"]
        w = w - w.mean((0, 1, 2))
        w = w / (w.std((0, 1, 2)) + 1e-5)
        x = windows(pad(x, len(w), stride), len(w), stride)
        return np.einsum("bijcpq,pqcd->bijd", x, w, optimize=True)

    def norm(x, name):
        groups = x.reshape(*x.shape[:3], 32, -1)
        mean = groups.mean((1, 2, 4), keepdims=True)
        variance = groups.var((1, 2, 4), keepdims=True)
        x = ((groups - mean) / np.sqrt(variance + 1e-6)).reshape(x.shape)
        return x * a[f"{name}/scale"].ravel() + a[f"{name}/bias"].ravel()

    x = images.numpy().astype(np.float64).transpose(0, 2, 3, 1)  # NHWC
    x = np.maximum(norm(conv(x, "conv_root", 2), "gn_root"), 0)
    x = windows(pad(x, 3, 2, -np.inf), 3, 2).max((-1, -2))
    for number, count in enumerate(units):
        for place in range(count):
            unit, stride = f"block{number + 1}/unit{place + 1}", 1
            if number and not place:
                stride = 2
            residual = x
            if place == 0:
                residual = norm(conv(x, f"{unit}/conv_proj", stride), f"{unit}/gn_proj")
            x = np.maximum(norm(conv(x, f"{unit}/conv1"), f"{unit}/gn1"), 0)
            x = np.maximum(norm(conv(x, f"{unit}/conv2", stride), f"{unit}/gn2"), 0)
            x = norm(conv(x, f"{unit}/conv3"), f"{unit}/gn3")
            x = np.maximum(residual + x, 0)
    return torch.from_numpy(x.transpose(0, 3, 1, 2))  # (B, W, rows, columns)


@pytest.mark.ledger(
    "Hybrid", "official weights give the transcription's logits, within 1e-5"
)
@UNITS
@pytest.mark.parametrize("vector", [(), (1, 1, 1)])
def test_official_weights_are_read(units, vector, tmp_path):
    c = small_hybrid(units, "official").config
    width = 256 * 2 ** (len(units) - 1)
    side = c.grid_shape[0]
    encoder = official_arrays(
        replace(c, in_channels=width, patch_size=1, image_size=side)
    )
    resnet = official_resnet_arrays(units, vector)
    np.savez(tmp_path / "w.npz", **encoder, **resnet)
    model = from_pretrained(tmp_path / "w.npz", quiet=True).eval()
    assert type(model) is HybridViT and model.config.grid_shape == c.grid_shape
    features = official_resnet_forward(resnet, X, units)
    expected = official_forward(encoder, features)
    assert np.abs(expected).max() > 0.1
    with torch.inference_mode():
        np.testing.assert_allclose(model(X).numpy(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("numerics", NUMERICS)
def test_a_saved_hybrid_comes_back_with_its_numerics(numerics, tmp_path):
    model = small_hybrid((1, 1, 1), numerics)
    path = tmp_path / "model.safetensors"
    save_model(path, model, tuple("abcdefg"))
    with torch.inference_mode():
        expected = model(X)
        for again in (
            load_model(path)[0],
            from_pretrained(path, quiet=True),
            from_pretrained(model.state_dict(), num_heads=3, quiet=True),
        ):
            assert type(again) is HybridViT
            assert torch.equal(again.eval()(X), expected)
    larger = from_pretrained(path, image_size=96, quiet=True).eval()
    assert larger(torch.zeros(1, 3, 96, 96)).shape == (1, 7)


def test_the_fast_path_gives_a_hybrid_s_logits():
    model = small_hybrid((1, 1, 1), "official")
    fast = FastPath(model).eval()
    assert fast.shortened
    with torch.inference_mode():
        torch.testing.assert_close(fast(X), model(X), atol=1e-5, rtol=0)


def test_weights_go_into_no_model_with_another_stem():
    weights = small_hybrid((1, 1, 1), "official").state_dict()
    found = read_pretrained(weights, num_heads=3)
    others = {
        "no stem": ViT(found.config),
        "a convolutional stem": ViTWithConvStem(found.config),
        r"a ResNet of \(1, 1, 2\) units": HybridViT(found.config, (1, 1, 2)),
        "with timm numerics": small_hybrid((1, 1, 1), "timm"),
    }
    for said, other in others.items():
        with pytest.raises(InputError, match=f"the model has .*{said}"):
            load_pretrained(other, found, quiet=True)


@pytest.mark.parametrize("strict", [True, False])
def test_a_state_of_other_numerics_is_refused(strict):
    """Its shapes all fit, so nothing else would say that the logits are wrong."""
    own, other = (small_hybrid((1, 1, 1), numerics) for numerics in NUMERICS)
    with pytest.raises(RuntimeError, match="stem.numerics: .*official, timm"):
        own.load_state_dict(other.state_dict(), strict=strict)
    assert own.patch_embedding.stem.numerics == 0
    again = small_hybrid((1, 1, 1), "official")
    again.load_state_dict(own.state_dict())
    weights = {k: v for k, v in own.state_dict().items() if "numerics" not in k}
    again.load_state_dict(weights, strict=False)
    half = copy.deepcopy(own).half()
    half.load_state_dict(own.state_dict())
    with pytest.raises(RuntimeError, match="stem.numerics"):
        half.load_state_dict(other.state_dict())


def test_another_library_is_given_no_hybrid():
    with pytest.raises(ValueError, match="a ResNet of .* in this project's own form"):
        export_state_dict(small_hybrid((1, 1, 1), "official"), "timm")


STEM = "patch_embedding.stem."
BROKEN = {
    "a wider ResNet": (
        lambda w: w | {STEM + "root.weight": torch.ones(128, 3, 7, 7)},
        r"root.weight: shape \(128, 3, 7, 7\)",
    ),
    "a unit without its last layer": (
        lambda w: {k: v for k, v in w.items() if "stages.2.0.conv_3" not in k},
        "lack parts of the ResNet",
    ),
    "a last layer that is a number alone": (
        lambda w: w | {STEM + "stages.2.0.conv_3.weight": torch.tensor(1.0)},
        "lack parts of the ResNet",
    ),
    "a unit of an absurd number": (
        lambda w: w | {STEM + f"stages.{'9' * 5000}.0.conv_1.weight": X},
        "has no place in the model",
    ),
    "a unit without its first layer": (
        lambda w: {k: v for k, v in w.items() if "stages.1.0.conv_1" not in k},
        "lack .*stages.1.0.conv_1.weight",
    ),
    "a stage left out": (
        lambda w: {k: v for k, v in w.items() if "stages.1." not in k},
        "lack parts of the ResNet",
    ),
    "five stages": (
        lambda w: w | {STEM + f"stages.{n}.0.conv_1.weight": X for n in (3, 4)},
        "a ResNet of 5 stages",
    ),
    "unknown numerics": (
        lambda w: w | {STEM + "numerics": torch.tensor([2.0])},
        "numerics is none of",
    ),
    "patches of several places": (
        lambda w: w | {"patch_embedding.projection.weight": torch.ones(48, 4096)},
        "single places",
    ),
    "a part of another kind": (
        lambda w: w | {STEM + "attention.weight": torch.ones(3, 3)},
        "attention.weight has no place",
    ),
    "whole numbers": (
        lambda w: w | {STEM + "root.weight": torch.ones(64, 3, 7, 7).int()},
        "root.weight: no weights",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_hybrid_of_the_papers_is_refused_in_a_line(kind):
    change, said = BROKEN[kind]
    weights = change(small_hybrid((1, 1, 1), "official").state_dict())
    with pytest.raises(InputError, match=said) as problem:
        read_pretrained(weights, num_heads=3)
    assert "\n" not in str(problem.value)


def test_a_file_whose_stem_is_smaller_than_its_names_say_takes_no_memory(tmp_path):
    model = small_hybrid((1, 1, 1), "official")
    save_model(tmp_path / "w.safetensors", model, tuple("abcdefg"))
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        notes = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    weights[STEM + "stages.2.9999.conv_1.weight"] = torch.ones(1)
    save_file(weights, tmp_path / "w.safetensors", notes)
    with pytest.raises(InputError, match="another model than its numbers"):
        load_model(tmp_path / "w.safetensors")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("units", [(2, 1, 2), (1, 1, 1, 2)])
def test_what_a_resnet_keeps_is_counted(units, dtype):
    model = small_hybrid(units, "official").train()
    c = model.config
    counted = activation_bytes(c, dtype) + stem_bytes(c, dtype, units)
    assert counted == saved_per_image(model, dtype)
