"""The encoder: Equations 2 and 3, L times."""

import pytest
import torch
from torch import nn
from torchvision.models.vision_transformer import EncoderBlock

from going_modular.config import VARIANTS, ViTConfig
from going_modular.teaching.checks import check_close, check_shape
from going_modular.teaching.toy import toy_config, toy_tokens
from going_modular.transformer_encoder import (
    TransformerEncoder,
    TransformerEncoderBlock,
)
from going_modular.utils import set_seeds

# What our tensors are called elsewhere, in the order of our state_dict.
OURS = ("norm_1", "msa", "norm_2", "mlp")


def randomised(module: nn.Module) -> nn.Module:
    """Random gains and biases too, so that no two LayerNorms are alike."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.2)
    return module.eval().double()


@pytest.fixture
def block() -> TransformerEncoderBlock:
    set_seeds(0)
    return randomised(TransformerEncoderBlock(toy_config()))


@pytest.fixture
def encoder() -> TransformerEncoder:
    set_seeds(0)
    return randomised(TransformerEncoder(toy_config()))


@pytest.fixture
def z() -> torch.Tensor:
    return toy_tokens().double()


def load(other: nn.Module, block: TransformerEncoderBlock, order: str) -> nn.Module:
    """Copy a block's tensors into another module that holds them in this order."""
    values = list(block.state_dict().values())
    parts = dict(
        zip(OURS, (values[:2], values[2:6], values[6:8], values[8:]), strict=True)
    )
    tensors = [tensor for name in order.split() for tensor in parts[name]]
    other = other.double().eval()
    other.load_state_dict(dict(zip(other.state_dict(), tensors, strict=True)))
    return other


def torch_layer(block: TransformerEncoderBlock) -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        d_model=44, nhead=4, dim_feedforward=176, dropout=0.0, activation="gelu",
        layer_norm_eps=1e-6, batch_first=True, norm_first=True,
    )  # fmt: skip
    return load(layer, block, "msa mlp norm_1 norm_2")


def test_tokens_keep_their_shape_and_type():
    z_L = TransformerEncoder(toy_config())(toy_tokens())
    check_shape(z_L, 2, 26, 44)
    assert z_L.dtype == torch.float32


@pytest.mark.ledger("Equation 2", "torch's pre-norm encoder layer, within 1e-5")
def test_block_agrees_with_torch_transformer_encoder_layer(block, z):
    check_close(block(z), torch_layer(block)(z), tolerance=1e-11)


def test_block_agrees_with_torchvision_encoder_block(block, z):
    oracle = EncoderBlock(4, 44, 176, dropout=0.0, attention_dropout=0.0)
    oracle = load(oracle, block, "norm_1 msa norm_2 mlp")
    check_close(block(z), oracle(z), tolerance=1e-11)


def test_stack_agrees_with_torch_layers_applied_in_turn(encoder, z):
    expected = z
    for block in encoder.blocks:
        expected = torch_layer(block)(expected)
    check_close(encoder(z), expected, tolerance=1e-9)


def test_tanh_gelu_reaches_every_block(z):
    set_seeds(0)
    erf = randomised(TransformerEncoder(toy_config()))
    tanh = TransformerEncoder(toy_config(gelu="tanh")).double().eval()
    tanh.load_state_dict(erf.state_dict())
    expected = z
    for block in tanh.blocks:
        assert block.mlp_block.mlp.gelu.approximate == "tanh"
        expected = block(expected)
    check_close(tanh(z), expected, tolerance=1e-12)
    assert (tanh(z) - erf(z)).abs().max() > 1e-6


def test_blocks_have_weights_of_their_own():
    set_seeds(0)
    encoder = TransformerEncoder(toy_config())
    first, second = (b.msa_block.msa.qkv.weight for b in encoder.blocks[:2])
    assert (first - second).abs().max() > 0.01
    assert len({id(parameter) for parameter in encoder.parameters()}) == 7 * 12


def test_shuffled_tokens_come_out_shuffled(encoder, z):
    order = torch.randperm(26)
    check_close(encoder(z[:, order]), encoder(z)[:, order], tolerance=1e-10)


