"""Patch embedding: sizes counted, bags compared, a conversion mended, E_pos moved."""

import torch
from torch import Tensor

from going_modular.teaching.cases.letters import only_letters, read_letters
from going_modular.teaching.exercises import Exercise

__all__ = ["EXERCISES"]

N, T, PARAMETERS = 240, 241, 49_900


def read_three(answer):
    """Three numbers in a list, whatever they came in; None of anything else."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    numbers = torch.as_tensor([float(number) for number in answer])
    return numbers.tolist() if len(numbers) == 3 else None


def parameters_are_not(number: int):
    return lambda answer: answer[2] != number


def conv_to_linear(weight: Tensor) -> Tensor:
    return weight.permute(0, 2, 3, 1).flatten(1)


def kernels() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(1, 3, 2, 2), (4, 1, 3, 3), (5, 2, 4, 4), (3, 4, 2, 2)]
    return [
        (torch.randint(-9, 10, shape, generator=generator).float(),) for shape in shapes
    ]


def move_positions(position_embedding: Tensor, order: Tensor) -> Tensor:
    return torch.cat(
        [position_embedding[:, :1], position_embedding[:, 1:][:, order]], dim=1
    )


def shuffles() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    orders = [[2, 0, 3, 1], [1, 2, 0], [3, 4, 0, 1, 5, 2]]
    return [
        (
            torch.randint(-99, 100, (1, len(o) + 1, 3), generator=generator).float(),
            torch.tensor(o),
        )
        for o in orders
    ]


def has_same_shape(answer, position_embedding: Tensor, order: Tensor) -> bool:
    moved = torch.as_tensor(answer(position_embedding, order))
    return moved.shape == position_embedding.shape


def class_keeps_its_own(answer, position_embedding: Tensor, order: Tensor) -> bool:
    moved = torch.as_tensor(answer(position_embedding, order))
    return torch.equal(moved[:, 0], position_embedding[:, 0])


EXERCISES = {
    "1": Exercise(
        answer=[N, T, PARAMETERS],
        read=read_three,
        laws=(
            (
                "answer with a list of three numbers: patches, tokens, parameters",
                lambda answer: len(answer) == 3,
            ),
            (
                "colours, and the infrared, make a patch longer; they do not make more "
                "patches",
                lambda answer: answer[0] != 4 * N,
            ),
            (
                "a patch is P pixels wide and P pixels high: there are not so many",
                lambda answer: answer[0] != 8 * N,
            ),
            (
                "patches fill the picture: multiply rows by columns, do not add them",
                lambda answer: answer[0] != 32,
            ),
            (
                "the class token is a token, and no patch",
                lambda answer: answer[0] != T,
            ),
            (
                "the number of patches, N = HW / P², is not right",
                lambda answer: answer[0] == N,
            ),
            (
                "the number of tokens is not right: one token is no patch",
                lambda answer: answer[1] == T,
            ),
            (
                "D numbers are missing: E has a bias, the class token has a position",
                parameters_are_not(PARAMETERS - 100),
            ),
            (
                "2 D numbers are missing: count the class token and its position, too",
                parameters_are_not(PARAMETERS - 200),
            ),
            ("those are only E and its bias", parameters_are_not(25_700)),
            ("those are only the weights of E", parameters_are_not(25_600)),
            ("that is the projection without E_pos", parameters_are_not(25_800)),
            ("those are only the positions", parameters_are_not(24_100)),
            ("the pictures have four channels, not three", parameters_are_not(43_500)),
            ("the pictures have four channels, not one", parameters_are_not(30_700)),
            (
                "a patch has P pixels in both directions, so P · P · C numbers",
                parameters_are_not((8 * 4 + 1) * 100 + 100 + T * 100),
            ),
            (
                "E is one matrix for all patches: it does not grow with their number",
                lambda answer: answer[2] < 1_000_000,
            ),
            (
                "the number of parameters is not right: count E, its bias, the class "
                "token and the positions one by one",
                lambda answer: answer[2] == PARAMETERS,
            ),
        ),
        hints=(
            "How many rows of patches are there, and how many columns?",
            "Four things are learned: E, its bias, the class token, and E_pos. What is "
            "the shape of each?",
            "E has P · P · C rows and D columns, and E_pos has T rows and D columns. "
            "You can also build the class and count: sum(p.numel() for p in "
            "embedding.parameters()).",
        ),
        tolerance=0,
    ),
    "2": Exercise(
        answer="acf",
        read=read_letters,
        laws=(
            only_letters("abcdef", "be"),
            (
                "one of yours turns each patch over inside, and E reads the inside",
                lambda letters: not set(letters) & set("be"),
            ),
            (
                "one of yours moves by less than a patch, so other pixels meet in one",
                lambda letters: "d" not in letters,
            ),
            (
                "one is missing: 112 pixels are a whole number of patches",
                lambda letters: "a" in letters,
            ),
            (
                "one is missing: any order of the patches is the same bag",
                lambda letters: letters == "acf",
            ),
        ),
        hints=(
            "Take the # away from the line that shows all six.",
            "Ask of each: does it only move whole patches, or does it also change what "
            "is in them?",
            'same_bag(pictures["a"]) tries one of them.',
        ),
    ),
    "3": Exercise(
        answer=conv_to_linear,
        cases=kernels,
        mistakes={
            "the mistake is still there: which axis did the rows of a patch become": (
                lambda w: w.permute(0, 3, 2, 1).flatten(1)
            ),
            "that leaves the channel slowest, as unfold does; it should vary fastest": (
                lambda w: w.flatten(1)
            ),
            "the channel is slowest, and rows and columns are exchanged": (
                lambda w: w.transpose(2, 3).flatten(1)
            ),
            "the channel should come last, not between rows and columns": (
                lambda w: w.permute(0, 2, 1, 3).flatten(1)
            ),
            "nn.Linear keeps its weight as (D, P*P*C): that is E itself": (
                lambda w: w.permute(2, 3, 1, 0).flatten(0, 2)
            ),
            "the axes are in order; what is left is to flatten those behind D": (
                lambda w: w.permute(0, 2, 3, 1)
            ),
            "conv2d does not turn a filter around, so neither should you": (
                lambda w: w.flip(2, 3).permute(0, 2, 3, 1).flatten(1)
            ),
        },
        hints=(
            "Write the shape of the weight, with a letter for each axis, before and "
            "after transpose(1, 3).",
            "patchify goes row by row, pixel by pixel, and then through the channels: "
            "(D, rows, columns, C).",
            "permute(0, 2, 3, 1) makes (D, P, P, C) of (D, C, P, P), with the rows "
            "before the columns.",
        ),
        tolerance=0,
    ),
    "4": Exercise(
        answer=move_positions,
        cases=shuffles,
        laws=(
            (
                "E_pos has one row for each token, before and after: (1, T, D)",
                has_same_shape,
            ),
            (
                "the class token was not shuffled: its row stays in front",
                class_keeps_its_own,
            ),
        ),
        mistakes={
            "that is the inverse order: slot i holds the patch that was in order[i]": (
                lambda E_pos, order: move_positions(E_pos, order.argsort())
            ),
            "nothing has moved": lambda E_pos, order: E_pos,
            "the patches' rows begin behind the class token's": (
                lambda E_pos, order: torch.cat([E_pos[:, :1], E_pos[:, order]], dim=1)
            ),
            "the patches were shuffled, not turned around": (
                lambda E_pos, order: move_positions(
                    E_pos, torch.arange(len(order)).flip(0)
                )
            ),
        },
        hints=(
            "Treat the first row of E_pos and the other N rows separately.",
            "The patches went through x_p[:, order]. What do their rows go through?",
            "torch.cat([first, others[:, order]], dim=1), with the right `first` and "
            "`others`.",
        ),
        tolerance=0,
    ),
}
