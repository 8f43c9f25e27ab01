"""The deletion test: what is removed is gone, and a true map gets the largest area."""

import numpy as np
import pytest
import torch
from test_vit import noisy_vit
from torch import Tensor

from going_modular.config import ViTConfig
from going_modular.inspection.deletion import (
    DeletionCurves,
    curve_area,
    deletion_test,
    probability_without,
)
from going_modular.teaching.toy import toy_config
from going_modular.variants.registers import ViTWithRegisters
from going_modular.vit import ViT

CONFIGS = [toy_config(depth=2), toy_config(image_size=(24, 40), depth=2)]
FILLS = [None, 0.0, -1.0]
REFUSED = (ValueError, RuntimeError)  # ours, or one of torch


def images_for(config: ViTConfig, count: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, *config.image_shape, generator=generator)


@pytest.fixture(params=CONFIGS, ids=["square", "wide"])
def model(request) -> ViT:
    return noisy_vit(request.param)


@pytest.fixture
def x(model) -> Tensor:
    return images_for(model.config)


CLASSES = torch.tensor([3, 8])
GENERATOR = torch.Generator().manual_seed(0)


def probabilities(logits: Tensor, classes: Tensor = CLASSES) -> list[float]:
    rows = torch.exp(logits) / torch.exp(logits).sum(1, keepdim=True)
    return [row[c].item() for row, c in zip(rows, classes, strict=True)]


# One removal.


@torch.no_grad()
def test_registers_stay_when_tokens_are_left_out():
    model = ViTWithRegisters(toy_config(depth=2), num_registers=3).eval()
    for parameter in model.parameters():
        parameter += 0.1 * torch.randn(parameter.shape, generator=GENERATOR)
    x, removed = images_for(model.config), torch.tensor([[0, 3], [2, 1]])
    z0, logits = model.patch_embedding(x), []
    T = z0.shape[1]
    for image in range(2):
        gone = [4 + n for n in removed[image].tolist()]
        z = z0[image, [n for n in range(T) if n not in gone]][None]
        for block in model.encoder.blocks:
            z = block(z)
        logits.append(model.head(model.layer_norm(z[:, 0])))
    expected = probabilities(torch.cat(logits))
    found = probability_without(model, x, removed, CLASSES)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("fill", FILLS)
@torch.no_grad()
def test_nothing_removed_gives_the_model_s_probability(model, x, fill):
    nothing = torch.empty(2, 0, dtype=torch.long)
    found = probability_without(model, x, nothing, CLASSES, fill)
    assert found.shape == (2,)
    assert found.tolist() == pytest.approx(probabilities(model(x)), rel=1e-5)


@torch.no_grad()
def test_tokens_left_out_are_a_shorter_sequence(model, x):
    removed = torch.tensor([[0, 7, 14], [9, 2, 3]])
    z0 = model.patch_embedding(x)
    logits = []
    for image in range(2):
        stay = [0]  # the class token
        stay += [1 + n for n in range(z0.shape[1] - 1) if n not in removed[image]]
        z = z0[image, stay][None]
        assert z.shape[1] == z0.shape[1] - 3
        for block in model.encoder.blocks:
            z = block(z)
        logits.append(model.head(model.layer_norm(z[:, 0])))
    expected = probabilities(torch.cat(logits))
    found = probability_without(model, x, removed, CLASSES)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    assert found.tolist() != pytest.approx(probabilities(model(x)), rel=1e-3)


