"""Pretrained weights: parameters counted, silent changes, a bug, a kernel turned."""

import torch
import torch.nn.functional as F
from torch import Tensor

from going_modular.teaching.cases.letters import only_letters, read_letters
from going_modular.teaching.exercises import Exercise

__all__ = ["EXERCISES"]

AT_224, D = 86_567_656, 768  # parameters of ViT-B/16 with 1000 classes, and its width


def lay_out(patches: Tensor, old: int) -> Tensor:
    return patches.mT.reshape(1, -1, old, old)  # (1, D, old, old)


def interpolate(grid: Tensor, new: int, **how) -> Tensor:
    how = dict(mode="bilinear", align_corners=True) | how
    return F.interpolate(grid, (new, new), **how).flatten(2).mT  # (1, N_new, D)


def resized(positions: Tensor, old: int, new: int, **how) -> Tensor:
    patches = interpolate(lay_out(positions[:, 1:], old), new, **how)
    return torch.cat([positions[:, :1], patches], dim=1)  # (1, T_new, D)


def without_moving_axes(positions: Tensor, old: int, new: int) -> Tensor:
    patches = interpolate(positions[:, 1:].reshape(1, -1, old, old), new)
    return torch.cat([positions[:, :1], patches], dim=1)  # (1, T_new, D)


def class_token_last(positions: Tensor, old: int, new: int) -> Tensor:
    return resized(positions, old, new).roll(-1, dims=1)


def both_mistakes(positions: Tensor, old: int, new: int) -> Tensor:
    return without_moving_axes(positions, old, new).roll(-1, dims=1)


def rows_as_columns(positions: Tensor, old: int, new: int) -> Tensor:
    grid = lay_out(positions[:, 1:], old).mT
    return torch.cat([positions[:, :1], interpolate(grid, new)], dim=1)


def as_a_list(positions: Tensor, old: int, new: int) -> Tensor:
    patches = F.interpolate(
        positions[:, 1:].mT, new * new, mode="linear", align_corners=True
    ).mT  # (1, N_new, D)
    return torch.cat([positions[:, :1], patches], dim=1)  # (1, T_new, D)


def without_class_token(positions: Tensor, old: int, new: int) -> Tensor:
    return resized(positions, old, new)[:, 1:]


def position_cases() -> list[tuple]:
    generator = torch.Generator().manual_seed(0)
    sizes = [(2, 3, 5), (3, 5, 4), (4, 2, 3), (3, 4, 1), (5, 7, 2)]
    return [
        (torch.randn(1, 1 + old * old, width, generator=generator), old, new)
        for old, new, width in sizes
    ]


def output_weight(kernel: Tensor) -> Tensor:
    return kernel.flatten(0, 1).T


def kernel_cases() -> list[tuple]:
    shapes = [(2, 3, 5), (3, 2, 4), (4, 1, 3), (2, 2, 4), (1, 4, 4)]
    return [(torch.arange(1.0, 1 + k * d * w).view(k, d, w),) for k, d, w in shapes]


EXERCISES = {
    "1": Exercise(
        answer=AT_224 + 380 * D,
        mistakes={
            "the old positions are replaced: only the difference is added": (
                AT_224 + 577 * D
            ),
            "the old positions are replaced, and the class token's stays": (
                AT_224 + 576 * D
            ),
            "the class token had a position before, and keeps it": AT_224 + 381 * D,
            "the class token's position stays": AT_224 + 379 * D,
            "a position is a vector of D numbers, not one number": AT_224 + 380,
            "one table of parameters does depend on the number of patches": AT_224,
            "only the positions grow; no other parameter knows the size": (
                round(AT_224 * (384 / 224) ** 2)
            ),
            "those are the numbers that come in addition": 380 * D,
            "those are the positions alone": 577 * D,
            "those are the positions of the patches alone": 576 * D,
            "the grid has two sides: the patches grow with the square": AT_224 + 10 * D,
        },
        hints=(
            "Which parameters have the number of tokens in their shape?",
            "How many patches have 224 pixels, and how many have 384?",
            "Each new patch needs a position of D = 768 numbers.",
        ),
        tolerance=0,
    ),
    "2": Exercise(
        answer="ade",
        read=read_letters,
        laws=(
            only_letters("abcdef", "bc"),
            (
                "those are the ones that are refused",
                lambda letters: letters != "bcf",
            ),
            (
                "in one of yours the file holds a block that the model lacks",
                lambda letters: "b" not in letters,
            ),
            (
                "in one of yours a patch has more pixels, so E has another shape",
                lambda letters: "c" not in letters,
            ),
            (
                "in one of yours the head has another layer",
                lambda letters: "f" not in letters,
            ),
            (
                "one is missing: how many patches has each picture, and does a shape "
                "know how they lie?",
                lambda letters: "d" in letters,
            ),
            (
                "one is missing: which fields add no parameter and change no shape?",
                lambda letters: letters == "ade",
            ),
        ),
        hints=(
            "print({letter: loads(change) for letter, change in candidates.items()})",
            "A load is refused when a name is missing, left over or of another shape.",
        ),
    ),
    "3": Exercise(
        answer=resized,
        cases=position_cases,
        mistakes={
            "both mistakes are still there": both_mistakes,
            "one mistake is left: the numbers of a patch lie side by side, so the "
            "grid mixes them with the places": without_moving_axes,
            "one mistake is left: where does the class token's position belong?": (
                class_token_last
            ),
            "the grid lies on its side: patches are numbered row by row": (
                rows_as_columns
            ),
            "that stretches the list; a place has a row and a column": as_a_list,
            "the class token's position is missing": without_class_token,
            "the corners should stay in the corners, as before": (
                lambda p, old, new: resized(p, old, new, align_corners=False)
            ),
            "bilinear interpolation is asked for": (
                lambda p, old, new: resized(p, old, new, mode="bicubic")
            ),
        },
        hints=(
            "Try it with D = 2, where every patch has the position (1, -1).",
            "interpolate wants (1, D, rows, columns). Which axis is D in patches?",
            "patches.mT exchanges the last two axes. And which token comes first?",
        ),
    ),
    "4": Exercise(
        answer=output_weight,
        cases=kernel_cases,
        mistakes={
            "nn.Linear keeps (out, in), and this is (in, out)": (
                lambda kernel: kernel.flatten(0, 1)
            ),
            "the columns should go head by head: one head's numbers side by side": (
                lambda kernel: kernel.transpose(0, 1).flatten(0, 1).T
            ),
            "that has the right shape, but reshape does not move the last axis to "
            "the front": lambda kernel: kernel.reshape(kernel.shape[-1], -1),
            "the output is the last axis of the kernel, not the first": (
                lambda kernel: kernel.flatten(1)
            ),
            "one matrix is asked for: the heads lie side by side in what comes in": (
                lambda kernel: kernel.mT
            ),
        },
        hints=(
            "Which two axes are what comes in, and which is what goes out?",
            "flatten(0, 1) makes one axis of the first two.",
            "What is left is a matrix (in, out).",
        ),
        tolerance=0,
    ),
}
