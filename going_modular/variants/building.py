"""Which relative of the paper's model weights are for."""

from collections.abc import Iterable, Mapping

from torch import Tensor

from going_modular.config import ViTConfig, count_parameters
from going_modular.variants.conv_stem import STEM, ViTWithConvStem
from going_modular.variants.registers import REGISTERS, ViTWithRegisters
from going_modular.vit import ViT

__all__ = ["build_vit", "has_conv_stem", "holds_as_many"]


def has_conv_stem(names: Iterable[str]) -> bool:
    """Whether weights of these names are of a model with a convolutional stem."""
    return any(name.startswith(STEM) for name in names)


def build_vit(config: ViTConfig, weights: Mapping[str, Tensor]) -> ViT:
    """The model that weights by our names are for: plain, or one of the variants."""
    if REGISTERS in weights:
        return ViTWithRegisters(config, weights[REGISTERS].shape[1])
    return ViTWithConvStem(config) if has_conv_stem(weights) else ViT(config)


def holds_as_many(weights: Mapping[str, Tensor], config: ViTConfig) -> bool:
    """Whether weights hold as many numbers as the configuration tells.

    Counted are the parts that all variants have in the same sizes.
    """
    counts = count_parameters(config)
    left_out = (REGISTERS,)
    if has_conv_stem(weights):  # E reads features there, no patches
        left_out = (STEM, "patch_embedding.projection")
        del counts["patch embedding"]
    held = sum(w.numel() for k, w in weights.items() if not k.startswith(left_out))
    return held == sum(counts.values())
