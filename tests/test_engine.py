"""The training loop: steps, epochs, evaluation."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from going_modular.data_setup import Batches, ImageSet
from going_modular.datasets.fast_batches import batches_from
from going_modular.engine import (
    RESULT_COLUMNS,
    Sums,
    TrainingDiverged,
    compute_gradients,
    evaluate,
    predict_logits,
    train,
    train_epoch,
    train_step,
)
from going_modular.optimization import build_optimizer, build_schedule
from going_modular.teaching.checks import check_close, check_shape
from going_modular.teaching.toy import toy_config
from going_modular.vit import ViT

K = 10


def toy_set(count: int = 13, seed: int = 0) -> ImageSet:
    """Random images; 13 in batches of 4 leave a last batch of one."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (count, 3, 40, 40), generator=generator)
    labels = torch.arange(count) % K
    return ImageSet(images.byte(), labels, tuple("abcdefghij"))


def toy_batches(count: int = 13, **options) -> Batches:
    return Batches(toy_set(count), batch_size=4, **options)


def toy_vit(**changes) -> ViT:
    """A ViT whose head is random, so that its guesses differ."""
    torch.manual_seed(0)
    model = ViT(toy_config(depth=2, **changes))
    nn.init.normal_(model.head.weight)
    return model


def frozen(model: nn.Module) -> torch.optim.Optimizer:
    """An optimiser that changes nothing."""
    return torch.optim.SGD(model.parameters(), lr=0.0)


def state(model: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(model.state_dict())


def same(left: dict, right: dict) -> bool:
    return all(torch.equal(left[name], right[name]) for name in left)


def whole_set_metrics(model: nn.Module, data: ImageSet) -> tuple[float, float]:
    """Loss and accuracy from one batch that holds every image."""
    ((images, labels),) = Batches(data, batch_size=len(data))
    with torch.no_grad():
        logits = model(images)
    right = int((logits.argmax(dim=1) == labels).sum())
    return F.cross_entropy(logits, labels).item(), right / len(labels)


class Scale(nn.Module):
    """Logits with one parameter and a loss that is easy to make large."""

    def __init__(self, value: float):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))

    def forward(self, x):
        return self.value * F.one_hot(torch.zeros(len(x), dtype=torch.long), K)


# One step


def test_step_agrees_with_the_same_lines_written_out():
    model = toy_vit()
    oracle = copy.deepcopy(model)
    images, labels = next(iter(toy_batches()))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss, right = train_step(model, images, labels, optimizer, clip_norm=None)

    logits = oracle(images)
    expected = F.cross_entropy(logits, labels)
    expected.backward()
    check_close(loss, expected)
    assert right == (logits.argmax(dim=1) == labels).sum()
    for ours, theirs in zip(model.parameters(), oracle.parameters(), strict=True):
        check_close(ours, theirs - 0.1 * theirs.grad)


def test_step_gives_every_parameter_a_gradient():
    model = toy_vit()
    train_step(model, *next(iter(toy_batches())), frozen(model))
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_gradients_of_earlier_steps_are_forgotten():
    model = toy_vit()
    batch = next(iter(toy_batches()))
    gradients = []
    for _ in range(2):
        train_step(model, *batch, frozen(model), clip_norm=None)
        gradients.append(model.head.weight.grad.clone())
    check_close(*gradients, tolerance=0)


@pytest.mark.parametrize("clip_norm", [1.0, 0.25])
def test_clipping_scales_all_gradients_to_the_greatest_norm(clip_norm):
    model = toy_vit()
    batch = next(iter(toy_batches()))
    train_step(model, *batch, frozen(model), clip_norm=None)
    free = [parameter.grad.clone() for parameter in model.parameters()]
    length = torch.cat([g.flatten() for g in free]).norm()
    assert length > 1.5, "the test needs something to clip"
    train_step(model, *batch, frozen(model), clip_norm=clip_norm)
    for parameter, g in zip(model.parameters(), free, strict=True):
        check_close(parameter.grad, g * clip_norm / length, tolerance=1e-6)


