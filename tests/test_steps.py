"""A step on a batch cut into parts is the step on the whole batch."""

import copy

import pytest
import torch
import torch.nn.functional as F
from exactness import check_same
from torch import Tensor, nn

from going_modular.engine import train_step
from going_modular.optimization import build_optimizer
from going_modular.teaching.checks import check_close
from going_modular.teaching.toy import toy_config
from going_modular.training.trainer import gradient_step
from going_modular.vit import ViT

K = 10


def toy_batch(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 40, 40, generator=generator)
    return images, torch.randint(K, (count,), generator=generator)


def toy_vit(**changes) -> ViT:
    """A ViT whose head is random, so that its guesses differ."""
    torch.manual_seed(0)
    model = ViT(toy_config(depth=2, **changes))
    nn.init.normal_(model.head.weight)
    return model


def frozen(model: nn.Module) -> torch.optim.Optimizer:
    """An optimiser that changes nothing, so that gradients can be looked at."""
    return torch.optim.SGD(model.parameters(), lr=0.0)


def gradients(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clip_norm": None},
        {"label_smoothing": 0.1},
        {"precision": torch.bfloat16},
        {"clip_norm": 0.25, "label_smoothing": 0.2, "precision": torch.bfloat16},
    ],
)
def test_one_part_gives_the_same_bits_as_the_engines_step(options):
    model = toy_vit(dropout=0.1).train()
    oracle = copy.deepcopy(model)
    optimizers = [build_optimizer(m, 1e-2, 0.1) for m in (model, oracle)]
    for number in range(3):
        batch = toy_batch(5, seed=number)
        torch.manual_seed(number)  # for dropout
        ours = gradient_step(model, *batch, optimizers[0], **options)
        torch.manual_seed(number)
        check_same(ours, train_step(oracle, *batch, optimizers[1], **options))
    check_same(model.state_dict(), oracle.state_dict())
    check_same(optimizers[0].state_dict(), optimizers[1].state_dict())


@pytest.mark.parametrize(
    ("count", "accumulate", "parts"),
    [
        (100, 4, [25] * 4),
        (100, 7, [15] * 6 + [10]),
        (10, 4, [3, 3, 3, 1]),
        (5, 4, [2, 2, 1]),  # a short last batch has fewer parts
        (1, 4, [1]),
    ],
)
@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_parts_add_up_to_the_whole_batch(count, accumulate, parts, label_smoothing):
    model = toy_vit()
    images, labels = toy_batch(count)
    options = dict(clip_norm=None, label_smoothing=label_smoothing)
    whole, also = train_step(model, images, labels, frozen(model), **options)
    expected = gradients(model)
    sizes = []
    model.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    loss, right = gradient_step(
        model, images, labels, frozen(model), accumulate=accumulate, **options
    )
    assert sizes == parts
    check_close(loss, whole, tolerance=1e-5)
    assert right == also
    largest = expected.abs().max()
    check_close(gradients(model) / largest, expected / largest, tolerance=1e-5)


def test_loss_and_hits_are_those_of_all_images_each_counted_once():
    model = toy_vit()
    images, labels = toy_batch(10)
    loss, right = gradient_step(model, images, labels, frozen(model), accumulate=4)
    with torch.no_grad():
        logits = model(images)
    losses = F.cross_entropy(logits, labels, reduction="none")
    check_close(loss, losses.mean(), tolerance=1e-5)
    assert right == (logits.argmax(dim=1) == labels).sum()
    of_parts = torch.stack([part.mean() for part in losses.split([3, 3, 3, 1])])
    assert abs(of_parts.mean() - loss) > 0.01, "these losses tell the two apart"


def test_the_whole_gradient_is_clipped_once():
    model = toy_vit()
    batch = toy_batch(10)
    gradient_step(model, *batch, frozen(model), None, accumulate=4)
    free = gradients(model)
    assert free.norm() > 1.5, "the test needs something to clip"
    gradient_step(model, *batch, frozen(model), 0.5, accumulate=4)
    check_close(gradients(model), free * 0.5 / free.norm(), tolerance=1e-6)


def test_four_parts_move_the_weights_as_one_batch_does():
    model = toy_vit()
    oracle = copy.deepcopy(model)
    optimizers = [torch.optim.SGD(m.parameters(), 0.1, 0.9) for m in (model, oracle)]
    for number in range(3):
        batch = toy_batch(20, seed=number)
        gradient_step(model, *batch, optimizers[0], accumulate=4)
        train_step(oracle, *batch, optimizers[1])
    for ours, theirs in zip(model.parameters(), oracle.parameters(), strict=True):
        check_close(ours, theirs, tolerance=1e-5)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_gradients_of_earlier_steps_are_forgotten(accumulate):
    model = toy_vit()
    batch = toy_batch(6)
    seen = []
    for _ in range(2):
        gradient_step(model, *batch, frozen(model), accumulate=accumulate)
        seen.append(gradients(model))
    check_same(*seen)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_what_is_returned_holds_no_graph(accumulate):
    model = toy_vit()
    loss, right = gradient_step(
        model, *toy_batch(6), frozen(model), accumulate=accumulate
    )
    assert not loss.requires_grad and loss.grad_fn is None
    assert loss.dtype == torch.float32 and right.dtype == torch.int64


def test_half_precision_in_parts_keeps_loss_and_gradients_in_full():
    model = toy_vit()
    batch = toy_batch(10)
    full, _ = gradient_step(model, *batch, frozen(model), accumulate=4)
    half, _ = gradient_step(
        model, *batch, frozen(model), accumulate=4, precision=torch.bfloat16
    )
    assert half.dtype == model.head.weight.grad.dtype == torch.float32
    assert 0 < abs(half - full) < 0.1 * full
