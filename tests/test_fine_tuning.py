"""What fine-tuning begins with: the probe's head, rates by layer, a rate that suits."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from going_modular.config import ViTConfig
from going_modular.data_setup import ImageSet
from going_modular.training.settings import TrainingSettings
from going_modular.training.watchers import ChanceWarning
from going_modular.transfer import rate_search
from going_modular.transfer.fine_tuning import (
    TransferPlan,
    features_of_all,
    head_parts,
    usual_size,
)
from going_modular.transfer.layer_decay import build_layerwise_optimizer, layer_of
from going_modular.transfer.rate_search import Trial, best_of, hold_out, train_briefly
from going_modular.transfer.recipes import RATES, recipe_settings, suited_epochs
from going_modular.transfer.starting import find_start
from going_modular.vit import ViT

CPU = torch.device("cpu")
CONFIG = ViTConfig(
    image_size=8,
    patch_size=4,
    in_channels=1,
    embedding_dim=12,
    depth=2,
    num_heads=2,
    mlp_size=16,
    num_classes=3,
)


def pictures(count: int, seed: int) -> ImageSet:
    """Three classes that differ in where they are bright, with noise on top."""
    stream = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randint(0, 120, (count, 1, 8, 8), generator=stream)
    for place, label in enumerate(labels.tolist()):
        images[place, :, 3 * label : 3 * label + 2] += 100
    return ImageSet(images.to(torch.uint8), labels, ("top", "middle", "bottom"))


@pytest.fixture
def model() -> ViT:
    torch.manual_seed(0)
    return ViT(CONFIG)


def make_plan(mode: str, recipe: str = "auto", **settings) -> TransferPlan:
    about = dict(data="digits", weights="built-in", shots=0, image_size=0, num_heads=0)
    about |= dict(resize="official", mean=(), std=(), raw=False, precision="fp32")
    chosen = {**recipe_settings(mode, recipe), "epochs": 5, **settings}
    return TransferPlan.from_settings(
        {**about, "mode": mode, "recipe": recipe} | chosen
    )


def test_each_layer_learns_at_a_rate_of_its_own(model):
    optimizer = build_layerwise_optimizer(model, 1e-3, 0.05, layer_decay=0.5)
    names = {parameter: name for name, parameter in model.named_parameters()}
    seen = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            seen[names[parameter]] = (group["lr"], group["weight_decay"])
    assert set(seen) == set(names.values())
    assert seen["head.weight"] == (1e-3, 0.05)
    assert seen["layer_norm.bias"] == (1e-3, 0.0)
    assert seen["encoder.blocks.1.mlp_block.mlp.linear_1.weight"] == (5e-4, 0.05)
    assert seen["encoder.blocks.0.msa_block.msa.qkv.bias"] == (2.5e-4, 0.0)
    assert seen["patch_embedding.projection.weight"] == (1.25e-4, 0.05)
    assert seen["patch_embedding.position_embedding"] == (1.25e-4, 0.0)


def test_layers_are_counted_from_the_image():
    names = ("patch_embedding.class_token", "encoder.blocks.11.x", "head.bias")
    assert [layer_of(name, 12) for name in names] == [0, 12, 13]


def test_what_is_held_out_is_a_fifth_of_each_class_and_never_a_whole_one():
    labels = torch.tensor([0] * 20 + [1] * 2 + [2])
    data = ImageSet(torch.arange(23).view(23, 1, 1, 1), labels, ("a", "b", "c"))
    kept, held_out = hold_out(data, seed=0)
    assert kept.labels.bincount().tolist() == [16, 1, 1]
    assert held_out.labels.bincount().tolist() == [4, 1]
    both = torch.cat([kept.images, held_out.images]).flatten()
    assert sorted(both.tolist()) == list(range(23))
    assert not torch.equal(hold_out(data, seed=1)[1].images, held_out.images)


def test_where_no_class_has_two_images_those_trained_on_judge(model):
    three = pictures(3, 0)
    assert hold_out(three, seed=0) == (three, three)
    sets = {"train": three, "test": pictures(30, 1)}
    for mode in ("linear", "full"):
        start = find_start(make_plan(mode), model, sets, CPU, search=True)
        assert "the 3 images that it is trained on, since no class" in start.note


def test_the_lowest_loss_wins_whatever_the_accuracy():
    trials = [Trial(0.1, 0.8, 0.7), Trial(0.3, 0.7, 0.5), Trial(1.0, 0.0, math.inf)]
    assert best_of(trials).rate == 0.3


def test_a_rate_that_diverges_is_the_worst(model):
    settings = TrainingSettings(**{**recipe_settings("linear", "auto"), "epochs": 2})
    settings = replace(settings, learning_rate=1e38, clip_norm=1e30)
    features = ImageSet(1e10 * torch.randn(9, 12), torch.arange(9) % 3, ("a", "b", "c"))
    sets = {"train": features, "test": features}
    trial = train_briefly(head_parts(settings, model.head, sets, CPU), settings)
    assert trial == Trial(1e38, 0.0, float("inf"))


def test_a_rate_whose_last_step_diverges_is_the_worst_too(monkeypatch, model):
    settings = TrainingSettings(**{**recipe_settings("linear", "auto"), "epochs": 1})
    sets = {"train": pictures(9, 0), "test": pictures(9, 1)}
    features = features_of_all(make_plan("linear"), model, sets, CPU)
    parts = head_parts(settings, model.head, features, CPU)
    monkeypatch.setattr(rate_search, "evaluate", lambda *_: (float("nan"), 1.0))
    assert train_briefly(parts, settings) == Trial(0.1, 0.0, float("inf"))


@pytest.mark.parametrize("with_val", [True, False])
def test_the_whole_model_begins_with_the_head_of_its_probe(
    model, with_val, monkeypatch
):
    sets = {"train": pictures(60, 0), "test": pictures(30, 1)}
    if with_val:
        sets["val"] = pictures(30, 2)
    before = copy.deepcopy(model)
    start = find_start(make_plan("full"), model, sets, CPU, search=False)
    moved = {
        k for k, v in model.state_dict().items() if not v.equal(before.state_dict()[k])
    }
    assert moved == {"head.weight", "head.bias"}
    features = features_of_all(start.plan, before, sets, CPU)["test"]
    with torch.inference_mode():
        right = model.head(features.images).argmax(1) == features.labels
    assert right.float().mean() > 0.9  # a third is chance
    assert start.probe_accuracy == -1 or with_val
    assert not with_val or start.probe_accuracy > 0.9
    assert start.plan == make_plan("full")


@pytest.mark.parametrize(
    ("mode", "recipe"), [("linear", "auto"), ("full", "auto"), ("full", "paper")]
)
def test_the_rate_that_does_best_on_what_is_held_out_is_chosen(
    mode, recipe, model, monkeypatch
):
    """The test images have no say: they are of another task."""
    sets = {
        "train": pictures(60, 0),
        "test": replace(pictures(30, 1), labels=torch.zeros(30).long()),
    }
    plan = make_plan(mode, recipe)
    start = find_start(plan, model, sets, CPU, search=True)
    rates = RATES["head" if mode == "linear" else recipe]
    assert start.plan.training.learning_rate in rates
    for rate in rates:
        assert f"{rate:g} (" in start.note
    chosen = f"learning rate {start.plan.training.learning_rate:g},"
    assert chosen in start.note and "on 12 images" in start.note
    assert replace(start.plan, training=plan.training) == plan


@pytest.mark.ledger(
    "Table 4", "the paper's recipe begins with a head of zeros and its own rate"
)
def test_the_paper_s_recipe_begins_with_zeros_and_its_own_rate(model):
    plan = make_plan("full", "paper")
    sets = {"train": pictures(30, 0), "test": pictures(30, 1)}
    assert find_start(plan, model, sets, CPU, search=False).plan is plan
    assert not model.head.weight.any()


@pytest.mark.parametrize(
    ("side", "patch", "usual"),
    [
        (518, 14, 224),
        (384, 16, 224),
        (384, 32, 224),
        (224, 16, 0),
        (28, 7, 0),
        (240, 15, 210),
    ],
)
def test_large_images_are_not_the_default(side, patch, usual):
    assert usual_size(replace(CONFIG, image_size=side, patch_size=patch)) == usual


def test_few_images_are_seen_more_often():
    assert [suited_epochs("full", n) for n in (10, 400, 2000, 10**6)] == [30, 20, 5, 5]
    assert [suited_epochs("linear", n) for n in (10, 10_000, 10**6)] == [100, 50, 5]


class Run:
    """What `ChanceWarning` looks at of a trainer."""

    epochs, held_out = 10, "val"

    def __init__(self, accuracies):
        self.epoch, self.results = len(accuracies), {"val_acc": accuracies}


def test_a_run_that_learns_nothing_says_so_once_after_a_fifth(capsys):
    warning = ChanceWarning(pictures(90, 0), "this")
    for accuracies in ([0.3], [0.3, 0.4], [0.3, 0.4, 0.4]):
        warning.after_epoch(Run(accuracies))
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    assert (
        "40.0% is right" in said and "alone gives 33.3%" in said and "try this" in said
    )
    warning.after_epoch(Run([0.5, 0.4]))
    assert not capsys.readouterr().out