def test_clipping_leaves_short_gradients_alone():
    model = toy_vit()
    batch = next(iter(toy_batches()))
    gradients = []
    for clip_norm in (None, 1e6):
        train_step(model, *batch, frozen(model), clip_norm=clip_norm)
        gradients.append(model.head.weight.grad.clone())
    check_close(*gradients, tolerance=0)


def test_schedule_moves_once_a_step():
    model = toy_vit()
    optimizer = build_optimizer(model, 0.01, 0.0)
    schedule = build_schedule(optimizer, total_steps=8, warmup_steps=2)
    train_epoch(model, toy_batches(), optimizer, schedule=schedule)
    assert schedule.last_epoch == len(toy_batches()) == 4


def test_label_smoothing_changes_the_loss_and_not_the_count():
    model = toy_vit()
    images, labels = next(iter(toy_batches()))
    plain, right = train_step(model, images, labels, frozen(model))
    smooth, also = train_step(model, images, labels, frozen(model), label_smoothing=0.1)
    logits = model(images)
    spread = -logits.log_softmax(dim=1).mean()
    check_close(smooth, 0.9 * plain + 0.1 * spread, tolerance=1e-5)
    assert right == also


def test_gradients_may_be_computed_in_another_way():
    model, seen = toy_vit(), []

    def watched(*arguments, **options):
        seen.append((len(arguments), options))
        return compute_gradients(*arguments, **options)

    batch = next(iter(toy_batches()))
    options = dict(clip_norm=None, label_smoothing=0.1)
    expected = train_step(model, *batch, frozen(model), **options)
    found = train_step(model, *batch, frozen(model), gradients=watched, **options)
    check_close(found, expected, tolerance=0)
    assert seen == [(3, {"label_smoothing": 0.1})]


# One epoch


def test_epoch_metrics_are_exact_with_a_short_last_batch():
    model = toy_vit()
    loss, accuracy = train_epoch(model, toy_batches(), frozen(model))
    expected = whole_set_metrics(model, toy_set())
    check_close([loss, accuracy], expected, tolerance=1e-5)
    batch_means = [
        F.cross_entropy(model(images), labels).item()
        for images, labels in toy_batches()
    ]
    assert abs(sum(batch_means) / 4 - loss) > 0.01, "this data tells the two apart"


def test_epoch_trains_in_training_mode():
    model = toy_vit(dropout=0.5).eval()
    train_epoch(model, toy_batches(), frozen(model))
    assert model.training


def test_after_each_step_its_mean_loss_is_told():
    model, losses = toy_vit(), []
    loss, _ = train_epoch(model, toy_batches(), frozen(model), losses.append)
    sizes = torch.tensor([4, 4, 4, 1])
    check_close((torch.stack(losses) * sizes).sum() / 13, loss)


def test_an_epoch_goes_on_from_the_sums_of_its_first_steps():
    model, sums = toy_vit(), Sums()
    expected = train_epoch(model, toy_batches(), frozen(model))
    batches = toy_batches()
    train_epoch(model, list(batches)[:2], frozen(model), sums=sums)
    assert (sums.seen, sums.steps) == (8, 2)
    rest = batches_from(batches, 2)
    assert train_epoch(model, rest, frozen(model), sums=sums) == expected


def test_sums_are_exact_and_look_at_fifty_steps_together():
    sums = Sums()
    for step in range(1, 121):
        sums.add(torch.tensor(2.0**-step), torch.tensor(1), 1)
        assert sums.seen == step and sums.steps == step // 50 * 50
    assert sums.means() == ((1 - 2.0**-120) / 120, 1.0)
    assert sums.steps == 120 and sums.waiting == []


@pytest.mark.parametrize("look_every", [1, 2, 50])
def test_loss_that_is_no_number_stops_the_run_and_names_the_step(
    look_every, monkeypatch
):
    monkeypatch.setattr(Sums, "LOOK_EVERY", look_every)
    model, losses = Scale(1.0), []

    def spoil(loss):
        losses.append(loss)
        if len(losses) == 2:
            model.value.data.fill_(float("nan"))

    with pytest.raises(TrainingDiverged, match="nan at step 3 of the epoch: lower"):
        train_epoch(model, toy_batches(), frozen(model), on_step=spoil)


