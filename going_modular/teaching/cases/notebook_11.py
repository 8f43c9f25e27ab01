"""Attention maps: rollout by hand, patches left out, a view mended, an area."""

import functools

import torch
from torch import Tensor

from going_modular.attention_maps import attention_rollout
from going_modular.data_setup import load_builtin, normalise
from going_modular.inspection.capture import capture
from going_modular.inspection.deletion import probability_without
from going_modular.pretrained import from_pretrained
from going_modular.teaching.exercises import Exercise

__all__ = ["EXERCISES"]


@functools.cache
def sneaker_by_count() -> tuple[float, ...]:
    """Probability of Sneaker without rollout's n highest patches, for n = 0 to 49."""
    model = from_pretrained("built-in", quiet=True).eval()
    x = normalise(load_builtin()[1].images[1400:1401])
    rolled = attention_rollout(capture(model, x).attention)[-1, 0, :1, 1:]  # (1, N)
    ranking, sneaker = rolled.argsort(descending=True), torch.tensor([7])
    return tuple(
        probability_without(model, x, ranking[:, :n], sneaker).item() for n in range(50)
    )


def first_below_half() -> int:
    return next(n for n, left in enumerate(sneaker_by_count()) if left < 0.5)


def looks_at(A: Tensor, row: int, column: int, columns: int) -> Tensor:
    return A[1 + row * columns + column, 1:]


def view_cases() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(2, 3, 0, 2), (3, 2, 2, 0), (4, 5, 3, 4), (3, 3, 0, 0), (2, 6, 1, 2)]
    return [
        (torch.rand(r * c + 1, r * c + 1, generator=generator), row, column, c)
        for r, c, row, column in sizes
    ]


def area_between(shares: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    return torch.trapezoid(lowest - highest, shares)


def area_cases() -> list[tuple]:
    return [
        (
            torch.tensor([0.0, 0.1, 0.4, 1.0]),
            torch.tensor([0.9, 0.9, 0.7, 0.2]),
            torch.tensor([0.9, 0.4, 0.3, 0.1]),
        ),
        (
            torch.tensor([0.0, 0.5, 1.0]),
            torch.tensor([0.8, 0.2, 0.1]),
            torch.tensor([0.8, 0.7, 0.1]),
        ),
        (
            torch.tensor([0.0, 0.2, 0.3, 0.9, 1.0]),
            torch.tensor([1.0, 0.9, 0.9, 0.3, 0.2]),
            torch.tensor([0.9, 0.5, 0.6, 0.2, 0.0]),
        ),
    ]


def no_shares(shares: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    return (lowest - highest).mean()


def stairs_left(shares: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    return (shares.diff() * (lowest - highest)[:-1]).sum()


def stairs_right(shares: Tensor, lowest: Tensor, highest: Tensor) -> Tensor:
    return (shares.diff() * (lowest - highest)[1:]).sum()


EXERCISES = {
    "1": Exercise(
        answer=0.5625,
        mistakes={
            "the residual connections are missing: each token also keeps itself": 0.75,
            "the product is the wrong way round: layer 2 looks at what layer 1 "
            "made": 0.625,
            "that is one way down, and there are more: layer 1 has looked, too": 0.25,
            "a way is missing: three lead from the class token down to the eye, and "
            "one of them through the background": 0.5,
            "a way is missing: the class token keeps half of itself, and that half "
            "had looked at the eye": 0.3125,
            "that is the share of the background": 0.1875,
            "rows have to sum to one again after the identity is added": 2.25,
            "a share, from 0 to 1, is asked for": 56.25,
        },
        hints=(
            "First write down what the class token takes in layer 2: how much from "
            "itself, from the eye and from the background? Halve A, and add a half "
            "for what it was.",
            "Each of these three held some eye after layer 1. How much?",
            "Multiply along each of the three ways down, and add.",
        ),
        tolerance=1e-4,
    ),
    "2": Exercise(
        answer=None,
        laws=(
            (
                "a whole number of patches is asked for, from 0 to 49",
                lambda n: not isinstance(n, bool) and int(n) == n and 0 <= n <= 49,
            ),
            (
                "the model is still sure of the sneaker: more have to go",
                lambda n: sneaker_by_count()[int(n)] < 0.5,
            ),
            (
                "it had fallen below one half before: fewer are enough",
                lambda n: n == first_below_half(),
            ),
        ),
        hints=(
            "sneaker_without(ranking[:3]) leaves out the three highest.",
            "Ask for every n from 0 on, and stop at the first that is below 0.5.",
        ),
    ),
    "3": Exercise(
        answer=looks_at,
        cases=view_cases,
        mistakes={
            "both mistakes are still there": (
                lambda A, row, column, columns: A[1:, row * columns + column]
            ),
            "one mistake is left: a column says who looks at the patch": (
                lambda A, row, column, columns: A[1:, 1 + row * columns + column]
            ),
            "one mistake is left: token 0 belongs to no patch": (
                lambda A, row, column, columns: A[row * columns + column, 1:]
            ),
            "the weight on the class token belongs to no patch: leave it out": (
                lambda A, row, column, columns: A[1 + row * columns + column]
            ),
            "patches are read row by row: a step down passes a row of patches": (
                lambda A, row, column, columns: A[
                    (1 + column * columns + row) % len(A), 1:
                ]
            ),
        },
        hints=(
            "Which token is the first patch?",
            "A[i, j] is how much token i looks at token j. Which of the two looks?",
        ),
    ),
    "4": Exercise(
        answer=area_between,
        cases=area_cases,
        mistakes={
            "that is the mean height: the steps are not equally wide": no_shares,
            "that is negative where the map is good: lowest minus highest": (
                lambda s, low, high: -area_between(s, low, high)
            ),
            "that is the area under one curve": (
                lambda s, low, high: torch.trapezoid(low, s)
            ),
            "that is the area under one curve, of the highest": (
                lambda s, low, high: torch.trapezoid(high, s)
            ),
            "between two points the curve is a slope, not a step": stairs_left,
            "between two points the curve is a slope and no step": stairs_right,
            "where the map is wrong the area counts as negative": (
                lambda s, low, high: torch.trapezoid((low - high).abs(), s)
            ),
            "the widths of the steps are in `shares`": (
                lambda s, low, high: torch.trapezoid(low - high)
            ),
        },
        hints=(
            "Between two points both curves are straight, and so is their distance.",
            "The area of one step is its width times the mean of the two distances.",
            "torch.trapezoid(heights, places) adds such steps up.",
        ),
    ),
}
