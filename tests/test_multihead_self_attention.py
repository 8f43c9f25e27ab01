"""Equation 2 agrees with other implementations and keeps its invariances."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from going_modular.config import ViTConfig
from going_modular.multihead_self_attention import (
    MultiheadSelfAttention,
    MultiheadSelfAttentionBlock,
    attention_with_weights,
)
from going_modular.teaching.checks import check_close, check_shape
from going_modular.teaching.toy import toy_config, toy_tokens


@pytest.fixture
def heads():
    """Random q, k and v, each (B, nh, T, dh)."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 2, 4, 26, 11, generator=generator).unbind()


@pytest.fixture
def block():
    """A toy block whose biases, gains and shifts are not at their start values."""
    torch.manual_seed(2)
    block = MultiheadSelfAttentionBlock(toy_config()).eval()
    for parameter in block.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter)
    return block


def test_explicit_attention_agrees_with_the_fused_function(heads):
    expected = F.scaled_dot_product_attention(*heads)
    check_close(attention_with_weights(*heads)[0], expected, 1e-5)


@pytest.mark.ledger("Equations 5-8", "a loop over queries and keys, within 1e-5")
def test_attention_agrees_with_a_loop_over_queries_and_keys(heads):
    output, attention = attention_with_weights(*heads)
    q, k, v = (part[1, 2] for part in heads)
    for i in range(26):
        scores = torch.tensor([(q[i] * k[j]).sum() / 11**0.5 for j in range(26)])
        weights = scores.exp() / scores.exp().sum()
        check_close(attention[1, 2, i], weights, 1e-5)
        expected = sum(w * v[j] for j, w in enumerate(weights))
        check_close(output[1, 2, i], expected, 1e-5)


def test_attention_weights_are_shares(heads):
    attention = attention_with_weights(*heads)[1]
    check_shape(attention, 2, 4, 26, 26)
    assert attention.min() > 0
    check_close(attention.sum(dim=-1), torch.ones(2, 4, 26), 1e-5)


@pytest.mark.ledger(
    "Equations 5-8", "output and weights of `torch.nn.MultiheadAttention`, within 1e-5"
)
def test_msa_agrees_with_torch_multihead_attention(block):
    oracle = nn.MultiheadAttention(44, 4, batch_first=True).eval()
    with torch.no_grad():
        oracle.in_proj_weight.copy_(block.msa.qkv.weight)
        oracle.in_proj_bias.copy_(block.msa.qkv.bias)
        oracle.out_proj.weight.copy_(block.msa.out.weight)
        oracle.out_proj.bias.copy_(block.msa.out.bias)
    z = toy_tokens()
    expected, expected_attention = oracle(z, z, z, average_attn_weights=False)
    output, attention = block.msa(z, return_attention=True)
    check_close(output, expected, 1e-5)
    check_close(attention, expected_attention, 1e-5)


def test_fast_and_explicit_paths_give_the_same_tokens(block):
    z_prime, attention = block(toy_tokens(), return_attention=True)
    check_close(block(toy_tokens()), z_prime, 1e-5)
    check_shape(z_prime, 2, 26, 44)
    check_shape(attention, 2, 4, 26, 26)


def test_fast_and_explicit_paths_give_the_same_gradients(block):
    block(toy_tokens()).square().sum().backward()
    fast = [parameter.grad.clone() for parameter in block.parameters()]
    block.zero_grad()
    block(toy_tokens(), return_attention=True)[0].square().sum().backward()
    for gradient, parameter in zip(fast, block.parameters(), strict=True):
        check_close(gradient / gradient.norm(), parameter.grad / gradient.norm(), 1e-5)


@pytest.mark.ledger("Equation 2", "the formula, within 1e-5")
def test_block_is_pre_norm_with_the_residual_outside(block):
    z = toy_tokens()
    deviation = z - z.mean(dim=-1, keepdim=True)
    variance = deviation.square().mean(dim=-1, keepdim=True)
    gain, shift = block.layer_norm.weight, block.layer_norm.bias
    normalised = deviation / (variance + 1e-6).sqrt() * gain + shift
    check_close(block(z), z + block.msa(normalised), 1e-5)


def test_permuting_tokens_permutes_the_output(block):
    order = torch.randperm(26, generator=torch.Generator().manual_seed(3))
    z = toy_tokens()
    check_close(block(z[:, order]), block(z)[:, order], 1e-5)


def test_images_in_a_batch_do_not_see_each_other(block):
    z = toy_tokens()
    check_close(block(z)[1:], block(z[1:]), 1e-5)


def test_block_ignores_the_size_of_tokens_but_for_the_residual(block):
    z = toy_tokens()
    check_close(block(10 * z) - 10 * z, block(z) - z, 1e-4)


def test_every_parameter_gets_a_gradient():
    block = MultiheadSelfAttentionBlock(toy_config())
    (block(toy_tokens()) * toy_tokens(seed=1)).sum().backward()
    for name, parameter in block.named_parameters():
        if name == "msa.qkv.bias":  # a shift of all keys leaves the softmax as it is
            queries, keys, values = parameter.grad.chunk(3)
            assert queries.abs().max() > 1e-3 and values.abs().max() > 1e-3
            assert keys.abs().max() < 1e-4
        else:
            assert parameter.grad.abs().max() > 1e-3, name


def test_parameters_start_as_in_the_official_code():
    msa = MultiheadSelfAttention(ViTConfig())
    for weight in (*msa.qkv.weight.chunk(3), msa.out.weight):
        assert 0.062 < weight.abs().max() <= 0.0625  # Xavier for 768 to 768
    assert not msa.qkv.bias.any() and not msa.out.bias.any()


def test_layer_norm_takes_eps_from_the_configuration():
    assert MultiheadSelfAttentionBlock(ViTConfig()).layer_norm.eps == 1e-6
    block = MultiheadSelfAttentionBlock(toy_config(layer_norm_eps=1e-3))
    assert block.layer_norm.eps == 1e-3


@pytest.mark.parametrize(
    ("variant", "D"), [("B/16", 768), ("L/16", 1024), ("H/14", 1280)]
)
def test_parameter_count_follows_the_formula(variant, D):
    with torch.device("meta"):
        block = MultiheadSelfAttentionBlock(ViTConfig.from_variant(variant))
    count = sum(parameter.numel() for parameter in block.parameters())
    assert count == 4 * D**2 + 4 * D + 2 * D


@pytest.mark.parametrize("explicit", [False, True])
def test_dropout_acts_on_the_branch_and_only_in_training(explicit):
    def run(z):
        return block(z, return_attention=True)[0] if explicit else block(z)

    torch.manual_seed(4)
    block = MultiheadSelfAttentionBlock(toy_config(dropout=0.5))
    z = toy_tokens()
    untouched = (run(z) == z).float().mean()
    assert 0.4 < untouched < 0.6
    block.eval()
    assert not (run(z) == z).any()
    check_close(run(z), run(z))


def test_heads_must_share_the_width_evenly():
    with pytest.raises(ValueError, match="44 is not divisible by num_heads 5"):
        MultiheadSelfAttentionBlock(toy_config(num_heads=5))