# Evaluation


def test_evaluation_is_exact_with_a_short_last_batch():
    model = toy_vit()
    figures = evaluate(model, toy_batches())
    check_close(figures, whole_set_metrics(model, toy_set()), tolerance=1e-5)


def test_evaluation_agrees_for_every_batch_size():
    model = toy_vit()
    for size in (1, 5, 13):
        figures = evaluate(model, Batches(toy_set(), batch_size=size))
        check_close(figures, evaluate(model, toy_batches()), tolerance=1e-5)


def test_predictions_keep_the_order_of_the_images():
    model = toy_vit()
    logits, labels = predict_logits(model, toy_batches())
    check_shape(logits, 13, K)
    assert torch.equal(labels, toy_set().labels)
    ((images, _),) = Batches(toy_set(), batch_size=13)
    check_close(logits, model(images), tolerance=1e-5)


def test_evaluation_leaves_no_gradient_and_does_not_change_the_model():
    model = toy_vit(dropout=0.5)
    before = state(model)
    logits, _ = predict_logits(model, toy_batches())
    assert evaluate(model, toy_batches()) == evaluate(model, toy_batches()), (
        "no dropout"
    )
    assert not logits.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert same(before, model.state_dict())


# Several epochs


def train_toy(epochs: int = 3, model: ViT | None = None, **options) -> tuple[ViT, dict]:
    model = model or toy_vit()
    optimizer = options.pop("optimizer", None) or build_optimizer(model, 1e-3, 0.1)
    batches = toy_batches(shuffle=True, seed=5)
    return model, train(model, batches, toy_batches(), optimizer, epochs, **options)


def test_results_hold_one_entry_an_epoch():
    _, results = train_toy()
    assert tuple(results) == RESULT_COLUMNS
    assert all(len(column) == 3 for column in results.values())


def test_last_entry_is_the_evaluation_of_the_trained_model():
    model, results = train_toy()
    last = results["test_loss"][-1], results["test_acc"][-1]
    assert last == evaluate(model, toy_batches())


def test_training_learns_the_toy_images_by_heart():
    model = toy_vit()
    _, results = train_toy(
        20, model, optimizer=build_optimizer(model, learning_rate=3e-3, weight_decay=0)
    )
    assert results["test_acc"][-1] == 1
    assert results["train_loss"][-1] < 0.2 < results["train_loss"][0]


def test_same_seed_gives_the_same_bytes():
    (one, first), (two, second) = train_toy(), train_toy()
    assert first == second
    assert same(one.state_dict(), two.state_dict())


def test_every_epoch_has_its_own_order():
    seen = []

    class Watched(Batches):
        def __iter__(self):
            for images, labels in super().__iter__():
                seen.append(labels.tolist())
                yield images, labels

    model = toy_vit()
    batches = Watched(toy_set(), 13, shuffle=True)
    train(model, batches, toy_batches(), frozen(model), 2)
    assert seen[0] != seen[1]
    assert sorted(seen[0]) == sorted(seen[1])


def test_divergence_names_the_epoch():
    model, losses = Scale(1.0), []

    def spoil(loss):
        losses.append(loss)
        if len(losses) == 4:  # the last step, so that the test sees it first
            model.value.data.fill_(float("inf"))

    with pytest.raises(TrainingDiverged, match="epoch 1: test loss became nan"):
        train(model, toy_batches(), toy_batches(), frozen(model), 3, on_step=spoil)
    model, losses = Scale(1.0), []

    def spoil_later(loss):
        losses.append(loss)
        if len(losses) == 5:
            model.value.data.fill_(float("inf"))

    with pytest.raises(TrainingDiverged, match="epoch 2: loss became nan at step 2"):
        train(
            model, toy_batches(), toy_batches(), frozen(model), 3, on_step=spoil_later
        )
