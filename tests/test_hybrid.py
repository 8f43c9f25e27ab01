"""R50 + ViT: its size, its parts, and timm's model with the same weights."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from going_modular.config import ViTConfig
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
from going_modular.pretrained import export_state_dict
from going_modular.vit import ViT

OFFICIAL = NUMERICS["official"]


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


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
    stem = ResNetStem(3, (1, 1, 1), OFFICIAL)
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
    (r"patch_embedding\.resnet\.root\.", "patch_embed.backbone.stem.conv."),
    (r"patch_embedding\.resnet\.root_norm\.", "patch_embed.backbone.stem.norm."),
    (
        r"patch_embedding\.resnet\.stages\.(\d)\.(\d+)\.(conv|norm)_shortcut\.",
        r"patch_embed.backbone.stages.\1.blocks.\2.downsample.\3.",
    ),
    (
        r"patch_embedding\.resnet\.stages\.(\d)\.(\d+)\.(conv|norm)_(\d)\.",
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


@pytest.mark.parametrize("units", [(2, 1, 2), (1, 2, 1, 1)])
def test_timms_model_gives_the_same_logits(units):
    timm = pytest.importorskip("timm")
    from timm.models.vision_transformer_hybrid import HybridEmbed, _resnetv2

    model = small_hybrid(units, "timm")
    c = model.config
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
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, expected = model(x), theirs(x)
    assert expected.abs().max() > 0.1
    assert torch.allclose(ours, expected, atol=1e-5)


def test_the_two_kinds_of_numerics_differ_a_little():
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        first, second = (small_hybrid((1, 1, 1), name)(x) for name in NUMERICS)
    assert 0 < (first - second).abs().max() < 0.05
