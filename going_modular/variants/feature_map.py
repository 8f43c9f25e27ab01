"""Equation 1 on a feature map, which a stem of convolutions makes of the image."""

from torch import Tensor, nn

from going_modular.config import ViTConfig
from going_modular.patch_embedding import PatchEmbedding, lecun_normal_

__all__ = ["STEM", "FeatureMapEmbedding"]

STEM = "patch_embedding.stem."  # how the names of its weights begin


class FeatureMapEmbedding(PatchEmbedding):
    """Equation 1, where E projects a place of a feature map instead of raw pixels.

    Source: ViT paper, section 3.1, "Hybrid Architecture".
    """

    def __init__(self, config: ViTConfig, stem: nn.Module, channels: int):
        """Build it.

        Args:
            config: Of the `ViT`; a place of the map stands for P x P pixels.
            stem: Maps (B, C, H, W) images to (B, channels, H / P, W / P) features.
            channels: How many features a place has.
        """
        super().__init__(config)
        self.stem = stem
        self.projection = nn.Linear(channels, config.embedding_dim)  # E
        lecun_normal_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Embed (B, C, H, W) images as (B, T, D) tokens, z_0."""
        if tuple(x.shape[1:]) != self.input_shape:
            expected = ", ".join(map(str, self.input_shape))
            raise ValueError(
                f"expected images of shape (B, {expected}), got {tuple(x.shape)}"
            )
        features = self.stem(x)  # (B, channels, H / P, W / P)
        x_p = features.flatten(2).transpose(1, 2)  # (B, N, channels)
        return self.embed(x_p)
