"""Learned structure: a distance, a block's MLP, a lens mended, similarity by steps."""

import functools

import torch
from torch import Tensor, nn

from going_modular.config import ViTConfig
from going_modular.data_setup import load_builtin, normalise
from going_modular.pretrained import from_pretrained
from going_modular.teaching.exercises import Exercise
from going_modular.vit import ViT

__all__ = ["EXERCISES"]


@functools.cache
@torch.no_grad()
def accuracies() -> dict[int, float]:
    """Of the built-in model on 200 test images, without the MLP of each block."""
    model = from_pretrained("built-in", quiet=True).eval()
    test = load_builtin()[1].subset(slice(3, None, 10))
    found = {}
    for left_out in range(1, 7):
        z = model.patch_embedding(normalise(test.images))  # (200, T, D)
        for number, block in enumerate(model.encoder.blocks, start=1):
            z = block.msa_block(z)
            if number != left_out:
                z = block.mlp_block(z)
        guesses = model.head(model.layer_norm(z[:, 0])).argmax(dim=1)  # (200,)
        found[left_out] = (guesses == test.labels).float().mean().item()
    return found


def small_model(seed: int, **sizes) -> ViT:
    """A tiny model whose every weight differs from every other."""
    generator = torch.Generator().manual_seed(seed)
    sizes = dict(image_size=8, patch_size=4, depth=1, num_heads=2, mlp_size=8) | sizes
    model = ViT(ViTConfig(**sizes)).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter.requires_grad_(False), generator=generator)
    return model


def lens_of_class(model: ViT, z: Tensor) -> Tensor:
    return model.head(model.layer_norm(z[:, 0]))


def lens_cases() -> list[tuple]:
    generator = torch.Generator().manual_seed(1)
    cases = []
    for seed, (B, T, D, K) in enumerate(((2, 5, 6, 3), (1, 5, 4, 7), (3, 7, 8, 2))):
        model = small_model(seed, embedding_dim=D, num_classes=K)
        cases.append((model, 3 * torch.randn(B, T, D, generator=generator) + 1))
    return cases


def mean_of_normalised(model: ViT, z: Tensor) -> Tensor:
    return model.head(model.layer_norm(z).mean(dim=1))


def normalised_mean(model: ViT, z: Tensor) -> Tensor:
    return model.head(model.layer_norm(z.mean(dim=1)))


def at_step(cosines: Tensor, step: int) -> Tensor:
    rows, columns = cosines.shape[:2]
    pairs = [
        cosines[row, column, row, column + step]
        for row in range(rows)
        for column in range(columns - step)
    ]
    return torch.stack(pairs).mean()


def wrapped(cosines: Tensor, step: int) -> Tensor:
    rows, columns = cosines.shape[:2]
    pairs = [
        cosines[row, column, row, (column + step) % columns]
        for row in range(rows)
        for column in range(columns)
    ]
    return torch.stack(pairs).mean()


def summed(cosines: Tensor, step: int) -> Tensor:
    rows, columns = cosines.shape[:2]
    return at_step(cosines, step) * rows * (columns - step)


def any_row(cosines: Tensor, step: int) -> Tensor:
    columns = cosines.shape[1]
    pairs = [cosines[:, c, :, c + step].flatten() for c in range(columns - step)]
    return torch.cat(pairs).mean()


def first_column(cosines: Tensor, step: int) -> Tensor:
    return torch.stack([row[0, i, step] for i, row in enumerate(cosines)]).mean()


def step_cases() -> list[tuple]:
    cases = []
    for seed, (R, C, step) in enumerate(((3, 5, 1), (4, 6, 2), (5, 4, 3), (2, 7, 4))):
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(R * C, 3, generator=generator)
        x = nn.functional.normalize(x, dim=1)
        cases.append(((x @ x.T).view(R, C, R, C), step))
    return cases


EXERCISES = {
    "1": Exercise(
        answer=40.0,
        mistakes={
            "the class token has no place: divide by what the patches get together": (
                20.0
            ),
            "that is how far the other patch is; the patch looks at itself, too": 80.0,
            "pixels are asked for, and a patch has 16 on each side": 2.5,
            "pixels are asked for, not patches, and the patch looks at itself, "
            "too": 5.0,
            "the distance is that of a bird, not of a taxi": 56.0,
            "the distance is a bird's, and the class token has no place": 28.0,
            "pixels are asked for, and the class token has no place": 1.25,
            "the distance to the other patch is a straight line: its square is the "
            "sum of two squares": 112.0,
        },
        hints=(
            "How far is the other patch, in a straight line, first in patches?",
            "The class token has no place. Which weights are left, and what are they "
            "when they sum to one?",
            "It is 5 patches of 16 pixels, with a weight of one half.",
        ),
        tolerance=1e-3,
    ),
    "2": Exercise(
        answer=None,
        laws=(
            (
                "the number of a block is asked for, from 1 to 6",
                lambda block: not isinstance(block, bool) and block in range(1, 7),
            ),
            (
                "there is another whose MLP is harder to do without: try all six",
                lambda block: accuracies()[int(block)] == min(accuracies().values()),
            ),
        ),
        hints=(
            "without_mlp(1) is the accuracy without the MLP of block 1.",
            "The hardest to do without leaves the lowest accuracy.",
        ),
    ),
    "3": Exercise(
        answer=lens_of_class,
        cases=lens_cases,
        mistakes={
            "both mistakes are still there": lambda model, z: model.head(z.mean(dim=1)),
            "one mistake is left: the head has learned to read tokens that LayerNorm "
            "normalised": lambda model, z: model.head(z[:, 0]),
            "one mistake is left: the head reads the class token, not a mean": (
                normalised_mean
            ),
            "one mistake is left: the head reads the class token, not the mean of "
            "all": mean_of_normalised,
            "those are the logits at every token, and one is asked for": (
                lambda model, z: model.head(model.layer_norm(z))
            ),
            "token 0 is the class token, not the last one": (
                lambda model, z: model.head(model.layer_norm(z[:, -1]))
            ),
            "logits are asked for, without a softmax": (
                lambda model, z: lens_of_class(model, z).softmax(dim=-1)
            ),
        },
        hints=(
            "Which token does the head of this model read?",
            "What does Equation 4 do before the head?",
        ),
        tolerance=1e-4,
    ),
    "4": Exercise(
        answer=at_step,
        cases=step_cases,
        mistakes={
            "those are places in the same column": (
                lambda c, step: (
                    at_step(c.permute(1, 0, 3, 2), step)
                    if step < len(c)
                    else torch.tensor(torch.nan)
                )
            ),
            "the picture does not go on at the left edge": wrapped,
            "a mean is asked for, not a sum": summed,
            "both places have to lie in the same row": any_row,
            "that takes only pairs that begin in the first column": first_column,
            "places have to be exactly `step` columns apart, not one": (
                lambda c, step: at_step(c, 1)
            ),
        },
        hints=(
            "cosines[row, a, row, b] compares columns a and b of one row.",
            "For how many columns a is there a column a + step?",
            "Two loops collect all pairs; torch.stack(pairs).mean() averages.",
        ),
    ),
}
