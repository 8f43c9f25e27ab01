"""config: Table 1 as presets, checked values, and parameters counted by formula."""

import inspect
import re
from dataclasses import FrozenInstanceError, fields

import pytest
import torch

from going_modular.config import VARIANTS, ViTConfig, count_parameters
from going_modular.teaching.toy import toy_config
from going_modular.vit import ViT

# With 1000 classes at 224 pixels; the official code's own tests assert them.
OFFICIAL_COUNTS = {
    "Ti/16": 5_717_416,
    "S/16": 22_050_664,
    "S/32": 22_878_952,
    "B/8": 86_576_872,
    "B/16": 86_567_656,
    "B/32": 88_224_232,
    "L/16": 304_326_632,
    "L/32": 306_535_400,
    "H/14": 632_045_800,
}


def formula(config: ViTConfig) -> int:
    return sum(count_parameters(config).values())


def built(config: ViTConfig) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in ViT(config).parameters())


@pytest.mark.ledger("Table 1", "the official numbers, to the last parameter")
@pytest.mark.parametrize("name, official", OFFICIAL_COUNTS.items())
def test_variant_has_the_official_number_of_parameters(name, official):
    config = ViTConfig.from_variant(name)
    assert built(config) == formula(config) == official


@pytest.mark.parametrize(
    "name, image_size, official",
    [("B/16", 384, 86_859_496), ("L/16", 512, 305_174_504), ("H/14", 518, 633_470_440)],
)
def test_larger_images_add_only_positions(name, image_size, official):
    small = ViTConfig.from_variant(name)
    large = ViTConfig.from_variant(name, image_size)
    assert formula(large) == official
    added = (large.num_tokens - small.num_tokens) * small.embedding_dim
    assert formula(large) - formula(small) == added


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mlp_size": 100},
        {"representation_size": 31},
        {"image_size": (24, 56), "in_channels": 1},
        {"num_heads": 2},
    ],
    ids=str,
)
def test_formula_agrees_with_the_built_model(changes):
    config = toy_config(**changes)
    assert formula(config) == built(config)


def test_every_part_of_the_formula_agrees_with_the_built_part():
    model = ViT(toy_config(representation_size=31))
    sizes = {name: p.numel() for name, p in model.named_parameters()}

    def having(text):
        return sum(size for name, size in sizes.items() if text in name)

    assert count_parameters(model.config) == {
        "patch embedding": having("projection"),
        "class token": having("class_token"),
        "positions": having("position_embedding"),
        "attention": having(".msa."),
        "MLP": having(".mlp."),
        "LayerNorm": having("layer_norm"),
        "pre-training layer": having("head.0."),
        "head": having("head.2."),
    }


def test_heads_divide_the_width_and_add_no_parameters():
    assert formula(toy_config(num_heads=1)) == formula(toy_config(num_heads=11))


@pytest.mark.ledger("Table 1", "layers, D, MLP size and heads of the table")
def test_variants_are_table_1():
    table_1 = {
        "B": (12, 768, 3072, 12),
        "L": (24, 1024, 4096, 16),
        "H": (32, 1280, 5120, 16),
    }
    for size, row in table_1.items():
        c = ViTConfig.from_variant(f"{size}/16")
        assert (c.depth, c.embedding_dim, c.mlp_size, c.num_heads) == row


def test_every_variant_has_heads_of_64_except_huge_with_80():
    heads = {size: ViTConfig.from_variant(f"{size}/16").head_dim for size in VARIANTS}
    assert heads == {"Ti": 64, "S": 64, "B": 64, "L": 64, "H": 80}


def test_defaults_are_vit_base_16():
    assert ViTConfig() == ViTConfig.from_variant("B/16")


def test_from_variant_takes_image_size_classes_and_overrides():
    config = ViTConfig.from_variant("L/32", 384, 10, dropout=0.1, depth=2)
    assert (config.image_size, config.num_classes) == (384, 10)
    assert (config.dropout, config.depth) == (0.1, 2)
    assert (config.patch_size, config.embedding_dim) == (32, 1024)


def test_toy_sizes_follow_from_the_fields():
    config = toy_config()
    assert config.image_shape == (40, 40)
    assert config.grid_shape == (5, 5)
    assert (config.num_patches, config.num_tokens) == (25, 26)
    assert (config.patch_dim, config.head_dim) == (192, 11)


@pytest.mark.parametrize("image_size", [(24, 56), [24, 56]])
def test_image_size_may_be_height_and_width(image_size):
    config = toy_config(image_size=image_size)
    assert config.image_shape == (24, 56)
    assert config.grid_shape == (3, 7)
    assert config.num_patches == 21


def test_configuration_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        ViTConfig().depth = 3


def test_every_field_is_described_beside_it():
    """train.py takes its flags' help texts from there."""
    source = inspect.getsource(ViTConfig)
    for field in fields(ViTConfig):
        assert re.search(rf"\n    {field.name}: [^\n]*  # \w", source), field.name


@pytest.mark.parametrize(
    "values, message",
    [
        ({"image_size": 225}, "image_size 225 is not a multiple of patch_size 16"),
        ({"image_size": (224, 230)}, r"\(224, 230\) is not a multiple of patch_size"),
        ({"image_size": 224.0}, "image_size must be a positive integer, not 224.0"),
        ({"image_size": (224,)}, r"a side or \(height, width\), not \(224,\)"),
        ({"image_size": 0}, "image_size must be a positive integer, not 0"),
        ({"image_size": None}, "image_size must be a positive integer, not None"),
        ({"num_heads": 7}, "embedding_dim 768 is not divisible by num_heads 7"),
        ({"patch_size": 0}, "patch_size must be a positive integer, not 0"),
        ({"in_channels": -1}, "in_channels must be a positive integer, not -1"),
        ({"embedding_dim": "8"}, "embedding_dim must be a positive integer, not '8'"),
        ({"depth": True}, "depth must be a positive integer, not True"),
        ({"mlp_size": 1.5}, "mlp_size must be a positive integer, not 1.5"),
        ({"num_classes": 0}, "num_classes must be a positive integer, not 0"),
        ({"representation_size": 0}, "representation_size must be a positive integer"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), not 1.0"),
        ({"dropout": float("nan")}, r"dropout must be in \[0, 1\), not nan"),
        ({"gelu": "relu"}, 'gelu must be "erf" or "tanh", not \'relu\''),
        ({"layer_norm_eps": 0.0}, "layer_norm_eps must be positive, not 0.0"),
    ],
    ids=str,
)
def test_wrong_value_is_named(values, message):
    with pytest.raises(ValueError, match=message):
        ViTConfig(**values)


@pytest.mark.parametrize("name", ["G/14", "B", "B/", "B/x", "b/16", "B/-16", "16/B"])
def test_unknown_variant_is_named_with_those_there_are(name):
    with pytest.raises(ValueError, match=f"unknown variant '{name}': write one of"):
        ViTConfig.from_variant(name)
