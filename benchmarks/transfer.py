"""What pretraining is worth: accuracy against the number of labelled images.

    python -m benchmarks.transfer
    python -m benchmarks.transfer --data path/to/photos --weights vit_b_16 --mode linear

Data, weights and fine-tuning are those of train_transferlearning.py with these flags.
Each number of images is drawn three times.
"""

import argparse
import os
import sys
from dataclasses import replace

import pandas as pd
import torch

import train_transferlearning
from benchmarks.command import RESULTS, check_files, run_command, write_json
from going_modular.command_line.flags import one_line_parser, user_path
from going_modular.data_setup import ImageSet
from going_modular.datasets.fitting import fit_set
from going_modular.engine import evaluate, train_epoch
from going_modular.pretrained import load_pretrained
from going_modular.training.fast_path import FastPath
from going_modular.training.run import Parts
from going_modular.transfer.few_shot import choose_shots, few_shot_accuracy
from going_modular.transfer.fine_tuning import (
    MODES,
    TransferPlan,
    build_model,
    features_of,
    set_up,
)
from going_modular.utils import choose_device, describe_machine, set_seeds
from going_modular.vit import ViT
from going_modular.weights.reading import Pretrained, read_pretrained

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
    sets = {"train": few, "test": test_set}
    return train_and_test(set_up(plan, model, sets, device), plan)


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
    sets = {"train": few, "test": test_set}
    return train_and_test(set_up(plan, model, sets, device), plan)


def train_and_test(parts: Parts, plan: TransferPlan) -> float:
    """Train without looking at the test images; give the accuracy at the end."""
    model = FastPath(parts.model, plan.training.dtype)
    schedule = parts.schedule(plan.training)
    for epoch in range(plan.training.epochs):
        parts.train_batches.epoch = epoch
        train_epoch(
            model,
            parts.train_batches,
            parts.optimizer,
            schedule=schedule,
            clip_norm=plan.training.clip_norm,
        )
    return evaluate(model, parts.test_batches)[1]


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__)
    parser.add_argument("--data", type=os.path.expanduser, help="a name, or a folder")
    parser.add_argument("--weights", type=os.path.expanduser, help="a name or a file")
    parser.add_argument("--mode", choices=MODES, help="train everything, or a head")
    parser.add_argument("--epochs", type=int, help="of each training")
    parser.add_argument("--json", type=user_path, default=RESULTS / "transfer.json")
    args = parser.parse_args(argv)
    check_files(args, "json")
    return args


def run(args: argparse.Namespace) -> None:
    names = ("data", "weights", "mode", "epochs")
    given = {f"--{name}": getattr(args, name) for name in names}
    flags = [str(part) for k, v in given.items() if v is not None for part in (k, v)]
    options = train_transferlearning.parse(flags)
    plan, _ = train_transferlearning.make_plan(options)
    found = read_pretrained(plan.weights, **plan.told())
    sets = train_transferlearning.load_images(plan, found, options)
    table = compare(plan, found, sets["train"], sets["test"], choose_device())
    print("accuracy on the test images (%), mean of three draws (lowest-highest)")
    print(table)
    figures = {**describe_machine(), "settings": plan.settings()}
    write_json(args.json, {**figures, "accuracy": table.to_dict()})


def main(argv: list[str] | None = None) -> int:
    return run_command(parse, run, argv)


if __name__ == "__main__":
    sys.exit(main())
