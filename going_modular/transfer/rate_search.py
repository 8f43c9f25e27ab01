"""The learning rate that suits the photos, found by short runs on those held out."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from going_modular.data_setup import ImageSet
from going_modular.engine import (
    TrainingDiverged,
    compute_gradients,
    evaluate,
    train_epoch,
)
from going_modular.training.fast_path import FastPath
from going_modular.training.run import Parts
from going_modular.training.settings import TrainingSettings
from going_modular.training.steps import gradients_in_parts

__all__ = ["Trial", "best_of", "hold_out", "train_briefly"]

HELD_OUT = 0.2  # share of each class


@dataclass(frozen=True)
class Trial:
    """How a short run ended.

    Attributes:
        rate: Its learning rate.
        accuracy, loss: On the images held out; 0 and infinite where it diverged.
    """

    rate: float
    accuracy: float
    loss: float


def best_of(trials: Sequence[Trial]) -> Trial:
    """The one with the lowest loss.

    Few images can tell rates apart by their loss, which counts how sure a model is of
    each, long before the number that it has right does.
    """
    return min(trials, key=lambda trial: trial.loss)


def hold_out(data: ImageSet, seed: int) -> tuple[ImageSet, ImageSet]:
    """Part a set in two, so that rates can be tried where nobody has parted it.

    A class with a single image stays in the first part. Where all classes are such,
    what is trained on has to judge, too.

    Args:
        data: Training images, or their features.
        seed: Decides which fifth of each class is held out.

    Returns:
        What is trained on, and what is held out: at least one of each class with two.
    """
    stream = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(data), generator=stream)
    kept, held_out = [], []
    for label in range(len(data.class_names)):
        members = shuffled[data.labels[shuffled] == label]  # (n of this class,)
        count = max(1, round(HELD_OUT * len(members))) if len(members) > 1 else 0
        held_out.append(members[:count])
        kept.append(members[count:])
    if not sum(map(len, held_out)):
        return data, data
    return data.subset(torch.cat(kept)), data.subset(torch.cat(held_out))


def train_briefly(
    parts: Parts,
    settings: TrainingSettings,
    over: Callable[[Iterable], Iterable] = iter,
) -> Trial:
    """Train, and say how well what is held out is recognised.

    Args:
        parts: What takes part; `test_batches` are those held out.
        settings: How to train, `epochs` among them.
        over: Goes over the batches of an epoch, and may show how far it is.
    """
    model = FastPath(parts.model, settings.dtype)
    schedule = parts.schedule(settings)
    gradients = compute_gradients
    if settings.accumulate > 1:
        gradients = partial(gradients_in_parts, parts=settings.accumulate)
    try:
        for epoch in range(settings.epochs):
            parts.train_batches.epoch = epoch
            train_epoch(
                model,
                over(parts.train_batches),
                parts.optimizer,
                schedule=schedule,
                clip_norm=settings.clip_norm,
                label_smoothing=settings.label_smoothing,
                gradients=gradients,
            )
    except TrainingDiverged:
        return Trial(settings.learning_rate, 0.0, math.inf)
    loss, accuracy = evaluate(FastPath(parts.model), parts.test_batches)
    if not math.isfinite(loss):  # the last step did it, and no loss came after
        return Trial(settings.learning_rate, 0.0, math.inf)
    return Trial(settings.learning_rate, accuracy, loss)
