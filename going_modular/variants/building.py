"""Which relative of the paper's model weights are for."""

import re
from collections.abc import Callable, Collection, Mapping
from functools import partial

import torch
from torch import Tensor

from going_modular.config import ViTConfig, count_parameters
from going_modular.hybrid import NUMERICS, HybridViT, ResNetStem
from going_modular.variants.conv_stem import ViTWithConvStem
from going_modular.variants.feature_map import STEM
from going_modular.variants.registers import REGISTERS, ViTWithRegisters
from going_modular.vit import ViT

__all__ = ["build_vit", "describe_stem", "holds_as_many", "resnet_of", "stem_of"]

MOST_STAGES = 4  # of a ResNet


def build_vit(config: ViTConfig, weights: Mapping[str, Tensor]) -> ViT:
    """The model that weights by our names are for: plain, or one of the variants.

    Raises:
        ValueError: Their stem does not fit the configuration, or is none of ours.
    """
    return builder_of(weights)(config)


def builder_of(weights: Mapping[str, Tensor]) -> Callable[[ViTConfig], ViT]:
    """What builds such a model."""
    if REGISTERS in weights:
        R = weights[REGISTERS].shape[1]
        return partial(ViTWithRegisters, num_registers=R)
    if resnet := resnet_of(weights):
        units, numerics = resnet
        return partial(HybridViT, units=units, numerics=numerics)
    return ViTWithConvStem if has_stem(weights) else ViT


def has_stem(names: Collection[str]) -> bool:
    return any(name.startswith(STEM) for name in names)


def resnet_of(weights: Mapping[str, Tensor]) -> tuple[tuple[int, ...], str] | None:
    """The units of each stage of a ResNet, and the name of its numerics, if any.

    Raises:
        ValueError: It has more stages than a ResNet, or unknown numerics.
    """
    if STEM + "root.weight" not in weights:
        return None
    unit = re.compile(re.escape(STEM) + r"stages\.(\d{1,4})\.(\d{1,4})\.")
    places = {found.groups() for name in weights if (found := unit.match(name))}
    stages = [stage for stage, _ in places]
    names = sorted(set(stages), key=int)
    if not 0 < len(names) <= MOST_STAGES:
        raise ValueError(f"a ResNet of {len(names)} stages")
    numerics = weights.get(STEM + "numerics", torch.zeros(1))
    known = dict(enumerate(NUMERICS))
    if numerics.numel() != 1 or numerics.item() not in known:
        raise ValueError(f"{STEM}numerics is none of {', '.join(map(str, known))}")
    return tuple(map(stages.count, names)), known[numerics.item()]


def stem_of(weights: Mapping[str, Tensor]) -> str | tuple[int, ...]:
    """What precedes the patches: nothing, "conv", or the units of a ResNet."""
    if resnet := resnet_of(weights):
        return resnet[0]
    return "conv" if has_stem(weights) else ""


def describe_stem(weights: Mapping[str, Tensor]) -> str:
    """What is before the patches, in words."""
    if resnet := resnet_of(weights):
        units, numerics = resnet
        return f"a ResNet of {units} units with {numerics} numerics"
    return "a convolutional stem" if has_stem(weights) else "no stem"


def holds_as_many(weights: Mapping[str, Tensor], config: ViTConfig) -> bool:
    """Whether weights hold as many numbers as the configuration tells.

    Counted are the parts that all variants have in the same sizes, and a ResNet.
    """
    counts = count_parameters(config)
    left_out = (REGISTERS,)
    if has_stem(weights):  # E reads features there, no patches
        left_out = (STEM, "patch_embedding.projection")
        del counts["patch embedding"]
    held = sum(w.numel() for k, w in weights.items() if not k.startswith(left_out))
    return held == sum(counts.values()) and holds_resnet(weights, config)


def holds_resnet(weights: Mapping[str, Tensor], config: ViTConfig) -> bool:
    """Whether a stem that is a ResNet holds as many numbers as its names tell."""
    resnet = resnet_of(weights)
    if resnet is None:
        return True
    with torch.device("meta"):  # where it takes no memory
        stem = ResNetStem(config.in_channels, *resnet)
    held = sum(w.numel() for k, w in weights.items() if k.startswith(STEM))
    return held == sum(tensor.numel() for tensor in stem.state_dict().values())
