"""Telling a model from its weights: what shapes show, and what they do not."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from going_modular.config import VARIANTS, ViTConfig
from going_modular.utils import InputError
from going_modular.weight_formats import FORMATS, IMAGENET, Format

__all__ = ["add_class_slot", "infer_config", "read_hints"]

# Names of activations in transformers.
GELUS = {
    "gelu": "erf",
    "gelu_fast": "tanh",
    "gelu_new": "tanh",
    "gelu_pytorch_tanh": "tanh",
}


def read_hints(about: dict, form: Format, headless: bool) -> dict:
    """What the source says, or its format lets us assume, of the model's numerics."""
    hints = dict(form.numerics)
    if form is FORMATS["timm"] and headless:  # DINO's and DINOv2's backbones
        hints |= IMAGENET
    config = about.get("config", {})
    if "pretrained_cfg" in config:  # timm
        hints |= {k: tuple(config["pretrained_cfg"][k]) for k in ("mean", "std")}
    elif config:  # transformers
        gelu = config.get("hidden_act", "gelu")
        if gelu not in GELUS:
            raise InputError(f"hidden_act {gelu!r}: our MLP has GELU only")
        hints |= dict(gelu=GELUS[gelu], layer_norm_eps=config["layer_norm_eps"])
        hints |= dict(num_heads=config["num_attention_heads"])
        sides, P = config["image_size"], config["patch_size"]
        rows, columns = sides if isinstance(sides, list) else (sides, sides)
        hints["grid_shape"] = (rows // P, columns // P)
        labels = config.get("id2label", {})
        names = tuple(labels[key] for key in sorted(labels, key=int))
        hints["class_names"] = names or None
    preprocessor = about.get("preprocessor", {})
    for name in ("mean", "std"):
        if f"image_{name}" in preprocessor:
            hints[name] = tuple(preprocessor[f"image_{name}"])
    return hints | about.get("fields", {})


def add_class_slot(weights: dict[str, Tensor], form: Format) -> bool:
    """Give positions of patches alone a zero for the class token in front."""
    name = "patch_embedding.position_embedding"
    positions = weights[name].reshape(1, -1, weights[name].shape[-1])  # (1, T, D)
    count = positions.shape[1]
    patches_alone = is_square(count) and not is_square(count - 1)
    if form is FORMATS["big_vision"] or patches_alone:
        zero = torch.zeros_like(positions[:, :1])  # (1, 1, D)
        weights[name] = torch.cat([zero, positions], dim=1)  # (1, T, D)
        return True
    return False


def is_square(number: int) -> bool:
    return math.isqrt(number) ** 2 == number


def infer_config(
    weights: Mapping[str, Tensor], kernel: torch.Size, depth: int, hints: dict
) -> ViTConfig:
    """Tell the model from the shapes of its tensors.

    Args:
        weights: By our names.
        kernel: (D, C, P, P), the shape of E as a convolution.
        depth: Number of blocks.
        hints: Fields of `ViTConfig` that shapes do not show, `num_heads` and
            `grid_shape` among them, None where unknown.
    """
    D, C, P = kernel[:3]
    num_heads = hints.pop("num_heads") or usual_heads(D)
    count = weights["patch_embedding.position_embedding"].shape[1] - 1
    rows, columns = hints.pop("grid_shape") or (math.isqrt(count),) * 2
    if rows * columns != count:
        raise InputError(
            f"{count} positions of patches fill no grid of {rows} x {columns}: give "
            "grid_shape"
        )
    head = weights.get("head.weight")
    hidden = weights.get("pre_logits.weight")
    size = P * rows if rows == columns else (P * rows, P * columns)
    try:
        return ViTConfig(
            image_size=size,
            patch_size=P,
            in_channels=C,
            embedding_dim=D,
            depth=depth,
            num_heads=num_heads,
            mlp_size=len(weights["encoder.blocks.0.mlp_block.mlp.linear_1.weight"]),
            num_classes=1000 if head is None else len(head),
            representation_size=None if hidden is None else len(hidden),
            **hints,
        )
    except ValueError as error:
        raise InputError(f"the weights belong to no model of ours: {error}") from None


def usual_heads(width: int) -> int:
    """Heads of the models of this width that have been published."""
    for sizes in VARIANTS.values():
        if sizes["embedding_dim"] == width:
            return sizes["num_heads"]
    raise InputError(
        f"the weights do not tell the number of heads, and no published model is "
        f"{width} wide: give num_heads"
    )
