"""Equation 3: the MLP and its block."""

import math

import pytest
import torch
from torch import nn
from torchvision.models.vision_transformer import MLPBlock
from torchvision.ops import MLP

from going_modular.multilayer_perceptron import (
    MultilayerPerceptron,
    MultilayerPerceptronBlock,
)
from going_modular.teaching.checks import check_close, check_shape
from going_modular.teaching.toy import toy_config, toy_tokens

D, F = 44, 176


def make_block(**changes) -> MultilayerPerceptronBlock:
    """A block whose every parameter, scale and shift included, is random."""
    torch.manual_seed(0)
    block = MultilayerPerceptronBlock(toy_config(**changes))
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.2)
    return block


def copy_parameters(source: nn.Module, target: nn.Module) -> None:
    """Copy in the order of the parameters."""
    ours, theirs = source.state_dict(), target.state_dict()
    target.load_state_dict(dict(zip(theirs, ours.values(), strict=True)))


def test_mlp_and_block_keep_the_shape_of_the_tokens():
    z = toy_tokens()
    for module in (MultilayerPerceptron(toy_config()), make_block()):
        check_shape(module(z), 2, 26, D)
        assert module(z).dtype == torch.float32


def test_hidden_layer_has_the_configured_mlp_size():
    mlp = MultilayerPerceptron(toy_config(mlp_size=91))
    check_shape(mlp.linear_1.weight, 91, D)
    check_shape(mlp.linear_2.weight, D, 91)


def test_mlp_agrees_with_torchvision():
    mlp = make_block().mlp
    for oracle in (
        MLPBlock(D, F, dropout=0.0),
        MLP(D, [F, D], activation_layer=nn.GELU),
    ):
        copy_parameters(mlp, oracle)
        check_close(mlp(toy_tokens()), oracle(toy_tokens()), tolerance=1e-5)


@pytest.mark.ledger(
    "Equation 3", "torch's encoder layer without attention, within 1e-5"
)
@pytest.mark.parametrize("gelu", ["erf", "tanh"])
def test_block_agrees_with_pytorchs_encoder_layer_without_attention(gelu):
    config = toy_config(gelu=gelu)
    block = make_block(gelu=gelu)
    layer = nn.TransformerEncoderLayer(
        D,
        config.num_heads,
        F,
        dropout=0.0,
        activation=nn.GELU("none" if gelu == "erf" else gelu),
        layer_norm_eps=config.layer_norm_eps,
        batch_first=True,
        norm_first=True,
    )
    nn.init.zeros_(layer.self_attn.out_proj.weight)
    copy_parameters(block.layer_norm, layer.norm2)
    copy_parameters(block.mlp.linear_1, layer.linear1)
    copy_parameters(block.mlp.linear_2, layer.linear2)
    check_close(block(toy_tokens()), layer(toy_tokens()), tolerance=1e-5)


@pytest.mark.ledger("Equation 3", "the formula in double precision, within 1e-10")
def test_block_agrees_with_the_formula_in_double_precision():
    block, z_prime = make_block().double(), toy_tokens().double()
    W_1, b_1, W_2, b_2 = block.mlp.parameters()
    scale, shift = block.layer_norm.parameters()
    variance = z_prime.var(dim=-1, correction=0, keepdim=True)
    u = (z_prime - z_prime.mean(dim=-1, keepdim=True)) / (variance + 1e-6).sqrt()
    hidden = (u * scale + shift) @ W_1.T + b_1
    bent = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
    check_close(block(z_prime), bent @ W_2.T + b_2 + z_prime, tolerance=1e-10)


def test_gelu_forms_differ_by_less_than_5e_4():
    x = torch.linspace(-6, 6, 12001, dtype=torch.float64)
    erf, tanh = (MultilayerPerceptron(toy_config(gelu=g)).gelu for g in ("erf", "tanh"))
    gap = (erf(x) - tanh(x)).abs().max().item()
    assert 4.7e-4 < gap < 4.8e-4


def test_changing_one_token_moves_no_other():
    block, z_prime = make_block(), toy_tokens()
    changed = z_prime.clone()
    changed[1, 5] += 1
    moved = (block(changed) - block(z_prime)).abs().amax(dim=-1) > 1e-5
    assert moved.nonzero().tolist() == [[1, 5]]


def test_permuting_tokens_permutes_outputs():
    block, order = make_block(), torch.randperm(26)
    check_close(
        block(toy_tokens()[:, order]), block(toy_tokens())[:, order], tolerance=1e-5
    )


def test_update_does_not_depend_on_the_scale_of_the_tokens():
    block, z_prime = make_block(), toy_tokens()
    update = block(z_prime) - z_prime
    check_close(block(8 * z_prime) - 8 * z_prime, update, tolerance=1e-4)


def test_block_is_the_identity_when_the_second_layer_is_zero():
    block = make_block()
    nn.init.zeros_(block.mlp.linear_2.weight)
    nn.init.zeros_(block.mlp.linear_2.bias)
    assert torch.equal(block(toy_tokens()), toy_tokens())


def test_gradient_reaches_every_parameter_and_the_input():
    block, z_prime = make_block(), toy_tokens().requires_grad_()
    block(z_prime).square().sum().backward()
    for name, parameter in [*block.named_parameters(), ("input", z_prime)]:
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_dropout_follows_gelu_and_second_layer_only():
    block, calls = make_block(dropout=0.1), []
    for layer in block.modules():
        if not list(layer.children()):
            layer.register_forward_hook(lambda m, *_: calls.append(type(m).__name__))
    block(toy_tokens())
    expected = "LayerNorm Linear GELU Dropout Linear Dropout"
    assert calls == expected.split()


def test_dropout_acts_in_training_alone_and_keeps_the_mean():
    mlp, z = make_block(dropout=0.1).mlp, toy_tokens()[:1, :1]
    expected = mlp.eval()(z)
    assert torch.equal(mlp(z), expected)
    many = mlp.train()(z.expand(20_000, 1, D)).detach()
    assert (many == 0).float().mean().item() == pytest.approx(0.1, abs=0.005)
    standard_error = many.std(dim=0) / 20_000**0.5
    assert ((many.mean(dim=0) - expected[0]) / standard_error).abs().max() < 5


def test_start_is_that_of_the_official_code():
    torch.manual_seed(0)
    block = MultilayerPerceptronBlock(toy_config())
    bound = math.sqrt(6 / (D + F))  # Xavier uniform
    for linear in (block.mlp.linear_1, block.mlp.linear_2):
        assert 0.99 * bound < linear.weight.abs().max() <= bound
        assert linear.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
        assert 0 < linear.bias.abs().max() < 1e-5
    assert block.layer_norm.eps == 1e-6


def test_parameter_count_follows_the_formula():
    count = sum(p.numel() for p in make_block().parameters())
    assert count == 2 * D * F + F + D + 2 * D == 15_796


def test_tokens_of_another_width_are_refused():
    with pytest.raises(RuntimeError, match="normalized_shape"):
        make_block()(torch.zeros(2, 26, D + 1))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"mlp_size": 0}, "mlp_size must be a positive integer, not 0"),
        ({"dropout": 1.0}, r"dropout must be in \[0, 1\), not 1.0"),
        ({"gelu": "relu"}, 'gelu must be "erf" or "tanh", not \'relu\''),
    ],
)
def test_a_configuration_it_cannot_build_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        MultilayerPerceptron(toy_config(**change))
