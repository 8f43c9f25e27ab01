"""Accuracy against the number of labelled images, with and without pretraining."""

from dataclasses import replace

import pandas as pd
import torch

from going_modular.data_setup import ImageSet
from going_modular.engine import evaluate, train_epoch
from going_modular.few_shot import choose_shots, few_shot_accuracy
from going_modular.image_fitting import fit_set
from going_modular.pretrained import load_pretrained
from going_modular.transfer import (
    Training,
    TransferPlan,
    build_model,
    features_of,
    set_up,
)
from going_modular.utils import set_seeds
from going_modular.vit import ViT
from going_modular.weight_reading import Pretrained

__all__ = ["compare"]

SHOTS = (1, 5, 10, 25)
SEEDS = (0, 1, 2)
# Random weights bear a higher rate than pretrained ones. Of momentum at 0.03, 0.1 and
# 0.3 and AdamW at 1e-3 and 3e-3 this is the best for 5 and 25 digits of each class, by
# the accuracy on the training images that are left.
SCRATCH_RATE = 0.1


def compare(
    plan: TransferPlan,
    found: Pretrained,
    train_set: ImageSet,
    test_set: ImageSet,
    device: torch.device,
) -> pd.DataFrame:
    """Train with 1, 5, 10 and 25 images of each class, in three ways, three draws each.

    "few-shot" is the closed form on frozen features, the second column the plan's own
    mode, the third the same model from random weights, trained whole, for as many
    epochs on the same images and at a rate of its own.

    Returns:
        One row for each number of images, one column for each way: mean accuracy in
        percent, lowest and highest.
    """
    classes = len(train_set.class_names)
    model = build_model(plan, found, classes).to(device)
    train_set, test_set = (
        fit_set(data, model.config) for data in (train_set, test_set)
    )
    load_pretrained(model, found, plan.resize, new_head=True, quiet=True)
    features = [
        (features_of(model, data, device), data.labels)
        for data in (train_set, test_set)
    ]
    most = int(train_set.labels.bincount().min())
    rows = {}
    for shots in [s for s in SHOTS if s <= most]:
        accuracies = {"few-shot": [], plan.mode: [], "from scratch": []}
        for seed in SEEDS:
            few = train_set.subset(choose_shots(train_set.labels, shots, seed))
            accuracies["few-shot"].append(
                few_shot_accuracy(*features, classes, shots, seed)
            )
            accuracies[plan.mode].append(
                fine_tuned(plan, found, few, test_set, device, seed)
            )
            accuracies["from scratch"].append(
                from_scratch(plan, model, few, test_set, device, seed)
            )
        rows[shots] = {name: spread(values) for name, values in accuracies.items()}
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.rename_axis("images a class")


def spread(accuracies: list[float]) -> str:
    """Mean, lowest and highest, in percent."""
    percents = [100 * accuracy for accuracy in accuracies]
    mean = sum(percents) / len(percents)
    return f"{mean:.1f} ({min(percents):.1f}-{max(percents):.1f})"


def fine_tuned(
    plan: TransferPlan,
    found: Pretrained,
    few: ImageSet,
    test_set: ImageSet,
    device: torch.device,
    seed: int,
) -> float:
    """Test accuracy of the pretrained model after the plan's own training."""
    set_seeds(seed)
    plan = replace(plan, training=replace(plan.training, seed=seed))
    model = build_model(plan, found, len(few.class_names)).to(device)
    load_pretrained(model, found, plan.resize, new_head=True, quiet=True)
    training = set_up(plan, model, few, test_set, device)
    return run(training, plan)


def from_scratch(
    plan: TransferPlan,
    pretrained: ViT,
    few: ImageSet,
    test_set: ImageSet,
    device: torch.device,
    seed: int,
) -> float:
    """Test accuracy of the same model after training from random weights."""
    set_seeds(seed)
    settings = replace(plan.training, seed=seed, learning_rate=SCRATCH_RATE)
    plan = replace(plan, mode="full", training=settings)
    model = ViT(pretrained.config).to(device)
    return run(set_up(plan, model, few, test_set, device), plan)


def run(training: Training, plan: TransferPlan) -> float:
    """Train without looking at the test images; give the accuracy at the end."""
    for epoch in range(plan.training.epochs):
        training.train_batches.epoch = epoch
        train_epoch(
            training.model,
            training.train_batches,
            training.optimizer,
            schedule=training.schedule,
            clip_norm=plan.training.clip_norm,
            precision=plan.training.dtype,
        )
    return evaluate(training.model, training.test_batches)[1]