def test_images_of_a_batch_do_not_touch(encoder, z):
    check_close(encoder(z[:1]), encoder(z)[:1], tolerance=1e-10)


def test_intermediates_name_every_step_of_the_same_computation(encoder, z):
    inside = {"z0": z}
    z_L = encoder(z, inside)
    names = ["attention", "z_prime", "z"]
    assert list(inside) == ["z0"] + [
        f"{name}_{i}" for i in range(1, 8) for name in names
    ]
    assert z_L is inside["z_7"]
    check_close(z_L, encoder(z), tolerance=1e-10)
    before = z
    for layer, block in enumerate(encoder.blocks, start=1):
        z_prime, attention = block.msa_block(before, return_attention=True)
        check_shape(inside[f"attention_{layer}"], 2, 4, 26, 26)
        check_close(inside[f"attention_{layer}"], attention, tolerance=1e-12)
        check_close(inside[f"z_prime_{layer}"], z_prime, tolerance=1e-12)
        check_close(inside[f"z_{layer}"], block(before), tolerance=1e-10)
        before = inside[f"z_{layer}"]


def test_intermediates_of_an_exchanged_block_are_that_blocks_own(encoder, z):
    """A figure of another block, such as a post-norm one, shows that block."""

    class Doubled(TransformerEncoderBlock):
        def forward(self, z, return_intermediates=False):
            return (2 * z, {"z": 2 * z}) if return_intermediates else 2 * z

    encoder.blocks[3] = Doubled(toy_config())
    inside = {}
    check_close(encoder(z, inside), encoder(z), tolerance=1e-10)
    check_close(inside["z_4"], 2 * inside["z_3"])


def test_output_is_the_input_plus_every_update(encoder, z):
    inside = {"z_0": z}
    encoder(z, inside)
    total = z
    for layer, block in enumerate(encoder.blocks, start=1):
        first, second = block.msa_block, block.mlp_block
        total = total + first.msa(first.layer_norm(inside[f"z_{layer - 1}"]))
        total = total + second.mlp(second.layer_norm(inside[f"z_prime_{layer}"]))
    check_close(inside["z_7"], total, tolerance=1e-10)


def test_zero_branches_leave_the_tokens_alone(encoder, z):
    for block in encoder.blocks:
        for last in (block.msa_block.msa.out, block.mlp_block.mlp.linear_2):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    assert torch.equal(encoder(z), z)


def test_gradient_reaches_every_parameter_and_the_input(encoder, z):
    z.requires_grad_()
    (encoder(z) * toy_tokens(seed=1)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
    assert (z.grad.norm(dim=-1) > 0).all()


def test_dropout_acts_in_training_only():
    set_seeds(0)
    encoder, z = TransformerEncoder(toy_config(dropout=0.5)), toy_tokens()
    encoder.train()
    assert (encoder(z) - encoder(z)).abs().max() > 0.1
    encoder.eval()
    assert torch.equal(encoder(z), encoder(z))


@pytest.mark.parametrize(
    "size, expected", [("B", 7_087_872), ("L", 12_596_224), ("H", 19_677_440)]
)
def test_block_has_12_d_squared_plus_13_d_parameters(size, expected):
    with torch.device("meta"):
        block = TransformerEncoderBlock(ViTConfig(**VARIANTS[size]))
    count = sum(parameter.numel() for parameter in block.parameters())
    D = VARIANTS[size]["embedding_dim"]
    assert count == expected == 12 * D**2 + 13 * D


def test_stack_has_depth_times_the_parameters_of_a_block():
    D, F, L = 44, 176, 3
    encoder = TransformerEncoder(toy_config(depth=L))
    count = sum(parameter.numel() for parameter in encoder.parameters())
    assert count == L * (4 * D + 4 * D**2 + 4 * D + 2 * D * F + F + D)


def test_tokens_of_another_width_are_refused():
    with pytest.raises(RuntimeError, match=r"normalized_shape=\[44\]"):
        TransformerEncoder(toy_config())(torch.zeros(2, 26, 45))


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="embedding_dim 44 .* num_heads 5"):
        TransformerEncoder(toy_config(num_heads=5))