@pytest.mark.parametrize("fill", [0.0, -1.0, 0.37])
@torch.no_grad()
def test_fill_paints_the_pixels_of_the_patches(model, x, fill):
    removed = torch.tensor([[0, 7, 14], [9, 2, 3]])
    columns = model.config.grid_shape[1]
    painted = x.clone()
    for image in range(2):
        for n in removed[image].tolist():
            top, left = 8 * (n // columns), 8 * (n % columns)
            painted[image, :, top : top + 8, left : left + 8] = fill
    found = probability_without(model, x, removed, CLASSES, fill)
    assert found.tolist() == pytest.approx(probabilities(model(painted)), rel=1e-5)
    assert found.tolist() != pytest.approx(probabilities(model(x)), rel=1e-3)


@torch.no_grad()
def test_all_removed_leaves_the_class_token_alone(model, x):
    N = model.config.num_patches
    everything = torch.stack([torch.arange(N), torch.arange(N).flip(0)])
    embedding = model.patch_embedding
    z = embedding.class_token + embedding.position_embedding[:, :1]
    for block in model.encoder.blocks:
        z = block(z)
    expected = probabilities(model.head(model.layer_norm(z[:, 0])).expand(2, -1))
    found = probability_without(model, x, everything, CLASSES)
    assert found.tolist() == pytest.approx(expected, rel=1e-5)
    grey = probability_without(model, x, everything, CLASSES, fill=0.0)
    expected = probabilities(model(torch.zeros_like(x)))
    assert grey.tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("fill", FILLS)
def test_order_of_the_removed_patches_does_not_matter(model, x, fill):
    removed = torch.tensor([[0, 7, 14], [9, 2, 3]])
    torch.testing.assert_close(
        probability_without(model, x, removed, CLASSES, fill),
        probability_without(model, x, removed.flip(1), CLASSES, fill),
    )


def test_images_and_parameters_are_untouched(model, x):
    copy = x.clone()
    for fill in FILLS:
        found = probability_without(model, x, torch.tensor([[1], [2]]), CLASSES, fill)
        assert not found.requires_grad
    assert torch.equal(x, copy)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_half_precision_gives_float32_probabilities(model, x):
    removed = torch.tensor([[1], [2]])
    exact = probability_without(model, x, removed, CLASSES)
    half = probability_without(model.bfloat16(), x.bfloat16(), removed, CLASSES)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, exact, atol=0.05, rtol=0.2)


def test_patch_that_is_removed_twice_is_refused(model, x):
    """Else images would lose different numbers of tokens, and get each other's."""
    with pytest.raises(REFUSED):
        probability_without(model, x, torch.tensor([[4, 4, 4], [0, 1, 2]]), CLASSES)


@pytest.mark.parametrize("patch", [-1, 25])
def test_patches_that_are_not_there_are_refused(model, x, patch):
    with pytest.raises(REFUSED):
        probability_without(model, x, torch.tensor([[0], [patch]]), CLASSES)


@pytest.mark.parametrize("classes", [[3], [3, 8, 1], [3, 10], [-1, 3]])
def test_classes_that_do_not_fit_are_refused(model, x, classes):
    with pytest.raises(REFUSED):
        probability_without(
            model, x, torch.tensor([[0], [1]]), torch.tensor(classes), fill=0.0
        )


def test_images_of_another_size_are_refused_as_by_the_model():
    model = noisy_vit(CONFIGS[1])
    x = torch.zeros(1, 3, 40, 24)
    with pytest.raises(ValueError, match=r"expected images of shape \(B, 3, 24, 40\)"):
        model(x)
    with pytest.raises(ValueError, match=r"expected images of shape \(B, 3, 24, 40\)"):
        probability_without(model, x, torch.tensor([[0]]), torch.tensor([0]))


# The curves.


class WeightedSum(torch.nn.Module):
    """In place of an encoder: the class token becomes a weighted sum of pixels."""

    def __init__(self, weights: Tensor):
        super().__init__()
        self.weights = weights

    def forward(self, z, intermediates=None):
        values = z[..., 0] * (z[..., 1:16] @ self.weights)  # pixel times weight
        out = torch.zeros_like(z[:, :1])
        out[:, 0, 0] = values.sum(1)
        return out


