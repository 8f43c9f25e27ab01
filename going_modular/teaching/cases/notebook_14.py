"""Masked patches: a level, what is shown as it is, a share mended, gaps filled."""

import torch
import torch.nn.functional as F
from torch import Tensor

from going_modular.teaching.exercises import Exercise

__all__ = ["EXERCISES"]


def accuracy_of_corrupted(logits: Tensor, levels: Tensor, corrupted: Tensor) -> Tensor:
    return (logits.argmax(dim=-1) == levels)[corrupted].float().mean()


def of_all(logits: Tensor, levels: Tensor, corrupted: Tensor) -> Tensor:
    return (logits.argmax(dim=-1) == levels).float().mean()


def by_all(logits: Tensor, levels: Tensor, corrupted: Tensor) -> Tensor:
    return ((logits.argmax(dim=-1) == levels) & corrupted).float().mean()


def counted(logits: Tensor, levels: Tensor, corrupted: Tensor) -> Tensor:
    return ((logits.argmax(dim=-1) == levels) & corrupted).sum()


def of_the_others(logits: Tensor, levels: Tensor, corrupted: Tensor) -> Tensor:
    return accuracy_of_corrupted(logits, levels, ~corrupted)


def by_image(logits: Tensor, levels: Tensor, corrupted: Tensor) -> Tensor:
    """Each image's share first: another number where they have not as many."""
    images = zip(logits, levels, corrupted, strict=True)
    return torch.stack([accuracy_of_corrupted(*image) for image in images]).mean()


def accuracy_cases() -> list[tuple]:
    cases = []
    for seed, (B, N) in enumerate(((2, 12), (3, 9), (4, 10))):
        stream = torch.Generator().manual_seed(seed)
        logits = torch.randn(B, N, 8, generator=stream)
        levels = torch.randint(8, (B, N), generator=stream)
        told = torch.rand(B, N, generator=stream) < 0.6  # the model is often right
        guesses = torch.where(told, levels, torch.randint(8, (B, N), generator=stream))
        logits.scatter_(2, guesses[..., None], 5.0)
        corrupted = torch.zeros(B, N, dtype=torch.bool)
        for row in range(B):  # not as many in each
            corrupted[row, : 3 + 2 * row] = True
        cases.append((logits, levels, corrupted))
    return cases


def fill(means: Tensor, hidden: Tensor) -> Tensor:
    seen = F.pad((~hidden).float(), (1, 1))  # (rows, columns + 2)
    values = F.pad(means, (1, 1)) * seen
    total = values[:, :-2] + values[:, 2:]  # (rows, columns)
    count = seen[:, :-2] + seen[:, 2:]
    return torch.where(hidden, total / count.clamp(min=1), means)


def fill_by_two(means: Tensor, hidden: Tensor) -> Tensor:
    values = F.pad(means * ~hidden, (1, 1))
    return torch.where(hidden, (values[:, :-2] + values[:, 2:]) / 2, means)


def fill_seeing_all(means: Tensor, hidden: Tensor) -> Tensor:
    return torch.where(hidden, fill_everywhere(means, torch.zeros_like(hidden)), means)


def fill_everywhere(means: Tensor, hidden: Tensor) -> Tensor:
    seen = F.pad((~hidden).float(), (1, 1))
    values = F.pad(means, (1, 1)) * seen
    count = seen[:, :-2] + seen[:, 2:]
    return (values[:, :-2] + values[:, 2:]) / count.clamp(min=1)


def fill_around(means: Tensor, hidden: Tensor) -> Tensor:
    seen = (~hidden).float()
    values = means * seen
    total = values.roll(1, 1) + values.roll(-1, 1)
    count = seen.roll(1, 1) + seen.roll(-1, 1)
    return torch.where(hidden, total / count.clamp(min=1), means)


def fill_upright(means: Tensor, hidden: Tensor) -> Tensor:
    return fill(means.T, hidden.T).T


def fill_cases() -> list[tuple]:
    cases = []
    for seed, shape in enumerate(((3, 5), (4, 4), (2, 7), (1, 3))):
        stream = torch.Generator().manual_seed(seed)
        means = 10 + 200 * torch.rand(shape, generator=stream)
        hidden = torch.rand(shape, generator=stream) < 0.5
        hidden[0, :2] = True  # at the edge, with nothing to see beside it
        cases.append((means, hidden))
    return cases


EXERCISES = {
    "1": Exercise(
        answer=4,
        mistakes={
            "that is the mean brightness; its level is asked for": 140,
            "levels are counted from 0": 5,
            "a level is a whole number: the rest is cut off": 4.375,
            "that is how many levels there are": 8,
            "there are 8 levels of 32 values each, so divide by 256 and not by 255": (
                140 * 8 / 255
            ),
        },
        hints=(
            "What is the mean of the four?",
            "Each level covers 32 of the 256 values: 0 to 31 is level 0.",
        ),
    ),
    "2": Exercise(
        answer=25 / 49 + 24 / 49 * 0.1 + 24 / 49 * 0.1 / 49,
        tolerance=0.01,
        mistakes={
            "among the corrupted, a tenth is left as it is, too": 25 / 49,
            "that is the share of the corrupted that are left alone": 0.1,
            "the patches that are not corrupted are shown as they are, too": (
                0.1 * 24 / 49
            ),
            "that is the share of the mask": 0.8 * 24 / 49,
            "a patch replaced by another is not shown as it is": 25 / 49
            + 0.2 * 24 / 49,
            "a share from 0 to 1 is asked for": 56,
        },
        hints=(
            "How many of the 49 patches are not corrupted at all?",
            "Of the other 24, a tenth is left alone.",
            "(25 + 2.4) / 49.",
        ),
    ),
    "3": Exercise(
        answer=accuracy_of_corrupted,
        cases=accuracy_cases,
        tolerance=1e-4,
        mistakes={
            "one mistake is left: those that are not corrupted count as wrong": by_all,
            "only the corrupted patches are to count": of_all,
            "a share is asked for, not a number": counted,
            "those are the patches that are not corrupted": of_the_others,
            "every corrupted patch counts the same, whatever its image": by_image,
        },
        hints=(
            "logits are (B, N, 8): which axis holds the eight levels?",
            "By how many patches does .mean() divide?",
            "A tensor of bools picks entries: right[corrupted] holds those.",
        ),
    ),
    "4": Exercise(
        answer=fill,
        cases=fill_cases,
        tolerance=1e-4,
        mistakes={
            "where one neighbour is seen, the mean of it is itself, not half": (
                fill_by_two
            ),
            "a hidden patch does not know its hidden neighbours": fill_seeing_all,
            "patches that are not hidden keep their own brightness": fill_everywhere,
            "the picture does not go on at the other edge": fill_around,
            "those are the neighbours above and below": fill_upright,
        },
        hints=(
            "Add up what is seen at the left and at the right, and count how many "
            "are seen.",
            "F.pad(x, (1, 1)) adds a column of zeros on either side.",
            "total / count.clamp(min=1) is 0 where nothing is seen.",
        ),
    ),
}
