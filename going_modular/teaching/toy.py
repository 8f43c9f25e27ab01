"""The small example that notebooks and tests share.

All sizes but height and width differ, so that swapped axes do not go unnoticed.
"""

import torch
from torch import Tensor

from going_modular.config import ViTConfig

__all__ = ["toy_config", "toy_images", "toy_tokens"]


def toy_config(**changes) -> ViTConfig:
    """H = W = 40, P = 8, N = 25, T = 26, D = 44, nh = 4, dh = 11, F = 176, L = 7."""
    sizes = dict(
        image_size=40,
        patch_size=8,
        embedding_dim=44,
        depth=7,
        num_heads=4,
        mlp_size=176,
        num_classes=10,
    )
    return ViTConfig(**{**sizes, **changes})


def toy_images(seed: int = 0) -> Tensor:
    """(2, 3, 40, 40) floats from a standard normal distribution."""
    return torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(seed))


def toy_tokens(seed: int = 0) -> Tensor:
    """(2, 26, 44) floats from a standard normal distribution, in place of z."""
    return torch.randn(2, 26, 44, generator=torch.Generator().manual_seed(seed))
