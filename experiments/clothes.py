"""The images that most studies use, the small model, and how it is trained.

Every argument has the value that is common to all studies, so a study names only what
it changes.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import nn

from going_modular.config import ViTConfig
from going_modular.data_setup import ImageSet, load_builtin
from going_modular.datasets.fast_batches import FastBatches, normaliser
from going_modular.datasets.fitting import fit_set
from going_modular.datasets.folders import split
from going_modular.datasets.sources import load_digits
from going_modular.engine import TrainingDiverged, evaluate, train_epoch
from going_modular.optimization import build_optimizer, build_schedule
from going_modular.training.fast_path import FastPath
from going_modular.utils import set_seeds

__all__ = ["SMALL", "Recipe", "built_in_images", "digits", "train_and_judge"]

# 16 patches of 7 x 7 pixels: a run of 86,400 images takes most of a minute on a core.
SMALL = ViTConfig(
    image_size=28,
    patch_size=7,
    in_channels=1,
    embedding_dim=64,
    depth=4,
    num_heads=4,
    mlp_size=256,
    num_classes=10,
)
MEAN, STD = (0.5,), (0.5,)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: Table 3, scaled to few steps.

    Attributes:
        epochs, batch_size: How long, and on how many images at once.
        learning_rate: The highest.
        warmup: Share of the steps in which it grows.
        decay: "cosine", "linear" or "constant".
        weight_decay: Of matrices alone, at rate 1.
        clip_norm: Greatest norm of the gradient, or None.
        label_smoothing: Share of the target that all classes get.
        optimizer: Gives the optimiser of a model, its rate and its weight decay.
    """

    epochs: int = 8
    batch_size: int = 50
    learning_rate: float = 1e-3
    warmup: float = 0.1
    decay: str = "cosine"
    weight_decay: float = 0.1
    clip_norm: float | None = 1.0
    label_smoothing: float = 0.0
    optimizer: Callable[..., torch.optim.Optimizer] = build_optimizer


@cache
def built_in_images() -> dict[str, ImageSet]:
    """10,800 images to train on, 2,700 to choose with, 2,000 to judge."""
    images, test = load_builtin()
    train, val = split(images, 0.2, seed=0)
    return {"train": train, "val": val, "test": test}


@cache
def digits() -> tuple[ImageSet, ImageSet]:
    """Handwritten digits to train on and to judge, in the size of the clothes."""
    train, test = (fit_set(data, SMALL) for data in load_digits())
    return train, test


def train_and_judge(
    build: Callable[[], nn.Module],
    recipe: Recipe,
    seed: int,
    judge: str,
    images: dict[str, ImageSet] | None = None,
    mean: tuple = MEAN,
    std: tuple = STD,
) -> tuple[nn.Module, dict[str, float]]:
    """Train a model and count what it recognises.

    Args:
        build: Builds the model; its start follows from the seed.
        recipe: How it is trained.
        seed: Of its start and of the order of the images.
        judge: Which images judge it: "val" or "test".
        images: The sets; the built-in ones where none are given.
        mean, std: With which the pixels, 0 to 1, are normalised.

    Returns:
        The model, and figures: accuracy and loss of what judges, and the loss of the
        last epoch's training. A run that diverges has accuracy 0 and no losses.
    """
    images = images or built_in_images()
    set_seeds(seed)
    model = build()
    batches = FastBatches(
        images["train"],
        recipe.batch_size,
        shuffle=True,
        transform=normaliser(mean, std),
        seed=seed,
    )
    optimizer = recipe.optimizer(model, recipe.learning_rate, recipe.weight_decay)
    steps = recipe.epochs * len(batches)
    schedule = build_schedule(
        optimizer, steps, round(recipe.warmup * steps), recipe.decay
    )
    trained = FastPath(model)
    try:
        for batches.epoch in range(recipe.epochs):
            loss, _ = train_epoch(
                trained,
                batches,
                optimizer,
                schedule=schedule,
                clip_norm=recipe.clip_norm,
                label_smoothing=recipe.label_smoothing,
            )
    except TrainingDiverged:
        return model, dict(accuracy=0.0, loss=math.nan, train_loss=math.nan)
    judging = replace(batches, data=images[judge], batch_size=500, shuffle=False)
    judged, accuracy = evaluate(trained, judging)
    return model, dict(accuracy=accuracy, loss=judged, train_loss=loss)
