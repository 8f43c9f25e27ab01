"""Few-shot classification of frozen features in closed form, as in figure 4."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from going_modular.data_setup import Batches
from going_modular.engine import predict_logits
from going_modular.training.fast_path import for_prediction
from going_modular.vit import ViT

__all__ = ["RidgeClassifier", "choose_shots", "compute_features", "few_shot_accuracy"]

BIAS = 100.0  # a constant feature, large so that its weight is hardly held back
L2 = 2.0**10


def compute_features(
    model: ViT, batches: Batches, precision: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Run the frozen model over all batches, up to y of Equation 4.

    Args:
        model: Gives the features.
        batches: Of images.
        precision: torch.bfloat16 computes them as `training.fast_path` predicts.

    Returns:
        (n, D) features in float32 and (n,) labels, on the CPU.
    """
    half = precision != torch.float32
    frozen = for_prediction(model, precision) if half else model.eval()

    class Backbone(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return frozen.forward_features(x)  # (B, D)

    return predict_logits(Backbone(), batches)


def choose_shots(labels: Tensor, shots: int, seed: int = 0) -> Tensor:
    """Draw the same number of images of each class.

    Args:
        labels: (n,) classes.
        shots: Images of each class; all of a class that has no more.
        seed: Decides which.

    Returns:
        Their positions, class by class.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for label in labels.unique():
        members = torch.nonzero(labels == label).flatten()  # (n of this class,)
        order = torch.randperm(len(members), generator=generator)
        chosen.append(members[order[:shots]])
    return torch.cat(chosen)


@dataclass
class RidgeClassifier:
    """Linear scores of whitened features.

    Attributes:
        mean, std: (D,), of the features it was fitted to.
        weights: (D + 1, K), the last row for the constant feature.
    """

    mean: Tensor
    std: Tensor
    weights: Tensor

    @classmethod
    def fit(
        cls, features: Tensor, labels: Tensor, num_classes: int, l2: float = L2
    ) -> "RidgeClassifier":
        """Solve the ridge regression to targets of -1 and 1.

        W = (X^T X + l2 I)^-1 X^T Y, computed in double precision.

        Args:
            features: (n, D) features y of Equation 4.
            labels: (n,) classes.
            num_classes: K.
            l2: Weight of the squared norm of W.

        Source: ViT paper, section 4.1, "regularized least-squares regression
        problem"; whitening, constant and l2 as in the authors' big_vision.
        """
        mean = features.double().mean(dim=0)
        std = features.double().std(dim=0, correction=0) + 1e-5
        whitener = cls(mean, std, torch.empty(0))
        X = whitener.whiten(features)  # (n, D + 1)
        Y = 2.0 * F.one_hot(labels, num_classes).double() - 1  # (n, K)
        identity = torch.eye(X.shape[1], dtype=torch.float64)
        weights = torch.linalg.solve(X.T @ X + l2 * identity, X.T @ Y)  # (D + 1, K)
        return cls(mean, std, weights)

    def whiten(self, features: Tensor) -> Tensor:
        """Bring (n, D) features to mean 0, deviation 1, and add the constant."""
        whitened = (features.double() - self.mean) / self.std
        return F.pad(whitened, (0, 1), value=BIAS)  # (n, D + 1)

    def scores(self, features: Tensor) -> Tensor:
        """(n, K) scores; the greatest decides."""
        return self.whiten(features) @ self.weights  # (n, K)


def few_shot_accuracy(
    train: tuple[Tensor, Tensor],
    test: tuple[Tensor, Tensor],
    num_classes: int,
    shots: int,
    seed: int = 0,
) -> float:
    """Accuracy on test features after seeing a few labelled ones of each class.

    Args:
        train, test: (n, D) features and (n,) labels.
        num_classes: K.
        shots: Labelled images of each class.
        seed: Decides which.
    """
    (features, labels), (test_features, test_labels) = train, test
    chosen = choose_shots(labels, shots, seed)
    ridge = RidgeClassifier.fit(features[chosen], labels[chosen], num_classes)
    guesses = ridge.scores(test_features).argmax(dim=1)
    return (guesses == test_labels).double().mean().item()
