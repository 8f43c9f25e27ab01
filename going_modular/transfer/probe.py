"""The best linear head on frozen features, as a solver finds it."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LinearProbe"]

# Weights of the squared norm, from strong to weak; each begins where the last ended.
PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
ITERATIONS = 100  # of the solver, for each


@dataclass
class LinearProbe:
    """A head on features, and how well it does.

    Attributes:
        weight: (K, D), and `bias` (K,): of a linear layer on the features as they are.
        penalty: Weight of the squared norm that the validation features chose.
        loss, accuracy: On the validation features, 0 to 1.
    """

    weight: Tensor
    bias: Tensor
    penalty: float
    loss: float
    accuracy: float

    @classmethod
    def fit(
        cls,
        train: tuple[Tensor, Tensor],
        val: tuple[Tensor, Tensor],
        num_classes: int,
    ) -> "LinearProbe":
        """Solve multinomial logistic regression on standardised features.

        Among some penalties it takes the one with the lowest cross-entropy on the
        validation features.

        Args:
            train, val: (n, D) features and (n,) labels.
            num_classes: K.
        """
        (features, labels), (val_features, val_labels) = train, val
        mean = features.double().mean(dim=0)  # (D,)
        std = features.double().std(dim=0, correction=0) + 1e-5  # (D,)
        X = (features - mean) / std  # (n, D)
        weight = torch.zeros(num_classes, X.shape[1], dtype=torch.float64)
        bias = torch.zeros(num_classes, dtype=torch.float64)
        best = None
        for penalty in PENALTIES:
            solve(X, labels, weight, bias, penalty)
            found = cls.on_features(weight, bias, mean, std)
            logits = F.linear(val_features.double(), *found)  # (n_val, K)
            loss = F.cross_entropy(logits, val_labels).item()
            right = (logits.argmax(dim=1) == val_labels).double().mean().item()
            if best is None or loss < best.loss:
                best = cls(*found, penalty, loss, right)
        return best

    @staticmethod
    def on_features(weight, bias, mean, std) -> tuple[Tensor, Tensor]:
        """A layer on standardised features as one on the features themselves."""
        weight = weight / std  # (K, D)
        return weight, bias - weight @ mean  # (K, D), (K,)

    def write_to(self, head: nn.Linear) -> None:
        """Give a model's head this probe's numbers."""
        with torch.no_grad():
            head.weight.copy_(self.weight)
            head.bias.copy_(self.bias)


def solve(
    X: Tensor, labels: Tensor, weight: Tensor, bias: Tensor, penalty: float
) -> None:
    """Bring (K, D) weight and (K,) bias to the least penalised cross-entropy."""
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    solver = torch.optim.LBFGS(
        parameters,
        max_iter=ITERATIONS,
        tolerance_grad=1e-6,
        line_search_fn="strong_wolfe",
    )

    def objective() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(F.linear(X, weight, bias), labels)
        loss = loss + penalty / 2 * weight.square().sum()
        loss.backward()
        return loss

    solver.step(objective)
    for parameter in parameters:
        parameter.requires_grad_(False)
