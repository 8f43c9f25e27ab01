"""AdamW on two groups of parameters, and the learning rate over the steps."""

import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from going_modular.optimization import (
    build_optimizer,
    build_schedule,
    decay_groups,
    rate_factor,
)
from going_modular.teaching.checks import check_close
from going_modular.teaching.toy import toy_config
from going_modular.vit import ViT

RATE, DECAY = 0.01, 0.3


@pytest.fixture
def model() -> ViT:
    torch.manual_seed(0)
    return ViT(toy_config(depth=2))


def names_of(model: nn.Module, group: dict) -> set[str]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {names[id(parameter)] for parameter in group["params"]}


def test_groups_are_disjoint_and_complete(model):
    matrices, others = (names_of(model, group) for group in decay_groups(model, DECAY))
    assert not matrices & others
    assert matrices | others == {name for name, _ in model.named_parameters()}


def test_only_the_weights_of_linear_layers_decay(model):
    matrices, others = decay_groups(model, DECAY)
    linear = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
    }
    assert names_of(model, matrices) == linear
    assert (matrices["weight_decay"], others["weight_decay"]) == (DECAY, 0.0)


def test_class_token_positions_biases_and_layer_norms_do_not_decay(model):
    others = names_of(model, decay_groups(model, DECAY)[1])
    assert "patch_embedding.class_token" in others
    assert "patch_embedding.position_embedding" in others
    assert "encoder.blocks.0.msa_block.layer_norm.weight" in others
    assert {name for name, _ in model.named_parameters() if "bias" in name} <= others


def test_kernels_of_convolutions_decay():
    model = nn.Sequential(nn.Conv2d(3, 5, 2), nn.BatchNorm2d(5))
    matrices, others = decay_groups(model, DECAY)
    assert names_of(model, matrices) == {"0.weight"}
    assert names_of(model, others) == {"0.bias", "1.weight", "1.bias"}


def adamw_by_hand(w, gradients, decay):
    """The formula of Loshchilov and Hutter, step by step, in double precision."""
    w, m, v = w.double(), 0.0, 0.0
    for t, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g.double(), 0.999 * v + 0.001 * g.double() ** 2
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.999**t)
        w = w - RATE * m_hat / (v_hat.sqrt() + 1e-8) - RATE * decay * w
    return w


@pytest.mark.ledger("Table 3", "AdamW's step is the formula, within 1e-6")
def test_step_equals_the_formula_and_decays_matrices_only():
    layer = nn.Linear(3, 2)
    start = {name: p.detach().clone() for name, p in layer.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    steps = [torch.randn(2, 3, generator=generator) for _ in range(7)]
    optimizer = build_optimizer(layer, RATE, DECAY)
    for g in steps:
        layer.weight.grad, layer.bias.grad = g, g[:, 0].clone()
        optimizer.step()
    expected = adamw_by_hand(start["weight"], steps, DECAY)
    check_close(layer.weight, expected, tolerance=1e-6)
    expected = adamw_by_hand(start["bias"], [g[:, 0] for g in steps], decay=0.0)
    check_close(layer.bias, expected, tolerance=1e-6)


def test_without_gradient_a_matrix_shrinks_by_rate_times_decay():
    layer = nn.Linear(3, 2)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    layer.weight.grad, layer.bias.grad = torch.zeros(2, 3), torch.zeros(2)
    build_optimizer(layer, RATE, DECAY).step()
    check_close(layer.weight, weight * (1 - RATE * DECAY))
    check_close(layer.bias, bias, tolerance=0)


@pytest.mark.ledger("Table 3", "the rate follows warm-up and decay")
@pytest.mark.parametrize(
    ("step", "expected"),
    [(0, 1 / 40), (19, 20 / 40), (39, 1), (40, 1), (120, 0.5), (200, 0), (999, 0)],
)
@pytest.mark.parametrize("decay", ["cosine", "linear"])
def test_rate_at_the_corners(decay, step, expected):
    check_close(rate_factor(step, 200, 40, decay), expected)


def test_constant_rate_stays_at_the_top_after_warmup():
    rates = [rate_factor(step, 200, 40, "constant") for step in range(300)]
    assert rates[:2] == [1 / 40, 2 / 40]
    assert set(rates[39:]) == {1.0}


def test_cosine_lies_above_linear_first_and_below_at_last():
    cosine, linear = (rate_factor(50, 200, 0, decay) for decay in ("cosine", "linear"))
    assert cosine == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert cosine > linear == 0.75
    assert rate_factor(150, 200, 0, "cosine") < rate_factor(150, 200, 0, "linear")


def test_no_warmup_starts_at_the_top():
    assert rate_factor(0, 200, 0) == 1


@pytest.mark.parametrize("step", [0, 100])
def test_unknown_decay_is_refused_even_during_warmup(step):
    with pytest.raises(ValueError, match="cosine.*not 'cosin'"):
        rate_factor(step, 200, 40, "cosin")


def test_unknown_decay_is_refused_before_the_first_step(model):
    with pytest.raises(ValueError, match="not 'cosin'"):
        build_schedule(build_optimizer(model, RATE, DECAY), 200, 40, "cosin")


def test_schedule_agrees_with_pytorchs_own(model):
    ours = build_optimizer(model, RATE, DECAY)
    schedule = build_schedule(ours, total_steps=50, warmup_steps=10)
    theirs = build_optimizer(model, RATE, DECAY)
    warmup = LinearLR(theirs, start_factor=0.1, total_iters=9)
    cosine = CosineAnnealingLR(theirs, T_max=40)
    oracle = SequentialLR(theirs, [warmup, cosine], milestones=[10])
    for _ in range(50):
        for group, expected in zip(ours.param_groups, theirs.param_groups, strict=True):
            assert group["lr"] == pytest.approx(expected["lr"], rel=1e-6)
        ours.step(), theirs.step()
        schedule.step(), oracle.step()


def test_schedule_goes_on_where_it_stopped(model):
    optimizer = build_optimizer(model, RATE, DECAY)
    schedule = build_schedule(optimizer, 20, 4)
    for _ in range(7):
        optimizer.step()
        schedule.step()
    again = build_optimizer(model, RATE, DECAY)
    resumed = build_schedule(again, 20, 4)
    resumed.load_state_dict(schedule.state_dict())
    again.load_state_dict(optimizer.state_dict())
    again.step()
    resumed.step()
    assert again.param_groups[0]["lr"] == pytest.approx(RATE * rate_factor(8, 20, 4))
