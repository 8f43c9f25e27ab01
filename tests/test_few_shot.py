"""The closed form of figure 4 against other solvers, and how images are drawn."""

import pytest
import torch
from sklearn.linear_model import Ridge

from going_modular.data_setup import Batches, ImageSet
from going_modular.teaching.checks import check_close
from going_modular.teaching.toy import toy_config
from going_modular.transfer.few_shot import (
    RidgeClassifier,
    choose_shots,
    compute_features,
    few_shot_accuracy,
)
from going_modular.vit import ViT


def clusters(
    n: int, seed: int, spread: float = 0.5
) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 11) features around 3 centres, and (n,) labels."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, 11, generator=torch.Generator().manual_seed(9))
    labels = torch.arange(n) % 3
    noise = spread * torch.randn(n, 11, generator=generator)
    return centres[labels] * 3 + 7 + noise, labels


@pytest.mark.parametrize("n", [6, 60])  # fewer and more images than features
def test_ridge_agrees_with_scikit_learn(n):
    features, labels = clusters(n, seed=1)
    ridge = RidgeClassifier.fit(features, labels, 3, l2=5.0)
    whitened = (features - features.mean(0)) / (features.std(0, correction=0) + 1e-5)
    inputs = torch.cat([whitened, torch.full((n, 1), 100.0)], dim=1)
    targets = -torch.ones(n, 3)
    targets[torch.arange(n), labels] = 1
    oracle = Ridge(alpha=5.0, fit_intercept=False).fit(
        inputs.double(), targets.double()
    )
    check_close(ridge.scores(features), oracle.predict(inputs.double()), 1e-5)


def test_ridge_is_where_the_gradient_vanishes():
    features, labels = clusters(30, seed=2)
    ridge = RidgeClassifier.fit(features, labels, 3, l2=8.0)
    weights = ridge.weights.clone().requires_grad_()
    targets = 2 * torch.eye(3, dtype=torch.float64)[labels] - 1
    errors = ridge.whiten(features) @ weights - targets
    (errors.square().sum() + 8 * weights.square().sum()).backward()
    assert weights.grad.abs().max() < 1e-6


def test_scores_do_not_depend_on_the_scale_of_a_feature():
    features, labels = clusters(60, seed=3)
    scale = torch.linspace(0.1, 30, 11)
    plain = RidgeClassifier.fit(features, labels, 3).scores(features)
    scaled = RidgeClassifier.fit(features * scale, labels, 3).scores(features * scale)
    check_close(plain, scaled, 1e-3)


def test_shots_are_of_each_class_and_differ_by_seed():
    labels = torch.tensor([0] * 9 + [1] * 4 + [2] * 2)
    chosen = choose_shots(labels, 3, seed=0)
    assert labels[chosen].bincount().tolist() == [3, 3, 2]
    assert len(set(chosen.tolist())) == len(chosen)
    assert chosen.tolist() == choose_shots(labels, 3, seed=0).tolist()
    assert chosen.tolist() != choose_shots(labels, 3, seed=1).tolist()


def test_few_shot_accuracy_counts_test_images():
    train, test = clusters(90, seed=4), clusters(30, seed=5)
    assert few_shot_accuracy(train, test, 3, shots=5) == 1.0
    wrong = test[0], (test[1] + (torch.arange(30) < 6)) % 3
    assert few_shot_accuracy(train, wrong, 3, shots=5) == pytest.approx(24 / 30)


def test_features_are_y_of_equation_4():
    model = ViT(toy_config()).eval()
    images = torch.randint(256, (5, 3, 40, 40), dtype=torch.uint8)
    data = ImageSet(images, torch.arange(5), tuple("abcde"))
    features, labels = compute_features(model, Batches(data, 2))
    assert labels.tolist() == [0, 1, 2, 3, 4]
    expected = model.forward_features(images / 127.5 - 1)
    check_close(features, expected, 1e-5)
    assert not features.requires_grad
    half, _ = compute_features(model, Batches(data, 2), torch.bfloat16)
    assert half.dtype == torch.float32 and 0 < (half - features).abs().max() < 0.1