def model_of_patches(weights: Tensor) -> ViT:
    """A model of 3 x 5 pixels, each a patch; its logit of class 1 is their sum.

    Of a token the first number holds the pixel, the next 15 tell which patch it is.
    """
    model = ViT(
        ViTConfig(
            image_size=(3, 5), patch_size=1, in_channels=1, embedding_dim=16, depth=1,
            num_heads=1, mlp_size=1, num_classes=2,
        )
    )  # fmt: skip
    for parameter in model.parameters():
        parameter.requires_grad_(False).zero_()
    model.patch_embedding.projection.weight[0] = 1
    model.patch_embedding.position_embedding[0, 1:, 1:16] = torch.eye(15)
    model.encoder, model.layer_norm = WeightedSum(weights), torch.nn.Identity()
    model.head.weight[1, 0] = 1
    return model.eval()


def logistic(logit: float) -> float:
    return 1 / (1 + np.exp(-logit))


WEIGHTS = torch.tensor([5, -2, 0, 3, 1, -4, 2, 0.5, -1, 4, -3, -0.5, 1.5, -1.5, 2.5])


def test_curves_of_a_sum_over_patches_are_known():
    model, x = model_of_patches(WEIGHTS), torch.ones(1, 1, 3, 5)
    ones = torch.ones(1, dtype=torch.long)
    found = deletion_test(model, x, WEIGHTS.view(1, 3, 5), ones, steps=15, fill=0.0)
    assert found.shares.tolist() == pytest.approx([n / 15 for n in range(16)])
    ranked = sorted(WEIGHTS.tolist(), reverse=True)
    highest = [logistic(sum(ranked[n:])) for n in range(16)]
    lowest = [logistic(sum(ranked[: 15 - n])) for n in range(16)]
    assert found.highest[:, 0].tolist() == pytest.approx(highest, abs=1e-6)
    assert found.lowest[:, 0].tolist() == pytest.approx(lowest, abs=1e-6)
    area = sum(
        (lowest[n] - highest[n] + lowest[n + 1] - highest[n + 1]) / 30
        for n in range(15)
    )
    assert found.area == pytest.approx(area, abs=1e-6)


@pytest.mark.parametrize("fill", [None, 0.0])
def test_true_map_has_the_greatest_area_and_its_negative_the_smallest(fill):
    """Among the map of a model that looks at one patch only, and 20 random ones."""
    weights = 4.0 * torch.eye(15)[6]  # logit 4 if patch 6 is there, else 0
    model, x = model_of_patches(weights), torch.ones(1, 1, 3, 5)
    ones = torch.ones(1, dtype=torch.long)

    def area(scores: Tensor) -> float:
        return deletion_test(model, x, scores[None], ones, steps=15, fill=fill).area

    drop = logistic(4) - 0.5
    # At once against at the end: the curves differ by the drop but for half a step
    # at each end.
    assert area(weights) == pytest.approx(drop * 14 / 15, abs=1e-6)
    assert area(-weights) == pytest.approx(-drop * 14 / 15, abs=1e-6)
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        other = torch.rand(15, generator=generator)
        if other.argmax() == 6 or other.argmin() == 6:
            continue
        assert area(-weights) < area(other) < area(weights)


@pytest.mark.parametrize("fill", FILLS)
def test_curves_are_probabilities_of_ever_shorter_lists(model, x, fill):
    N = model.config.num_patches
    scores = torch.randn(2, N, generator=torch.Generator().manual_seed(3))
    found = deletion_test(model, x, scores, CLASSES, steps=4, fill=fill)
    counts = [round(N * step / 4) for step in range(5)]
    assert found.shares.tolist() == pytest.approx([n / N for n in counts])
    ranks = torch.from_numpy(np.argsort(scores.numpy(), axis=1, kind="stable"))
    for curve, order in ((found.lowest, ranks), (found.highest, ranks.flip(1))):
        assert curve.shape == (5, 2)
        for step, n in enumerate(counts):
            expected = probability_without(model, x, order[:, :n], CLASSES, fill)
            torch.testing.assert_close(curve[step], expected)


def test_all_curves_have_both_ends_in_common(model, x):
    scores = torch.randn(2, *model.config.grid_shape)
    found = deletion_test(model, x, scores, CLASSES)
    for end in (0, -1):
        for curve in (found.lowest, found.random):
            torch.testing.assert_close(curve[end], found.highest[end])


