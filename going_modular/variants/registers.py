"""A Vision Transformer with registers: tokens that stand for no patch."""

import torch
from torch import Tensor, nn

from going_modular.config import ViTConfig
from going_modular.patch_embedding import patchify
from going_modular.vit import ViT

__all__ = ["ViTWithRegisters", "build_vit"]


class ViTWithRegisters(ViT):
    """A `ViT` whose encoder reads R more tokens, between class token and patches.

    They have no position and are thrown away in the end. A trained model keeps in them
    what it would otherwise keep in some patches' tokens, so its attention maps are
    cleaner.

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
        self.registers = nn.Parameter(
            1e-6 * torch.randn(1, num_registers, config.embedding_dim)
        )

    def forward_features(
        self, x: Tensor, intermediates: dict[str, Tensor] | None = None
    ) -> Tensor:
        """As `ViT.forward_features`; tokens and attention have T + R places."""
        z = self.patch_embedding(x)  # (B, T, D)
        registers = self.registers.expand(z.shape[0], -1, -1)  # (B, R, D)
        z = torch.cat([z[:, :1], registers, z[:, 1:]], dim=1)  # (B, T + R, D)
        if intermediates is not None:
            intermediates["patches"] = patchify(x, self.config.patch_size)
            intermediates["z0"] = z
        z = self.encoder(z, intermediates)
        y = self.layer_norm(z[:, 0])  # (B, D)
        if intermediates is not None:
            intermediates["y"] = y
        return y


def build_vit(config: ViTConfig, weights: dict[str, Tensor]) -> ViT:
    """The model that weights by our names are for, with or without registers."""
    if "registers" in weights:
        return ViTWithRegisters(config, weights["registers"].shape[1])
    return ViT(config)
