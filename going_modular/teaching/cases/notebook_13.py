"""Design choices: when attention costs half, what a column tells, positions in 2-D."""

import torch
from torch import Tensor

from going_modular.teaching.exercises import Exercise

__all__ = ["EXERCISES"]


def positions_2d(row_codes: Tensor, column_codes: Tensor) -> Tensor:
    x = column_codes.repeat(len(row_codes), 1)
    y = row_codes.repeat_interleave(len(column_codes), dim=0)
    return torch.cat([x, y], dim=1)


def as_it_was(row_codes: Tensor, column_codes: Tensor) -> Tensor:
    x = column_codes.repeat_interleave(len(row_codes), dim=0)
    y = row_codes.repeat(len(column_codes), 1)
    return torch.cat([x, y], dim=1)


def halves_swapped(row_codes: Tensor, column_codes: Tensor) -> Tensor:
    found = positions_2d(row_codes, column_codes)
    half = found.shape[1] // 2
    return torch.cat([found[:, half:], found[:, :half]], dim=1)


def added(row_codes: Tensor, column_codes: Tensor) -> Tensor:
    found = positions_2d(row_codes, column_codes)
    half = found.shape[1] // 2
    return found[:, half:] + found[:, :half]


def code_cases() -> list[tuple]:
    cases = []
    for seed, (rows, columns, half) in enumerate(((3, 5, 2), (4, 2, 3), (3, 3, 4))):
        stream = torch.Generator().manual_seed(seed)
        cases.append(
            (
                torch.randn(rows, half, generator=stream),
                torch.randn(columns, half, generator=stream),
            )
        )
    return cases


def by_first_use(numbers: Tensor) -> Tensor:
    """The same numbers under other names: 0 for the one that comes first, and so on."""
    names = {}
    flat = [names.setdefault(int(n), len(names)) for n in numbers.flatten()]
    return torch.tensor(flat).view(numbers.shape)


def relative_numbers(rows: int, columns: int) -> Tensor:
    place = torch.arange(rows * columns)
    y, x = place // columns, place % columns
    dy = y[:, None] - y + rows - 1  # (N, N)
    dx = x[:, None] - x + columns - 1  # (N, N)
    return by_first_use(dy * (2 * columns - 1) + dx)


def in_sequence(rows: int, columns: int) -> Tensor:
    place = torch.arange(rows * columns)
    return by_first_use(place[:, None] - place)


def without_sign(rows: int, columns: int) -> Tensor:
    place = torch.arange(rows * columns)
    y, x = place // columns, place % columns
    dy, dx = (y[:, None] - y).abs(), (x[:, None] - x).abs()
    return by_first_use(dy * columns + dx)


def too_few(rows: int, columns: int) -> Tensor:
    """Two pairs may get one number where the factor is too small."""
    place = torch.arange(rows * columns)
    y, x = place // columns, place % columns
    dy, dx = y[:, None] - y + rows - 1, x[:, None] - x + columns - 1
    return by_first_use(dy * columns + dx)


def all_in_use(function, rows: int, columns: int) -> bool:
    numbers = torch.as_tensor(function(rows, columns)).unique()
    return numbers.tolist() == list(range(len(numbers)))


EXERCISES = {
    "1": Exercise(
        answer=1151,
        mistakes={
            "that many tokens; one of them is the class token": 1152,
            "the class token is one of the tokens, so there is a patch less": 1153,
            "that is the width: attention takes half where T = 6 D": 192,
            "that is one less than the width; T = 6 D is where both are equal": 191,
            "half is where T is as large as 6 D, and not twice": 2303,
        },
        hints=(
            "T / (6 D + T) is one half. What is T?",
            "T = 6 D = 1,152 tokens.",
            "One of the tokens is no patch.",
        ),
    ),
    "2": Exercise(
        answer=6,
        mistakes={
            "those are the patches of a row": 4,
            "that is both parts: the column part alone is asked for": 24,
            "the patch that has changed notices, too": 5,
            "after rows, and without the patch itself": 3,
        },
        hints=(
            "Which patches attend to each other in the column part?",
            "How many patches does a column have in a picture of 6 rows?",
        ),
    ),
    "3": Exercise(
        answer=positions_2d,
        cases=code_cases,
        mistakes={
            "the mistake is still there: from one patch to the next, is it the row or "
            "the column that changes?": as_it_was,
            "the codes of columns come first, as in the original": halves_swapped,
            "the two halves stand side by side; they are not added": added,
            "one of the two is still numbered column by column": (
                lambda r, c: torch.cat(
                    [c.repeat(len(r), 1), r.repeat(len(c), 1)], dim=1
                )
            ),
        },
        hints=(
            "Write down row and column of the first four patches of a 2 x 3 grid.",
            "repeat writes a list again and again, repeat_interleave each entry.",
        ),
    ),
    "4": Exercise(
        answer=relative_numbers,
        cases=lambda: [(3, 3), (2, 4), (4, 2), (1, 5)],
        read=by_first_use,
        laws=(
            (
                "a tensor of shape (N, N) is asked for",
                lambda function, rows, columns: (
                    torch.as_tensor(function(rows, columns)).shape
                    == (rows * columns, rows * columns)
                ),
            ),
            (
                "every number from 0 on is to be in use, up to the last",
                all_in_use,
            ),
        ),
        mistakes={
            "those are distances in the sequence: the last patch of a row and the "
            "first of the next are no neighbours": in_sequence,
            "a step to the right and one to the left are two distances": without_sign,
            "some pairs with different distances get the same number": too_few,
        },
        hints=(
            "What are row and column of patch number i?",
            "Row distances go from -(rows - 1) to rows - 1: make them start at 0.",
            "Number the pairs of distances as patches are numbered, row by row.",
        ),
    ),
}