def test_scores_on_the_grid_and_in_a_row_are_the_same(model, x):
    scores = torch.randn(2, *model.config.grid_shape)
    on_grid = deletion_test(model, x, scores, CLASSES, steps=3)
    in_a_row = deletion_test(model, x, scores.flatten(1), CLASSES, steps=3)
    assert torch.equal(on_grid.highest, in_a_row.highest)
    assert torch.equal(on_grid.lowest, in_a_row.lowest)


def test_predicted_classes_are_watched_by_default(model, x):
    scores = torch.randn(2, *model.config.grid_shape)
    found = deletion_test(model, x, scores, steps=3)
    expected = deletion_test(model, x, scores, model(x).argmax(1), steps=3)
    assert torch.equal(found.highest, expected.highest)
    assert found.highest[0].tolist() == pytest.approx(
        model(x).softmax(1).amax(1).tolist(), rel=1e-5
    )


def test_random_order_depends_on_the_generator_alone(model, x):
    scores = torch.randn(2, *model.config.grid_shape)

    def curve(seed: int, scores: Tensor = scores) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return deletion_test(
            model, x, scores, CLASSES, steps=5, generator=generator
        ).random

    assert torch.equal(curve(1), curve(1))
    assert torch.equal(curve(1), curve(1, -scores))
    assert not torch.equal(curve(1), curve(2))


def test_random_order_is_drawn_anew_for_each_image():
    model, x = model_of_patches(4.0 * torch.eye(15)[6]), torch.ones(50, 1, 3, 5)
    ones = torch.ones(50, dtype=torch.long)
    found = deletion_test(
        model, x, torch.rand(50, 15), ones, steps=15,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    fell = (found.random > 0.75).sum(0)  # steps until patch 6 is gone
    assert fell.unique().numel() > 8
    assert 6 < fell.float().mean() < 10, "on average half way"


def test_order_that_the_map_gives_does_not_draw_random_numbers(model, x):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    scores = torch.zeros(2, *model.config.grid_shape)
    deletion_test(model, x, scores, CLASSES, steps=2, generator=generator)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("shape", [(2, 26), (2, 16), (1, 25), (3, 15), (2, 4, 4)])
def test_scores_of_other_shapes_are_refused(model, x, shape):
    if shape == (2, model.config.num_patches):
        pytest.skip("the shape of this model")
    with pytest.raises(REFUSED):
        deletion_test(model, x, torch.zeros(shape), CLASSES, fill=0.0)


def test_scores_that_are_no_numbers_are_refused(model, x):
    scores = torch.zeros(2, model.config.num_patches)
    scores[1, 3] = float("nan")
    with pytest.raises(REFUSED):
        deletion_test(model, x, scores, CLASSES)


# Areas.


@pytest.mark.parametrize(
    ("shares", "heights", "area"),
    [
        ([0, 1], [1, 1], 1.0),
        ([0, 1], [1, 0], 0.5),
        ([0, 0.25, 1], [0, 1, 1], 0.875),
        ([0, 0.5, 1], [0.2, -0.2, 0.2], 0.0),
    ],
)
def test_area_of_known_curves(shares, heights, area):
    found = curve_area(torch.tensor(shares).float(), torch.tensor(heights).float())
    assert found == pytest.approx(area, abs=1e-7)
    assert isinstance(found, float)


def test_areas_are_means_over_images():
    shares = torch.tensor([0, 0.5, 1])
    highest = torch.tensor([[1.0, 1.0], [0.0, 0.2], [0.0, 0.0]])
    lowest = torch.tensor([[1.0, 1.0], [0.6, 1.0], [0.0, 0.0]])
    random = torch.tensor([[1.0, 1.0], [0.3, 0.5], [0.0, 0.0]])
    curves = DeletionCurves(shares, highest=highest, lowest=lowest, random=random)
    # In the middle the gaps are .6 and .8, and .3 and .3; the triangles have half.
    assert curves.area == pytest.approx(0.35, abs=1e-7)
    assert curves.area_over_highest == pytest.approx(0.15, abs=1e-7)
