"""Training runs of milliseconds, in every variety.

Every comparison of two of them is of bits. What goes on is built anew, from another
seed, and reads its state from a file.
"""

import copy
import math
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from going_modular.checkpoint import load_checkpoint
from going_modular.config import ViTConfig
from going_modular.data_setup import Batches, ImageSet
from going_modular.datasets.windows import random_crop_and_flip
from going_modular.optimization import build_optimizer, build_schedule
from going_modular.training.trainer import Trainer
from going_modular.vit import ViT

__all__ = ["OPTIMIZERS", "SmallRun", "all_but_times", "crop", "toy_set"]


def toy_set(n: int) -> ImageSet:
    """Images of 8 x 8 pixels in 3 classes."""
    images = torch.randint(
        256, (n, 1, 8, 8), generator=torch.Generator().manual_seed(n)
    )
    return ImageSet(images.byte(), torch.arange(n) % 3, ("a", "b", "c"))


def crop(images: Tensor, generator: torch.Generator) -> Tensor:
    return random_crop_and_flip(images, 0.3, generator)


OPTIMIZERS = {
    "adamw": partial(build_optimizer, learning_rate=3e-3, weight_decay=0.1),
    "sgd": lambda m: torch.optim.SGD(m.parameters(), 0.05),
    "momentum": lambda m: torch.optim.SGD(m.parameters(), 0.02, 0.9, nesterov=True),
    "amsgrad": lambda m: torch.optim.Adam(m.parameters(), 3e-3, amsgrad=True),
    "rmsprop": lambda m: torch.optim.RMSprop(m.parameters(), 1e-3, momentum=0.5),
    "nadam": lambda m: torch.optim.NAdam(m.parameters(), 3e-3),
    "adagrad": lambda m: torch.optim.Adagrad(m.parameters(), 1e-2),
}
SMALL = dict(image_size=8, patch_size=4, in_channels=1, embedding_dim=8, depth=1)
SMALL |= dict(num_heads=2, mlp_size=12, num_classes=3)


class SmallRun:
    """One way to train."""

    def __init__(self, n: int = 7, batch_size: int = 3, epochs: int = 2, **options):
        self.n, self.batch_size, self.epochs = n, batch_size, epochs
        self.steps = epochs * math.ceil(n / batch_size)
        self.optimizer = options.pop("optimizer", "adamw")
        self.augment = options.pop("augment", None)
        self.decay = options.pop("decay", "cosine")
        self.dropout = options.pop("dropout", 0.1)
        self.options = options

    def __repr__(self) -> str:
        return f"SmallRun({vars(self)})"

    def build(self, seed: int = 0, path: Path | None = None) -> Trainer:
        """Build everything anew, and load what a checkpoint holds."""
        torch.manual_seed(seed)
        model = ViT(ViTConfig(dropout=self.dropout, **SMALL))
        nn.init.normal_(model.head.weight)
        batches = Batches(
            toy_set(self.n), self.batch_size, True, self.augment, seed=self.n
        )
        optimizer = OPTIMIZERS[self.optimizer](model)
        warmup = self.steps // 4
        trainer = Trainer(
            model,
            optimizer,
            build_schedule(optimizer, self.steps, warmup, self.decay),
            batches,
            Batches(toy_set(5), 2),
            self.epochs,
            **self.options,
        )
        if path is not None and path.exists():
            trainer.load_state_dict(load_checkpoint(path))
        return trainer


def all_but_times(trainer: Trainer) -> dict:
    """Its state, without what depends on the hour."""
    state = copy.deepcopy(trainer.state_dict())
    return {k: v for k, v in state.items() if k not in ("seconds", "waited")}
