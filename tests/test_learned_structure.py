"""What a model has learned: components against sklearn, positions against scipy."""

import numpy as np
import pytest
import scipy.spatial.distance
import torch
from sklearn.decomposition import PCA
from test_vit import noisy_vit
from torch import Tensor

from going_modular.config import ViTConfig
from going_modular.learned_structure import (
    feature_colours,
    filter_components,
    position_similarity,
    principal_components,
)
from going_modular.patch_embedding import patchify
from going_modular.teaching.toy import toy_config
from going_modular.vit import ViT

WIDE = toy_config(image_size=(24, 40), depth=1)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers whose columns have different spreads and means."""
    generator = torch.Generator().manual_seed(seed)
    spread = 0.8 ** torch.arange(shape[-1])
    return torch.randn(shape, generator=generator) * spread + spread.flip(0)


# Principal components.


@pytest.mark.ledger("Figure 7, left", "scikit-learn's components")
@pytest.mark.parametrize(("n", "d"), [(60, 12), (12, 30), (30, 30)])
def test_components_agree_with_sklearn_up_to_sign(n, d):
    x = numbers(n, d)
    directions, shares = principal_components(x, 5)
    peer = PCA(5, svd_solver="full").fit(x.double().numpy())
    assert directions.shape == (5, d) and directions.dtype == torch.float32
    cosines = np.abs(np.sum(directions.numpy() * peer.components_, axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    np.testing.assert_allclose(shares, peer.explained_variance_ratio_, rtol=1e-5)


def test_components_are_orthogonal_and_of_length_one():
    directions, _ = principal_components(numbers(60, 12).double(), 12)
    torch.testing.assert_close(directions @ directions.T, torch.eye(12).double())


def test_shares_fall_and_sum_to_one():
    _, shares = principal_components(numbers(60, 12).double(), 12)
    assert (shares.diff() < 0).all()
    assert shares.sum().item() == pytest.approx(1, abs=1e-12)
    _, some = principal_components(numbers(60, 12).double(), 4)
    assert torch.equal(some, shares[:4]), "shares of all variance, not of that shown"


@pytest.mark.parametrize("seed", range(5))
def test_greatest_number_of_each_direction_is_positive(seed):
    directions, _ = principal_components(numbers(40, 9, seed=seed), 9)
    for direction in directions:
        assert direction[direction.abs().argmax()] > 0


def test_sign_does_not_depend_on_the_sign_of_the_data():
    x = numbers(40, 9)
    torch.testing.assert_close(
        principal_components(-x, 9), principal_components(x, 9), atol=1e-5, rtol=1e-5
    )


def test_components_do_not_depend_on_the_mean_or_the_order_of_rows():
    x = numbers(40, 9).double()
    expected = principal_components(x, 9)
    torch.testing.assert_close(principal_components(x + 100, 9), expected)
    torch.testing.assert_close(principal_components(x.flip(0), 9), expected)


def test_one_direction_explains_points_on_a_line():
    line = torch.tensor([0.6, -0.8, 0.0])
    x = torch.linspace(-1, 3, 11)[:, None] * line + torch.tensor([5.0, 5.0, 5.0])
    directions, shares = principal_components(x.double(), 1)
    np.testing.assert_allclose(directions[0], [-0.6, 0.8, 0], atol=1e-7)
    assert shares.tolist() == pytest.approx([1])


# Filters.


@pytest.mark.ledger("Figure 7, left", "the pictures that filters were made of come out")
def test_filter_components_are_the_pictures_that_filters_are_made_of():
    """Filters: a red gradient down, a blue one across, in known shares, and a mean."""
    config = ViTConfig(
        image_size=15, patch_size=5, embedding_dim=8, depth=1, num_heads=2,
        mlp_size=8, num_classes=2,
    )  # fmt: skip
    steps = torch.arange(5.0)
    red_down, blue_across = torch.zeros(2, 3, 5, 5)
    red_down[0] = steps.square()[:, None].expand(5, 5)
    blue_across[2] = steps[None].expand(5, 5)
    red_down, blue_across = (p / p.norm() for p in (red_down, blue_across))
    model = ViT(config)
    with torch.no_grad():
        for number in range(8):
            first = (3.0, 3.0, -3.0, -3.0)[number % 4]
            second = (1.0, -1.0, 1.0, -1.0)[number % 4]
            picture = 7 + first * red_down + second * blue_across  # (3, 5, 5)
            filter_ = patchify(picture[None], 5)[0, 0]  # the order of a patch's pixels
            model.patch_embedding.projection.weight[number] = filter_
    pictures, shares = filter_components(model, 2)
    assert pictures.shape == (2, 3, 5, 5) and not pictures.requires_grad
    torch.testing.assert_close(pictures[0], red_down, atol=1e-5, rtol=0)
    torch.testing.assert_close(pictures[1], blue_across, atol=1e-5, rtol=0)
    assert shares.tolist() == pytest.approx([0.9, 0.1], abs=1e-5)


def test_filter_components_answer_to_images_as_the_filters_do():
    """What E makes of a patch differs along components as the pictures say."""
    model = noisy_vit(WIDE)
    pictures, _ = filter_components(model, 28)
    assert pictures.shape == (28, 3, 8, 8)
    E = model.patch_embedding.projection.weight.detach()  # (D, P*P*C)
    peer = PCA(28, svd_solver="full").fit(E.double().numpy())
    patch = torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(0))
    for n in range(28):
        by_picture = (patch * pictures[n]).sum().item()
        by_filter = patchify(patch[None], 8)[0, 0].numpy() @ peer.components_[n]
        assert abs(by_picture) == pytest.approx(abs(by_filter), abs=1e-4)


def test_filters_of_grey_images_have_one_channel():
    config = toy_config(in_channels=1, depth=1)
    pictures, _ = filter_components(noisy_vit(config), 10)
    assert pictures.shape == (10, 1, 8, 8)


# Positions.


@pytest.mark.ledger("Figure 7, centre", "scipy's cosines, within 1e-6")
@pytest.mark.parametrize("config", [toy_config(depth=1), WIDE], ids=["square", "wide"])
def test_position_similarity_agrees_with_scipy(config):
    model = noisy_vit(config)
    found = position_similarity(model)
    rows, columns = config.grid_shape
    assert found.shape == (rows, columns, rows, columns) and not found.requires_grad
    positions = model.patch_embedding.position_embedding.detach()[0].double().numpy()
    for r, c, s, d in np.ndindex(*found.shape):
        one, other = positions[1 + r * columns + c], positions[1 + s * columns + d]
        expected = 1 - scipy.spatial.distance.cosine(one, other)
        assert found[r, c, s, d].item() == pytest.approx(expected, abs=1e-6)


def test_position_similarity_is_one_with_itself_and_the_same_both_ways():
    model = noisy_vit(WIDE)
    found = position_similarity(model).view(15, 15)
    np.testing.assert_allclose(found.diagonal(), 1, atol=1e-6)
    torch.testing.assert_close(found, found.T)
    assert found.abs().max() <= 1 + 1e-6


def test_position_similarity_does_not_depend_on_lengths_or_the_class_token():
    model = noisy_vit(WIDE)
    expected = position_similarity(model)
    with torch.no_grad():
        positions = model.patch_embedding.position_embedding
        positions[0, 0] = 9
        positions *= torch.arange(1.0, 17)[:, None]
    torch.testing.assert_close(position_similarity(model), expected)


# Colours.


def test_colours_agree_with_sklearn():
    z = numbers(2, 16, 44)
    found = feature_colours(z, (3, 5))
    assert found.shape == (2, 3, 5, 3)
    patches = z[:, 1:].reshape(30, 44).double().numpy()
    scores = PCA(3, svd_solver="full").fit(patches)
    for channel in range(3):
        direction = scores.components_[channel]
        direction = direction * np.sign(direction[np.abs(direction).argmax()])
        values = patches @ direction
        values = (values - values.min()) / (values.max() - values.min())
        expected = values.reshape(2, 3, 5)
        np.testing.assert_allclose(found[..., channel], expected, atol=1e-4)


def test_colours_lie_between_zero_and_one_and_reach_both():
    found = feature_colours(numbers(2, 16, 44), (3, 5))
    assert found.amin((0, 1, 2)).tolist() == [0, 0, 0]
    assert found.amax((0, 1, 2)).tolist() == [1, 1, 1]


def test_equal_tokens_have_equal_colours_in_all_images():
    z = numbers(2, 16, 44)
    z[1, 4], z[0, 9] = z[0, 1], z[0, 1]
    colours = feature_colours(z, (3, 5)).view(2, 15, 3)
    torch.testing.assert_close(colours[1, 3], colours[0, 0])
    torch.testing.assert_close(colours[0, 8], colours[0, 0])
    assert (colours[0, 1] - colours[0, 0]).abs().max() > 0.01


def test_colours_of_tokens_all_alike_are_finite():
    found = feature_colours(torch.ones(1, 16, 44), (3, 5))
    assert found.isfinite().all() and (found.diff(dim=2) == 0).all()


def test_colours_do_not_depend_on_the_class_token():
    z = numbers(2, 16, 44)
    expected = feature_colours(z, (3, 5))
    z[:, 0] = 1000
    assert torch.equal(feature_colours(z, (3, 5)), expected)


def test_colours_of_a_trained_model_s_tokens_differ_between_patches():
    model = noisy_vit(WIDE)
    x = torch.randn(2, 3, 24, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, seen = model(x, return_intermediates=True)
    colours = feature_colours(seen["z_1"], model.config.grid_shape)
    assert colours.flatten(0, 2).unique(dim=0).shape[0] == 30
