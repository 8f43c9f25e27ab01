"""Models that know more, or less, about images before they have seen any.

A convolution knows that neighbouring pixels belong together and that a thing may lie
anywhere: its *inductive bias*. A linear model knows nothing of the kind, and a Vision
Transformer only what cutting into patches tells it.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from experiments.clothes import SMALL
from going_modular.config import ViTConfig
from going_modular.variants.conv_stem import ViTWithConvStem
from going_modular.vit import ViT

__all__ = ["CONTENDERS", "ResNet", "multiplications"]

CLASSES = 10


class Linear(nn.Module):
    """One linear layer on pixels."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(28 * 28, CLASSES)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 784) pixels."""
        return x.flatten(1)  # (B, 784)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) logits."""
        return self.head(self.forward_features(x))


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution of 3 x 3 and BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
    )


class CNN(nn.Module):
    """Four convolutions, each halving the image but the last, and an average."""

    def __init__(self):
        super().__init__()
        layers, inputs = [], 1
        for width in (16, 32, 64, 128):
            layers += [convolution(inputs, width), nn.ReLU()]
            if width < 128:
                layers += [nn.MaxPool2d(2)]
            inputs = width
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(inputs, CLASSES)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, 128): the average of each channel."""
        return self.body(x).mean(dim=(2, 3))  # (B, 128)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) logits."""
        return self.head(self.forward_features(x))


class ResidualBlock(nn.Module):
    """Two convolutions whose result is added to what went in (He et al., 2015)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.branch = nn.Sequential(
            convolution(inputs, outputs, stride),
            nn.ReLU(),
            convolution(outputs, outputs),
        )
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, outputs, H / stride, W / stride) features."""
        return (self.branch(x) + self.shortcut(x)).relu()


class ResNet(nn.Module):
    """A convolution, and two residual blocks of each width."""

    def __init__(self, widths: tuple[int, ...] = (16, 32, 64), halved: bool = True):
        """Build it.

        Args:
            widths: Channels of the blocks; from the second on each halves the image.
            halved: Whether maxima halve the image before all blocks.
        """
        super().__init__()
        inputs = widths[0]
        blocks = [convolution(1, inputs), nn.ReLU()]
        blocks += [nn.MaxPool2d(2)] if halved else []
        for number, width in enumerate(widths):
            for stride in (2 if number else 1, 1):
                blocks.append(ResidualBlock(inputs, width, stride))
                inputs = width
        self.body = nn.Sequential(*blocks)
        self.head = nn.Linear(inputs, CLASSES)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, widths[-1]): the average of each channel."""
        return self.body(x).mean(dim=(2, 3))  # (B, widths[-1])

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) logits."""
        return self.head(self.forward_features(x))


def vit(patch_size: int) -> ViT:
    """The small model of all studies, with patches of a side."""
    return ViT(replace(SMALL, patch_size=patch_size))


def hybrid() -> ViTWithConvStem:
    """The same behind two convolutions: 49 tokens, patches of 1 x 1 of their map."""
    return ViTWithConvStem(ViTConfig(**{**vars(SMALL), "patch_size": 4}))


CONTENDERS = {
    "linear": Linear,
    "CNN": CNN,
    "ResNet": ResNet,
    "hybrid": hybrid,
    "ViT/7": lambda: vit(7),
    "ViT/4": lambda: vit(4),
}


def multiplications(model: nn.Module) -> int:
    """Multiplications of one image's forward pass, each with its addition."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(torch.zeros(1, 1, 28, 28))
    return counter.get_total_flops() // 2
