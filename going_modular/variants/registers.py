"""A Vision Transformer with registers: tokens that stand for no patch."""

import torch
from torch import Tensor, nn

from going_modular.config import ViTConfig
from going_modular.patch_embedding import PatchEmbedding
from going_modular.vit import ViT

__all__ = ["REGISTERS", "ViTWithRegisters", "registers_for_timm"]

REGISTERS = "patch_embedding.registers"  # their name among the weights


class EmbeddingWithRegisters(PatchEmbedding):
    """Equation 1, and R more tokens between the class token and the patches."""

    def __init__(self, config: ViTConfig, num_registers: int):
        super().__init__(config)
        self.registers = nn.Parameter(
            1e-6 * torch.randn(1, num_registers, config.embedding_dim)
        )

    def embed(self, x_p: Tensor) -> Tensor:
        """Embed (B, N, P*P*C) patches as (B, T + R, D) tokens, z_0."""
        z0 = super().embed(x_p)  # (B, T, D)
        registers = self.registers.expand(z0.shape[0], -1, -1)  # (B, R, D)
        return torch.cat([z0[:, :1], registers, z0[:, 1:]], dim=1)  # (B, T + R, D)


class ViTWithRegisters(ViT):
    """A `ViT` whose encoder reads R more tokens, between class token and patches.

    They have no position and are thrown away in the end. A trained model keeps in them
    what it would otherwise keep in some patches' tokens, so its attention maps are
    cleaner. Tokens and attention have T + R places.

    Source: Darcet et al., Vision Transformers Need Registers, arXiv 2309.16588, and
    the code of DINOv2.
    """

    def __init__(self, config: ViTConfig, num_registers: int = 4):
        """Build it.

        Args:
            config: The model without them.
            num_registers: R, 1 or more.
        """
        super().__init__(config)
        self.patch_embedding = EmbeddingWithRegisters(config, num_registers)


def registers_for_timm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by our names as timm's model with registers computes with them.

    It adds positions to the patches alone, so the class token's is added here.
    """
    name = "patch_embedding.position_embedding"
    token, positions = weights["patch_embedding.class_token"], weights[name]
    return (
        weights
        | {
            "patch_embedding.class_token": token + positions[:, :1],  # (1, 1, D)
            name: positions[:, 1:],  # (1, N, D)
        }
    )
