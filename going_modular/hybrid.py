"""The paper's hybrid: a ResNet's feature map in the place of the image."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from going_modular.config import ViTConfig
from going_modular.patch_embedding import lecun_normal_
from going_modular.variants.feature_map import FeatureMapEmbedding
from going_modular.vit import ViT

__all__ = ["NUMERICS", "R50_S16", "R50_S32", "HybridViT", "Numerics", "ResNetUnit"]

# Units of each stage. The second is the whole ResNet-50. In the first, the three of
# stage 4 are part of stage 3, so that a feature stands for 16 pixels and not for 32.
R50_S16 = (3, 4, 9)
R50_S32 = (3, 4, 6, 3)
ROOT_WIDTH = 64  # channels of the first convolution and of the first stage's units
GROUPS = 32


@dataclass(frozen=True)
class Numerics:
    """What keeps quotients finite, which differs between two libraries.

    Attributes:
        group_eps: Of GroupNorm.
        weight_eps: Of weight standardisation.
        within_root: Whether the latter is added to the variance, not the deviation.
    """

    group_eps: float
    weight_eps: float
    within_root: bool


NUMERICS = {
    "official": Numerics(group_eps=1e-6, weight_eps=1e-5, within_root=False),
    "timm": Numerics(group_eps=1e-5, weight_eps=1e-8, within_root=True),
}


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pad (B, C, H, W) so that a window leaves ceil(H / stride) rows, and columns.

    Where the padding is odd, the lower and right sides get the more of it, as in
    TensorFlow, where these weights come from.
    """
    padding = []
    for side in (x.shape[3], x.shape[2]):
        missing = max(0, (-(-side // stride) - 1) * stride + kernel - side)
        padding += [missing // 2, missing - missing // 2]
    if not any(padding):
        return x  # padding by nothing would copy it
    return F.pad(x, padding, value=value)  # (B, C, H + more, W + more)


class StandardisedConv2d(nn.Conv2d):
    """A convolution whose filters have mean 0 and deviation 1 whenever they are used.

    Source: Qiao et al., Micro-Batch Training with Batch-Channel Normalization and
    Weight Standardization, arXiv 1903.10520; the ViT paper's section 4.1.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, numerics: Numerics
    ):
        super().__init__(inputs, outputs, kernel, stride, bias=False)
        self.numerics = numerics
        lecun_normal_(self.weight.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        eps = self.numerics.weight_eps
        axes = (1, 2, 3)
        weight = self.weight - self.weight.mean(axes, keepdim=True)
        variance = weight.square().mean(axes, keepdim=True)  # (outputs, 1, 1, 1)
        if self.numerics.within_root:
            weight = weight * (variance + eps).rsqrt()
        else:
            weight = weight / (variance.sqrt() + eps)
        x = pad_same(x, self.kernel_size[0], self.stride[0])
        return F.conv2d(x, weight, stride=self.stride)


def group_norm(channels: int, numerics: Numerics) -> nn.GroupNorm:
    """GroupNorm (Wu and He, arXiv 1803.08494), which needs no statistics of a batch."""
    return nn.GroupNorm(GROUPS, channels, numerics.group_eps)


class ResNetUnit(nn.Module):
    """A bottleneck: three convolutions, whose result is added to what went in.

    Source: He et al., arXiv 1512.03385, in the form of Big Transfer (Kolesnikov et al.,
    arXiv 1912.11370) that the ViT paper takes: weight standardisation and GroupNorm.
    """

    def __init__(self, inputs: int, width: int, stride: int, numerics: Numerics):
        """Build it.

        Args:
            inputs: Channels that come in.
            width: Channels inside; four times as many go out.
            stride: Of the 3 x 3 convolution.
            numerics: One of `NUMERICS`.
        """
        super().__init__()
        outputs = 4 * width
        self.conv_1 = StandardisedConv2d(inputs, width, 1, 1, numerics)
        self.norm_1 = group_norm(width, numerics)
        self.conv_2 = StandardisedConv2d(width, width, 3, stride, numerics)
        self.norm_2 = group_norm(width, numerics)
        self.conv_3 = StandardisedConv2d(width, outputs, 1, 1, numerics)
        self.norm_3 = group_norm(outputs, numerics)
        nn.init.zeros_(self.norm_3.weight)  # a unit begins by passing on what it gets
        self.projects = inputs != outputs or stride > 1
        if self.projects:
            self.conv_shortcut = StandardisedConv2d(
                inputs, outputs, 1, stride, numerics
            )
            self.norm_shortcut = group_norm(outputs, numerics)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, 4 width, H / stride, W / stride)."""
        shortcut = self.norm_shortcut(self.conv_shortcut(x)) if self.projects else x
        x = self.norm_1(self.conv_1(x)).relu()
        x = self.norm_2(self.conv_2(x)).relu()
        x = self.norm_3(self.conv_3(x))  # (B, 4 width, H / stride, W / stride)
        return (shortcut + x).relu()


def refuse_other_numerics(
    stem: "ResNetStem", state: dict[str, Tensor], prefix: str, *rest
) -> None:
    """Note it as an error if weights were trained with other numerics than a stem's.

    It is called by `load_state_dict`, whose last argument is the list of errors.
    """
    saved = state.get(f"{prefix}numerics")
    if saved is None or torch.equal(saved.float().cpu(), stem.numerics.float().cpu()):
        return
    state[f"{prefix}numerics"] = stem.numerics  # a copy of the caller's: keep our own
    rest[-1].append(
        f"{prefix}numerics: the weights were trained with others than this model has; "
        f"build it with one of {', '.join(NUMERICS)}"
    )


class ResNetStem(nn.Module):
    """A ResNet without its head: from an image to a map of features."""

    def __init__(self, channels: int, units: Sequence[int], numerics: str):
        """Build it.

        Args:
            channels: Of the image.
            units: How many each stage has.
            numerics: A name in `NUMERICS`.
        """
        super().__init__()
        # Saved with the weights, since they were trained for the one or the other.
        number = list(NUMERICS).index(numerics)
        self.register_buffer("numerics", torch.tensor([float(number)]))
        self.register_load_state_dict_pre_hook(refuse_other_numerics)
        numerics = NUMERICS[numerics]
        self.root = StandardisedConv2d(channels, ROOT_WIDTH, 7, 2, numerics)
        self.root_norm = group_norm(ROOT_WIDTH, numerics)
        self.stages, inputs = nn.ModuleList(), ROOT_WIDTH
        for number, count in enumerate(units):
            width = ROOT_WIDTH * 2**number
            stage = nn.ModuleList()
            for place in range(count):
                stride = 2 if number and not place else 1
                stage.append(ResNetUnit(inputs, width, stride, numerics))
                inputs = 4 * width
            self.stages.append(stage)
        self.channels = inputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) images to (B, channels, H / P, W / P) features."""
        x = self.root_norm(self.root(x)).relu()  # (B, 64, H / 2, W / 2)
        x = F.max_pool2d(pad_same(x, 3, 2, -torch.inf), 3, 2)  # (B, 64, H / 4, W / 4)
        for stage in self.stages:
            for unit in stage:
                x = unit(x)
        return x


class HybridViT(ViT):
    """R50 + ViT: a `ViT` that reads the feature map of a ResNet-50.

    Source: ViT paper, section 3.1, "Hybrid Architecture", and section 4.1.
    """

    def __init__(
        self,
        config: ViTConfig,
        units: Sequence[int] = R50_S16,
        numerics: str = "official",
    ):
        """Build it.

        Args:
            config: Of the `ViT`; patch_size is how many pixels a feature stands for.
            units: Of each stage of the ResNet: `R50_S16` or `R50_S32`.
            numerics: A name in `NUMERICS`: where the weights come from.

        Raises:
            ValueError: The stages do not make such features.
        """
        stride = 2 ** (len(units) + 1)
        if config.patch_size != stride:
            raise ValueError(
                f"{len(units)} stages make features of {stride} pixels, not of "
                f"patch_size {config.patch_size}"
            )
        super().__init__(config)
        stem = ResNetStem(config.in_channels, units, numerics)
        self.patch_embedding = FeatureMapEmbedding(config, stem, stem.channels)
