"""Data: steps counted, axes told apart, a normalisation mended, a stratified split."""

import torch
from torch import Tensor

from going_modular.teaching.exercises import Exercise

__all__ = ["EXERCISES"]

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
PLANES = MEAN.view(3, 1, 1), STD.view(3, 1, 1)


def read_letters(answer):
    """Letters in any order, case and collection."""
    if isinstance(answer, str | list | tuple | set):
        letters = "".join(map(str, answer)).lower()
        return "".join(sorted({letter for letter in letters if letter.isalpha()}))
    return answer


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


def training_part(labels: Tensor, share: float) -> Tensor:
    test = set(held_out(labels, share).tolist())
    return torch.tensor([i for i in range(len(labels)) if i not in test])


EXERCISES = {
    "1": Exercise(
        answer=90 * 313,
        mistakes={
            "round up within each epoch: each has a short batch of its own": 28_152,
            "the last batch of an epoch is shorter, but it is a step as well": 90 * 312,
            "those are the steps of one epoch": 313,
            "those are images, and a step sees a whole batch": 90 * 1_281_167,
        },
        hints=(
            "How many batches does one epoch have? The last one counts.",
            "Divide, round up, and only then multiply by the epochs.",
        ),
        tolerance=0,
    ),
    "2": Exercise(
        answer="ade",
        read=read_letters,
        mistakes={
            "a picture in other colours counts, too": "de",
            "movedim and two transposes can do what permute does: look again": "a",
            "one that moves axes is missing: show all five": "ad",
            "one that moves axes is still missing: show all five": "ae",
            "in one of these rows and columns are exchanged: it lies on its side": (
                "acde"
            ),
            "reshape does not move axes, it cuts the memory elsewhere": "abde",
            "not all of them: show them beside `right`": "abcde",
        },
        hints=(
            "plots.plot_images([right, a, b, c, d, e]) shows them in a row.",
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
            "multiply the means by 255, or divide the pixels: not both scales": (
                lambda x: (x / 255 - PLANES[0]) / (255 * PLANES[1])
            ),
            "subtract the mean first, then divide": (
                lambda x: x / 255 / PLANES[1] - PLANES[0]
            ),
            "that lines up with the rows: the channels are the second axis": (
                lambda x: (
                    (x / 255 - MEAN.view(3, 1)) / STD.view(3, 1)
                    if x.shape[2] == 3
                    else None
                )
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
            "those are the images for training": training_part,
        },
        hints=(
            "torch.nonzero(labels == label).flatten() gives the positions of a class.",
            "Take the first round(share * count) of them, class by class, and sort at "
            "the end.",
        ),
        tolerance=0,
    ),
}
