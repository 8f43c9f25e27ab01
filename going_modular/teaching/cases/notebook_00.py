"""Start here: tokens counted, a part painted over, a bug, a configuration."""

import functools
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from going_modular.config import ViTConfig
from going_modular.data_setup import load_builtin, normalise
from going_modular.pretrained import from_pretrained
from going_modular.teaching.exercises import Exercise

__all__ = ["EXERCISES"]


@functools.cache
def rows_that_change_the_guess() -> tuple[int, ...]:
    """Of the sneaker's seven rows of patches, painted black one at a time."""
    model = from_pretrained("built-in", quiet=True).eval()
    picture = load_builtin()[1].images[1400]
    covered = picture.repeat(8, 1, 1, 1)  # (8, 1, 28, 28), the last one whole
    for row in range(7):
        covered[row, :, 4 * row : 4 * row + 4] = 0
    with torch.no_grad():
        *guesses, whole = model(normalise(covered)).argmax(dim=1).tolist()
    return tuple(row for row, guess in enumerate(guesses) if guess != whole)


def changing() -> set[int]:
    return set(rows_that_change_the_guess())


def read_rows(answer):
    """Row numbers in any collection, or a single one, as a sorted list."""
    if isinstance(answer, Tensor):
        answer = answer.tolist()
    rows = np.atleast_1d(list(answer) if isinstance(answer, set) else answer)
    if rows.dtype.kind not in "iuf" or rows.ndim != 1 or (rows % 1).any():
        return None
    return sorted(set(rows.astype(int).tolist()))


def others_are_defaults(config) -> bool:
    asked = "image_size patch_size embedding_dim num_heads depth num_classes".split()
    defaults = asdict(ViTConfig())
    return all(
        value == defaults[name]
        for name, value in asdict(config).items()
        if name not in asked
    )


def token_of(y, x, width, patch_size):
    return y // patch_size * (width // patch_size) + x // patch_size + 1


EXERCISES = {
    "1": Exercise(
        answer=301,
        mistakes={
            "that is the number of patches; one token stands for no patch": 300,
            "a step from patch to patch is P pixels in both directions": 4800,
            "a patch is P pixels wide and P pixels high": 4801,
            "that is the square picture of 224 pixels, without the class token": 196,
            "patches fill the area: multiply the two sides, do not add them": 35,
            "patches fill the area: multiply the two sides, do not add": 36,
            "colours make a patch longer; they do not make more patches": 901,
            "colours make a patch longer, and do not make more patches": 900,
            "that is the square picture of 224 pixels; this one is not square": 197,
            "those are pixels, and a token stands for a whole patch": 76_800,
            "those are pixels, and a token stands for a patch": 76_801,
            "those are the pixels of all colours; count patches": 230_400,
            "those are the pixels of all colours, and one more": 230_401,
            "that is how many numbers a token has in ViT-B/16": 768,
        },
        hints=(
            "How many patches fit side by side, and how many one below the other?",
            "N = HW / P², and T is N and one more.",
        ),
        tolerance=0,
    ),
    "2": Exercise(
        answer=None,
        read=read_rows,
        laws=(
            (
                "give the numbers of rows, from 0 to 6, in a list",
                lambda rows: isinstance(rows, list) and set(rows) <= set(range(7)),
            ),
            (
                "at least one row changes the guess: try all seven",
                lambda rows: len(rows) > 0,
            ),
            (
                "those are the rows that do not change the guess",
                lambda rows: set(rows) != set(range(7)) - changing(),
            ),
            (
                "not every row in your list changes the guess: call guess_without for "
                "each, and compare with `guess`",
                lambda rows: set(rows) <= changing(),
            ),
            ("a row is missing: try all seven", lambda rows: changing() <= set(rows)),
        ),
        hints=(
            "Call guess_without(0), guess_without(1) and so on, and read the names.",
            "A list comprehension asks for all of them: keep a row when its guess is "
            "not the first guess.",
        ),
    ),
    "3": Exercise(
        answer=token_of,
        cases=lambda: [
            (0, 0, 64, 16),
            (17, 40, 96, 8),
            (39, 8, 48, 8),
            (5, 111, 112, 16),
            (223, 223, 224, 14),
        ],
        mistakes={
            "token 0 is the class token, so the first patch is token 1": (
                lambda y, x, w, p: token_of(y, x, w, p) - 1
            ),
            "one mistake is left: patches are read row by row, like text": (
                lambda y, x, w, p: x // p * (w // p) + y // p + 1
            ),
            "both mistakes are still there": (
                lambda y, x, w, p: x // p * (w // p) + y // p
            ),
            "a row holds width / patch_size patches, not width": (
                lambda y, x, w, p: y // p * w + x // p + 1
            ),
            "a token's number is whole: divide with //": (
                lambda y, x, w, p: y / p * (w / p) + x / p + 1
            ),
            "that counts pixels: first find the patch's row and column": (
                lambda y, x, w, p: y * w + x + 1
            ),
            "a patch is no run of P² pixels: find its row and its column": (
                lambda y, x, w, p: (y * w + x) // p**2 + 1
            ),
        },
        hints=(
            "Which token is the patch just right of the first one? And just below it?",
            "Moving down by one patch passes a whole row of patches.",
            "What has the number 0?",
        ),
        tolerance=0,
    ),
    "4": Exercise(
        answer=None,
        laws=(
            (
                "hand over a ViTConfig: config = ViTConfig(...)",
                lambda c: type(c).__name__ == "ViTConfig",  # or the notebook's own
            ),
            (
                "the image is 32 pixels high and 48 wide: (height, width)",
                lambda c: c.image_shape == (32, 48),
            ),
            ("the images have colours", lambda c: c.in_channels == 3),
            (
                "the number of tokens is not right: one of them is the class token, so "
                "how many patches are there, and which patch side gives as many?",
                lambda c: c.num_tokens == 25,
            ),
            (
                "each token should have 96 numbers: which field is the width?",
                lambda c: c.embedding_dim == 96,
            ),
            ("the number of heads is not right", lambda c: c.num_heads == 2),
            ("the number of blocks is not right", lambda c: c.depth == 6),
            ("the number of classes is not right", lambda c: c.num_classes == 7),
            (
                "leave mlp_size at its default, 3072",
                lambda c: c.mlp_size == ViTConfig().mlp_size,
            ),
            ("leave all other fields at their defaults", others_are_defaults),
        ),
        hints=(
            "25 tokens are 24 patches and a class token.",
            "Which patch side cuts 32 x 48 pixels into 24 squares?",
        ),
    ),
}
