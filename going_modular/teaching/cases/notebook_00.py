"""Start here: tokens counted, a part painted over, a bug, a configuration."""

import functools

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


def read_rows(answer) -> list[int]:
    """Row numbers in any collection, or a single one."""
    if isinstance(answer, Tensor):
        answer = answer.tolist()
    rows = [answer] if isinstance(answer, int) else answer
    try:
        return sorted(set(map(int, rows)))
    except (TypeError, ValueError):
        return answer


def token_of(y, x, width, patch_size):
    return y // patch_size * (width // patch_size) + x // patch_size + 1


EXERCISES = {
    "1": Exercise(
        answer=301,
        mistakes={
            "those are the patches: one more token is not in the picture": 300,
            "a step from patch to patch is P pixels in both directions": 4800,
            "patches fill the area: multiply the two sides, do not add them": 35,
            "patches fill the area: multiply the two sides, do not add": 36,
            "colours make a patch longer; they do not make more patches": 901,
            "colours make a patch longer, and do not make more patches": 900,
            "that is the square picture of 224 pixels; this one is not square": 197,
            "those are pixels, and a token stands for a whole patch": 76_800,
            "those are pixels, and a token stands for a patch": 76_801,
        },
        hints=(
            "How many patches fit side by side, and how many one below the other?",
            "N = HW / P², and T is N and one more.",
        ),
        tolerance=0,
    ),
    "2": Exercise(
        answer=lambda: list(rows_that_change_the_guess()),
        read=read_rows,
        mistakes={
            "that is a good prediction from the figure, but did you run it?": [2],
            "at least one row changes it: try all seven": [],
            "rows are counted from 0, at the top": [4],
            "those are the rows of the shoe, but not all of them matter": [2, 3, 4],
            "not all of them change it: compare each guess with the first one": list(
                range(7)
            ),
        },
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
                lambda c: isinstance(c, ViTConfig),
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
                "leave the other fields as they are",
                lambda c: (c.mlp_size, c.dropout, c.gelu) == (3072, 0.0, "erf"),
            ),
        ),
        hints=(
            "25 tokens are 24 patches and a class token.",
            "Which patch side cuts 32 x 48 pixels into 24 squares?",
        ),
    ),
}
