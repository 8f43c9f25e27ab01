"""The paper's hybrid, made small: a few convolutions look at the image first."""

import torch
from torch import nn

from going_modular.config import ViTConfig
from going_modular.patch_embedding import lecun_normal_
from going_modular.variants.feature_map import FeatureMapEmbedding
from going_modular.vit import ViT

__all__ = ["ViTWithConvStem", "conv_stem", "stem_widths"]

WIDTHS = (32, 64, 128, 256)  # channels after each halving; further ones keep the last


def stem_widths(patch_size: int) -> list[int]:
    """Channels after each halving, down to one place for each patch.

    Raises:
        ValueError: No number of halvings gives this side.
    """
    halvings = patch_size.bit_length() - 1
    if patch_size < 2 or patch_size != 2**halvings:
        raise ValueError(
            "a convolutional stem halves the image, so patch_size must be 2, 4, 8, 16 "
            f"or 32, not {patch_size}"
        )
    return [WIDTHS[min(stage, len(WIDTHS) - 1)] for stage in range(halvings)]


def conv_stem(config: ViTConfig) -> nn.Sequential:
    """Convolutions from an image to a map with one place for each patch.

    Each of log2(P) stages looks at the map with a convolution and halves it by keeping
    the greatest of four neighbours.

    Returns:
        A module that maps (B, C, H, W) images to (B, W_stem, H/P, W/P) features.
    """
    layers, channels = [], config.in_channels
    for width in stem_widths(config.patch_size):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.MaxPool2d(2),  # before ReLU it leaves a quarter to do, and the same
            nn.ReLU(),
        ]
        channels = width
    # With the channels of a place side by side in memory a CPU is quicker.
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


class ViTWithConvStem(ViT):
    """A `ViT` whose patches are places of a feature map, made by a few convolutions.

    A convolution knows from the start that neighbouring pixels belong together and that
    things may lie anywhere. A Vision Transformer has to learn that from many photos, so
    with few of them the stem helps much.

    Source: ViT paper, section 3.1, "Hybrid Architecture"; the small stem in place of a
    ResNet as in Xiao et al., Early Convolutions Help Transformers See Better, arXiv
    2106.14881.
    """

    def __init__(self, config: ViTConfig):
        super().__init__(config)
        width = stem_widths(config.patch_size)[-1]
        self.patch_embedding = FeatureMapEmbedding(config, conv_stem(config), width)
        lecun_normal_(self.head.weight)  # zeros would tell the stem nothing for long
