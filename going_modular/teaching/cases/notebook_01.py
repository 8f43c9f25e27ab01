"""Data: steps counted, axes told apart, a normalisation mended, a stratified split."""

import math

import torch
from torch import Tensor

from going_modular.teaching.cases.letters import only_letters, read_letters
from going_modular.teaching.exercises import Exercise

__all__ = ["EXERCISES"]

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
PLANES = MEAN.view(3, 1, 1), STD.view(3, 1, 1)


def imagenet_normalise(images: Tensor) -> Tensor:
    mean, std = PLANES
    return (images / 255 - mean) / std


def normalise_cases() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 4, 3), (1, 3, 3, 3), (4, 3, 5, 3)]
    return [
        (torch.randint(256, shape, dtype=torch.uint8, generator=generator),)
        for shape in shapes
    ]


def held_out(labels: Tensor, share: float) -> Tensor:
    members = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    chosen = [m[: round(share * len(m))] for m in members]
    return torch.cat(chosen).sort().values


def split_cases() -> list[tuple]:
    mixed = [1, 1, 0, 1, 1, 1, 2, 1, 0, 2, 1, 0, 1, 2, 1, 0, 2, 1, 0, 2]
    return [
        (torch.tensor([1, 1, 0, 0]), 0.5),
        (torch.tensor(mixed), 0.2),
        (torch.tensor(mixed), 0.4),
        (torch.tensor([7, 3, 3, 7, 7, 3, 7, 7, 3, 3, 7, 3]), 0.25),
        (torch.tensor([2, 0, 2, 2, 0, 2, 2, 2, 2, 5]), 0.2),  # 1.4 of 7, 0.2 of 1
    ]


def first_of_all(labels: Tensor, share: float) -> Tensor:
    return torch.arange(round(share * len(labels)))


def last_of_each(labels: Tensor, share: float) -> Tensor:
    members = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    chosen = [m[len(m) - round(share * len(m)) :] for m in members]
    return torch.cat(chosen).sort().values


def not_sorted(labels: Tensor, share: float) -> Tensor:
    members = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    return torch.cat([m[: round(share * len(m))] for m in members])


def rounded_down(labels: Tensor, share: float) -> Tensor:
    members = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    return torch.cat([m[: int(share * len(m))] for m in members]).sort().values


def rounded_up(labels: Tensor, share: float) -> Tensor:
    members = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    chosen = [m[: math.ceil(share * len(m))] for m in members]
    return torch.cat(chosen).sort().values


def at_least_one(labels: Tensor, share: float) -> Tensor:
    members = [torch.nonzero(labels == label).flatten() for label in labels.unique()]
    chosen = [m[: max(1, round(share * len(m)))] for m in members]
    return torch.cat(chosen).sort().values


def training_part(labels: Tensor, share: float) -> Tensor:
    test = set(held_out(labels, share).tolist())
    return torch.tensor([i for i in range(len(labels)) if i not in test])


EXERCISES = {
    "1": Exercise(
        answer=90 * 313,
        mistakes={
            "round up within each epoch: each has a short batch of its own": 28_151,
            "a step is whole: the short batch of each epoch counts as one": (
                90 * 1_281_167 / 4096
            ),
            "the last batch of an epoch is shorter, but it is a step as well": 90 * 312,
            "those are the steps of one epoch": 313,
            "those are the full batches of one epoch": 312,
            "every epoch has a short batch of its own, and a step is whole": 28_150,
            "those are images, and a step sees a whole batch": 90 * 1_281_167,
        },
        hints=(
            "How many batches does one epoch have? The last one counts.",
            "Divide, round up, and only then multiply by the epochs.",
        ),
        tolerance=0,
    ),
    "2": Exercise(
        answer="ace",
        read=read_letters,
        laws=(
            only_letters("abcde", "bd"),
            (
                "in one of yours the cat lies on its side: rows became columns",
                lambda letters: "b" not in letters,
            ),
            (
                "one of yours does not move axes, it cuts the memory elsewhere",
                lambda letters: "d" not in letters,
            ),
            (
                "one is missing; wrong colours do not matter, only places do",
                lambda letters: "e" in letters,
            ),
            (
                "one is missing: other functions, too, can do what permute does",
                lambda letters: letters == "ace",
            ),
        ),
        hints=(
            "Take the # away from the line that shows all five.",
            "Ask of each: which axis of `square` became the channels, which the rows, "
            "which the columns?",
        ),
    ),
    "3": Exercise(
        answer=imagenet_normalise,
        cases=normalise_cases,
        mistakes={
            "the means are for pixels of 0 to 1, and these are bytes": (
                lambda x: (x - PLANES[0]) / PLANES[1]
            ),
            "one mistake is left: (3,) lines up with the width, not the channels": (
                lambda x: (x / 255 - MEAN) / STD
            ),
            "both mistakes are still there": lambda x: (x - MEAN) / STD,
            "one mistake is left: the deviations do not line up with the channels": (
                lambda x: (x / 255 - PLANES[0]) / STD
            ),
            "one mistake is left: the means do not line up with the channels": (
                lambda x: (x / 255 - MEAN) / PLANES[1]
            ),
            "by then the pixels are of 0 to 1, so the deviations stay as they are": (
                lambda x: (x / 255 - PLANES[0]) / (255 * PLANES[1])
            ),
            "the deviations, too, are for pixels of 0 to 1": (
                lambda x: (x - 255 * PLANES[0]) / PLANES[1]
            ),
            "the pixels have to be of 0 to 1 before the mean is subtracted": (
                lambda x: (x - PLANES[0]) / 255 / PLANES[1]
            ),
            "brackets: the difference is divided, not the mean alone": (
                lambda x: x / 255 - PLANES[0] / PLANES[1]
            ),
            "subtract the mean first, then divide": (
                lambda x: x / 255 / PLANES[1] - PLANES[0]
            ),
        },
        hints=(
            "What range do the means suggest for the pixels?",
            "Shapes are lined up from the last axis on. With which axis does (3,) line "
            "up?",
            "view(3, 1, 1) puts two axes behind the channels.",
        ),
    ),
    "4": Exercise(
        answer=held_out,
        cases=split_cases,
        mistakes={
            "that is a share of all images: take it of each class by itself": (
                first_of_all
            ),
            "of each class the first images are asked for, not the last": last_of_each,
            "the positions should come in ascending order": not_sorted,
            "a share is rounded to the nearest, not down": rounded_down,
            "a share is rounded to the nearest, not up": rounded_up,
            "a class of few images may have none in the test part": at_least_one,
            "those are the images for training": training_part,
        },
        hints=(
            "torch.nonzero(labels == label).flatten() gives the positions of a class.",
            "Collect a part of these for each class; what is left to do at the end?",
            "torch.cat joins the parts, and .sort().values brings them into order.",
        ),
        tolerance=0,
    ),
}
