"""Equation 1: patches, their projection, the class token and the positions."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import VisionTransformer

from going_modular.config import ViTConfig
from going_modular.patch_embedding import (
    PatchEmbedding,
    lecun_normal_,
    patchify,
    unpatchify,
)
from going_modular.teaching.toy import toy_config, toy_images


def wide_images():
    """Images that are wider than high: 3 x 5 patches of 8 x 8."""
    return torch.randn(2, 3, 24, 40, generator=torch.Generator().manual_seed(1))


def embedding_with_random_parameters(**changes) -> PatchEmbedding:
    """No parameter is zero, so that each one counts."""
    torch.manual_seed(0)
    embedding = PatchEmbedding(toy_config(**changes)).eval()
    for parameter in embedding.parameters():
        nn.init.normal_(parameter)
    return embedding


def test_patchify_goes_row_by_row_with_the_channel_varying_fastest():
    x = wide_images()
    x_p = patchify(x, 8)
    assert x_p.shape == (2, 15, 192)
    for n, (row, column) in enumerate((r, c) for r in range(3) for c in range(5)):
        patch = x[:, :, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8]
        assert torch.equal(x_p[:, n], patch.permute(0, 2, 3, 1).flatten(1))


def test_patchify_agrees_with_unfold():
    x = wide_images()
    channel_slowest = F.unfold(x, 8, stride=8).transpose(1, 2)
    ours = patchify(x, 8).unflatten(2, (64, 3)).transpose(2, 3).flatten(2)
    assert torch.equal(ours, channel_slowest)


def test_unpatchify_undoes_patchify():
    assert torch.equal(unpatchify(patchify(wide_images(), 8), 8, (3, 5)), wide_images())
    assert torch.equal(unpatchify(patchify(toy_images(), 8), 8, (5, 5)), toy_images())


def test_patchify_refuses_a_side_that_is_no_multiple():
    with pytest.raises(
        ValueError, match="40x36 pixels is not a multiple of patch_size 8"
    ):
        patchify(torch.zeros(1, 3, 40, 36), 8)
    with pytest.raises(ValueError, match="36x40"):
        patchify(torch.zeros(1, 3, 36, 40), 8)


def test_unpatchify_refuses_a_grid_that_the_patches_do_not_fill():
    with pytest.raises(ValueError, match="25 patches do not fill a grid of 5x4"):
        unpatchify(torch.zeros(1, 25, 192), 8, (5, 4))


def test_lecun_normal_has_variance_one_over_inputs_and_no_tails():
    torch.manual_seed(0)
    weight = lecun_normal_(torch.empty(2000, 192))
    deviation = (1 / 192) ** 0.5
    assert weight.std().item() == pytest.approx(deviation, rel=0.01)
    assert weight.mean().abs() < 0.01 * deviation
    assert weight.abs().max() <= 2 * deviation / 0.8796


def test_z0_is_the_class_token_then_the_patches_plus_positions():
    embedding = embedding_with_random_parameters()
    z0 = embedding(toy_images())
    assert z0.shape == (2, 26, 44)
    assert z0.dtype == torch.float32
    E, bias = embedding.projection.weight.T, embedding.projection.bias
    positions = embedding.position_embedding[0]
    class_tokens = (embedding.class_token[0, 0] + positions[0]).expand(2, -1)
    torch.testing.assert_close(z0[:, 0], class_tokens)
    for n in range(25):
        token = patchify(toy_images(), 8)[:, n] @ E + bias + positions[n + 1]
        torch.testing.assert_close(z0[:, n + 1], token, atol=1e-4, rtol=1e-5)


@pytest.mark.ledger("Equation 1", "E is a convolution of stride P, within 1e-4")
def test_projection_is_a_convolution_with_stride_p():
    embedding = embedding_with_random_parameters()
    kernel = embedding.projection.weight.unflatten(1, (8, 8, 3)).permute(0, 3, 1, 2)
    convolved = F.conv2d(toy_images(), kernel, embedding.projection.bias, stride=8)
    tokens = embedding.projection(patchify(toy_images(), 8))
    torch.testing.assert_close(
        tokens, convolved.flatten(2).transpose(1, 2), atol=1e-4, rtol=1e-5
    )


@pytest.mark.ledger("Equation 1", "z_0 is torchvision's, within 1e-4")
def test_z0_agrees_with_torchvision():
    ours = embedding_with_random_parameters()
    theirs = VisionTransformer(40, 8, 1, 4, 44, 176).eval()
    kernel = ours.projection.weight.unflatten(1, (8, 8, 3)).permute(0, 3, 1, 2)
    theirs.conv_proj.weight = nn.Parameter(kernel)
    theirs.conv_proj.bias = ours.projection.bias
    theirs.class_token = ours.class_token
    theirs.encoder.pos_embedding = ours.position_embedding
    caught = []
    theirs.encoder.layers.register_forward_pre_hook(lambda _, z: caught.extend(z))
    theirs(toy_images())
    torch.testing.assert_close(ours(toy_images()), caught[0], atol=1e-4, rtol=1e-5)


def test_without_positions_shuffling_patches_shuffles_tokens_alone():
    embedding = embedding_with_random_parameters()
    x_p = patchify(toy_images(), 8)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(0))
    with_positions = (
        embedding.embed(x_p[:, order])[:, 1:] - embedding.embed(x_p)[:, 1:][:, order]
    )
    assert with_positions.abs().max() > 0.1
    nn.init.zeros_(embedding.position_embedding)
    z0, shuffled = embedding.embed(x_p), embedding.embed(x_p[:, order])
    torch.testing.assert_close(shuffled[:, 1:], z0[:, 1:][:, order])
    assert torch.equal(shuffled[:, 0], z0[:, 0])


def test_parameters_start_as_in_the_official_code():
    torch.manual_seed(0)
    embedding = PatchEmbedding(toy_config(embedding_dim=400))
    assert not embedding.class_token.any()
    assert not embedding.projection.bias.any()
    assert embedding.position_embedding.std().item() == pytest.approx(0.02, rel=0.03)
    deviation = embedding.projection.weight.std().item()
    assert deviation == pytest.approx((1 / 192) ** 0.5, rel=0.03)


def test_gradient_reaches_every_number_of_every_parameter():
    embedding = embedding_with_random_parameters()
    embedding(toy_images()).square().sum().backward()
    for name, parameter in embedding.named_parameters():
        assert parameter.grad is not None and parameter.grad.ne(0).all(), name


def test_dropout_comes_after_positions_and_only_in_training():
    embedding = embedding_with_random_parameters(dropout=0.25)
    z0 = embedding(toy_images())
    assert torch.equal(z0, embedding(toy_images()))
    dropped = embedding.train()(toy_images())
    kept = dropped != 0
    assert (~kept).float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert not kept[:, 0].all(), "the class token is dropped as well"
    torch.testing.assert_close(dropped[kept], z0[kept] / 0.75)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (toy_config(), 9_680),
        (ViTConfig(), 742_656),
        (ViTConfig.from_variant("H/14", image_size=518), 2_508_800),
    ],
)
def test_parameter_count_follows_the_formula(config, count):
    with torch.device("meta"):
        embedding = PatchEmbedding(config)
    D, N = config.embedding_dim, config.num_patches
    P2C = config.patch_size**2 * config.in_channels
    assert (P2C * D + D) + D + (N + 1) * D == count
    assert sum(p.numel() for p in embedding.parameters()) == count


@pytest.mark.parametrize("shape", [(2, 1, 40, 40), (2, 3, 40, 48), (3, 40, 40)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"\(B, 3, 40, 40\), got \(\d, "):
        PatchEmbedding(toy_config())(torch.zeros(shape))


def test_images_may_be_wider_than_high():
    embedding = PatchEmbedding(toy_config(image_size=(24, 40)))
    assert embedding(wide_images()).shape == (2, 16, 44)
