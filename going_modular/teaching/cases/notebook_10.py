"""Transfer: a head counted, negatives predicted, a standardisation, a small ridge."""

import numpy as np
import torch
from torch import Tensor

from going_modular.teaching.exercises import Exercise

__all__ = ["EXERCISES"]

D, K = 768, 37
SHARES = (0, 0.25, 0.5, 0.75, 1)


def read_shares(answer):
    """Shares in any collection, or a single one, as a sorted list."""
    if isinstance(answer, Tensor):
        answer = answer.tolist()
    shares = np.atleast_1d(list(answer) if isinstance(answer, set | dict) else answer)
    if shares.dtype.kind not in "iuf" or shares.ndim != 1:
        return None
    return sorted(set(shares.astype(float).tolist()))


def standardise(known: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    mean, std = known.mean(dim=0), known.std(dim=0, correction=0)
    return (known - mean) / std, (new - mean) / std


def by(known: Tensor, new: Tensor, dim=None, own=False, **how):
    """As `standardise`, along another axis or with each set's own figures."""
    how = {"correction": 0} | how
    keep = {} if dim is None else dict(dim=dim, keepdim=True)

    def figures(data):
        return data.mean(**keep), data.std(**how, **keep)

    (mean, std), (mean_new, std_new) = figures(known), figures(new if own else known)
    return (known - mean) / std, (new - mean_new) / std_new


def of_all_pictures(known: Tensor, new: Tensor):
    both = torch.cat([known, new])
    mean, std = both.mean(dim=0), both.std(dim=0, correction=0)
    return (known - mean) / std, (new - mean) / std


def read_pair(answer):
    return list(answer) if isinstance(answer, tuple) else answer


def feature_cases() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([1.0, 10.0, 0.1, 3.0])
    cases = []
    for n, m, width in ((5, 4, 3), (6, 6, 4), (8, 3, 2), (4, 5, 4)):
        known = torch.randn(n, width, generator=generator) * scale[:width] + 2
        new = torch.randn(m, width, generator=generator) * 2 * scale[:width] - 1
        cases.append((known, new))
    return cases


def small_ridge(X: Tensor, Y: Tensor, l2: float) -> Tensor:
    identity = torch.eye(len(X), dtype=X.dtype)
    return X.T @ torch.linalg.solve(X @ X.T + l2 * identity, Y)


def ridge_cases() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(2, 4, 1, 2.0), (3, 7, 2, 0.5), (5, 5, 3, 1.0), (6, 2, 2, 3.0)]
    return [
        (
            torch.randn(n, d, generator=generator, dtype=torch.float64),
            torch.randn(n, k, generator=generator, dtype=torch.float64),
            l2,
        )
        for n, d, k, l2 in sizes
    ]


EXERCISES = {
    "1": Exercise(
        answer=K * (D + 1),
        mistakes={
            "a linear layer has a bias, too: one number per class": K * D,
            "the bias has one number per class, not per feature": K * D + D,
            "a class more than there are": (K + 1) * (D + 1),
            "the weight has a row for each of the classes, not one for all": D + 1,
            "the bias has one number per class": K * D + 1,
            "those are the numbers of a head for the thousand classes": 1000 * (D + 1),
            "the body is frozen, so it does not learn": 85_798_656 + K * (D + 1),
            "the head reads the class token alone, not all tokens": (K * (197 * D + 1)),
            "that is the whole model with its old head": 86_567_656,
        },
        hints=(
            "Which layer is new, and what goes in and out of it?",
            "A linear layer has a weight (out, in) and a bias (out,).",
        ),
        tolerance=0,
    ),
    "2": Exercise(
        answer=None,
        read=read_shares,
        laws=(
            (
                "give shares out of 0, 0.25, 0.5, 0.75 and 1, in a list",
                lambda s: isinstance(s, list) and s != [] and set(s) <= set(SHARES),
            ),
            (
                "where half of the pictures are negatives, the averages of all digits "
                "are the same grey (Figure 3): try it",
                lambda shares: 0.5 not in shares,
            ),
            (
                "one of yours is a mixture, and no weighted sum serves both kinds: try "
                "it",
                lambda shares: not {0.25, 0.75} & set(shares),
            ),
            ("what about plain digits, with no negatives?", lambda s: 0 in s),
            (
                "one is missing: can a classifier turn the signs of its weights?",
                lambda shares: shares == [0, 1],
            ),
        ),
        hints=(
            "What would you do to the weights if you knew that every picture is a "
            "negative?",
            "[share for share in (0, 0.25, 0.5, 0.75, 1) if ...] asks all five.",
        ),
    ),
    "3": Exercise(
        answer=lambda known, new: read_pair(standardise(known, new)),
        read=read_pair,
        cases=feature_cases,
        laws=(
            (
                "return both sets, the labelled one first",
                lambda f, known, new: (
                    len(f(known, new)) == 2
                    and tuple(f(known, new)[0].shape) == tuple(known.shape)
                    and tuple(f(known, new)[1].shape) == tuple(new.shape)
                ),
            ),
        ),
        mistakes={
            "both mistakes are still there": (
                lambda known, new: read_pair(by(known, new, own=True))
            ),
            "one mistake is left: each feature has a mean and a deviation of its own": (
                lambda known, new: read_pair(by(known, new))
            ),
            "one mistake is left: new pictures are treated as the labelled ones were": (
                lambda known, new: read_pair(by(known, new, dim=0, own=True))
            ),
            "that is along the features of a picture, as LayerNorm does it": (
                lambda known, new: read_pair(by(known, new, dim=1, own=True))
            ),
            "the new pictures must not take part in the mean and the deviation": (
                lambda known, new: read_pair(of_all_pictures(known, new))
            ),
            "keep correction=0: the deviation divides by n": (
                lambda known, new: read_pair(by(known, new, dim=0, correction=1))
            ),
            "the new pictures have to be standardised as well": (
                lambda known, new: [standardise(known, new)[0], new]
            ),
        },
        hints=(
            "How many means should there be for D features?",
            "What would happen to one new picture that comes alone?",
            "Take mean and std of `known` along dim=0, and use them twice.",
        ),
    ),
    "4": Exercise(
        answer=small_ridge,
        cases=ridge_cases,
        laws=(
            (
                "the result should have the shape (D, K)",
                lambda f, X, Y, l2: (
                    tuple(f(X, Y, l2).shape) == (X.shape[1], Y.shape[1])
                ),
            ),
        ),
        mistakes={
            "the penalty is missing: lambda times the identity": (
                lambda X, Y, l2: X.T @ torch.linalg.pinv(X @ X.T) @ Y
            ),
            "lambda goes on the diagonal alone: times the identity": (
                lambda X, Y, l2: X.T @ torch.linalg.solve(X @ X.T + l2, Y)
            ),
            "lambda itself is asked for, not its square": (
                lambda X, Y, l2: small_ridge(X, Y, l2**2)
            ),
            "the penalty is added once, not once per picture": (
                lambda X, Y, l2: small_ridge(X, Y, l2 * len(X))
            ),
            "lambda is added, not taken away": lambda X, Y, l2: small_ridge(X, Y, -l2),
        },
        hints=(
            "Which shape has X @ X.T, and so which size has the identity?",
            "torch.linalg.solve(A, Y) is the inverse of A times Y.",
            "X.T comes in front, since W has a row for each feature.",
        ),
        tolerance=1e-4,
    ),
}
