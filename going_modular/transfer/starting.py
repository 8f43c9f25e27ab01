"""Where fine-tuning starts: with the frozen model's best head, and a rate that suits.

Both are judged by validation images. Where there are none, a fifth of the training
images judges, and the run then trains on all of them.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from going_modular.data_setup import ImageSet
from going_modular.system.progress import progress_of
from going_modular.training.settings import TrainingSettings
from going_modular.transfer.fine_tuning import (
    TransferPlan,
    features_of_all,
    head_parts,
    model_parts,
)
from going_modular.transfer.rate_search import Trial, best_of, hold_out, train_briefly
from going_modular.transfer.recipes import RATES, recipe_settings, suited_epochs
from going_modular.vit import ViT

__all__ = ["Start", "find_start"]

TRYING = "trying rates"  # what the time for it counts as
SHORT = 5  # the whole model tries a rate for a fifth of the epochs,
MOST = 1000  # and on no more images than these


@dataclass(frozen=True)
class Start:
    """Where a run starts.

    Attributes:
        plan: The run's, with the learning rate that was chosen.
        note: What was tried, in sentences, or nothing.
        features: Of all sets, where mode "linear" has them already.
        probe_accuracy: Of the head that mode "full" begins with, on the validation
            images; -1 where there are none, or the head is zeros.
    """

    plan: TransferPlan
    note: str = ""
    features: dict[str, ImageSet] | None = None
    probe_accuracy: float = -1.0


def find_start(
    plan: TransferPlan,
    model: ViT,
    sets: dict[str, ImageSet],
    device: torch.device,
    search: bool,
) -> Start:
    """Choose the learning rate, and give the model the head that it starts with.

    Args:
        plan: The run's.
        model: Pretrained, with a head of zeros. In mode "full" of recipe "auto" it gets
            the head of its own linear probe.
        sets: Images: "train", "test" and perhaps "val".
        device: Where to compute.
        search: Whether to choose the rate; otherwise it is the plan's.
    """
    if plan.mode == "linear":
        return start_of_head(plan, model, sets, device) if search else Start(plan)
    if plan.recipe == "auto":
        return start_of_model(plan, model, sets, device, search)
    if not search:
        return Start(plan)
    tried = fit_and_judge(sets, plan.training.seed)
    trials = model_trials(plan, model, tried, device)
    return Start(at_rate(plan, best_of(trials).rate), report(trials, tried))


def start_of_head(
    plan: TransferPlan, model: ViT, sets: dict[str, ImageSet], device: torch.device
) -> Start:
    """The rate for a head on frozen features."""
    features = features_of_all(plan, model, sets, device)
    tried = fit_and_judge(features, plan.training.seed)
    trials, _ = head_trials(plan.training, model.head, tried, device)
    note = report(trials, tried)
    return Start(at_rate(plan, best_of(trials).rate), note, features)


def start_of_model(
    plan: TransferPlan,
    model: ViT,
    sets: dict[str, ImageSet],
    device: torch.device,
    search: bool,
) -> Start:
    """The head of the linear probe, and the rate for the whole model."""
    seed = plan.training.seed
    settings = TrainingSettings(seed=seed, **recipe_settings("linear", plan.recipe))
    epochs = suited_epochs("linear", len(sets["train"]))
    settings = replace(settings, epochs=epochs, precision="fp32")
    seen = {name: data for name, data in sets.items() if name != "test"}
    features = features_of_all(plan, model, seen, device)
    tried = fit_and_judge(features, seed)
    trials, heads = head_trials(settings, model.head, tried, device)
    probe = best_of(trials)
    zeros = copy.deepcopy(model.head)
    model.head.load_state_dict(heads[trials.index(probe)].state_dict())
    about_head = (
        f"training begins with the linear probe's head, which has {probe.accuracy:.1%} "
        f"of {judges(tried)} right"
    )
    note = about_head
    if search:
        trials = model_trials(plan, model, fit_and_judge(sets, seed), device)
        plan = at_rate(plan, best_of(trials).rate)
        note = f"{report(trials, tried)}\n{about_head}"
    if "val" in sets:
        return Start(plan, note, probe_accuracy=probe.accuracy)
    model.head.load_state_dict(zeros.state_dict())
    everything = {"train": features["train"], "test": tried["test"]}
    settings = replace(settings, learning_rate=probe.rate)
    train_briefly(head_parts(settings, model.head, everything, device), settings)
    return Start(plan, note)


def fit_and_judge(sets: dict[str, ImageSet], seed: int) -> dict[str, ImageSet]:
    """The images to try rates on, as "train", and those that judge, as "test"."""
    if "val" in sets:
        return {"train": sets["train"], "test": sets["val"]}
    return dict(zip(("train", "test"), hold_out(sets["train"], seed), strict=True))


def head_trials(
    settings: TrainingSettings,
    head: nn.Linear,
    features: dict[str, ImageSet],
    device: torch.device,
) -> tuple[list[Trial], list[nn.Linear]]:
    """Train a copy of a head at each rate: how well each does, and the heads."""
    trials, heads = [], []
    seen = len(RATES["head"]) * settings.epochs * len(features["train"])
    with progress_of("rates for the head", seen, TRYING) as shown:
        for rate in RATES["head"]:
            tried = replace(settings, learning_rate=rate)
            heads.append(copy.deepcopy(head))
            parts = head_parts(tried, heads[-1], features, device)
            trials.append(train_briefly(parts, tried, shown.over))
    return trials, heads


def model_trials(
    plan: TransferPlan, model: ViT, sets: dict[str, ImageSet], device: torch.device
) -> list[Trial]:
    """Train a copy of the whole model at each rate, for a short time."""
    settings = plan.training
    stream = torch.Generator().manual_seed(settings.seed)
    some = torch.randperm(len(sets["train"]), generator=stream)[:MOST]
    sets = {**sets, "train": sets["train"].subset(some)}
    epochs, rates = max(1, settings.epochs // SHORT), RATES[plan.recipe]
    seen, trials = len(rates) * epochs * len(some), []
    with progress_of("rates for the model", seen, TRYING) as shown:
        for rate in rates:
            tried = replace(settings, learning_rate=rate, epochs=epochs)
            copied = copy.deepcopy(model)
            parts = model_parts(replace(plan, training=tried), copied, sets, device)
            trials.append(train_briefly(parts, tried, shown.over))
    return trials


def at_rate(plan: TransferPlan, rate: float) -> TransferPlan:
    return replace(plan, training=replace(plan.training, learning_rate=rate))


def judges(sets: dict[str, ImageSet]) -> str:
    """The images that judge, as a reader knows them."""
    count = f"{len(sets['test']):,} images"
    if sets["test"] is sets["train"]:
        return f"the {count} that it is trained on, since no class has two"
    return f"{count} that training left out"


def report(trials: Sequence[Trial], sets: dict[str, ImageSet]) -> str:
    """What was tried, and how it ended."""
    losses = ", ".join(f"{t.rate:g} ({t.loss:.2f})" for t in trials)
    return (
        f"learning rate {best_of(trials).rate:g}, tried on {judges(sets)}, since of "
        f"these its loss is the lowest: {losses}"
    )
