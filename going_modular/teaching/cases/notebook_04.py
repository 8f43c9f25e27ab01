"""The MLP: parameters counted, units predicted, a block mended, LN's scale absorbed."""

from contextlib import suppress

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm

from going_modular.teaching import scene
from going_modular.teaching.exercises import Exercise

__all__ = ["EXERCISES"]


def mlp_parameters(D, F, L):
    return L * (D * F + F + F * D + D)


def above_zero() -> set[str]:
    """The units that answer to the class token before attention."""
    hidden = scene.layer_norm(scene.z0()) @ scene.W_1 + scene.B_1
    return {n for n, h in zip(scene.UNITS, hidden[0], strict=True) if h > 0}


def read_names(answer):
    """Names in any collection, or in one string, as a sorted tuple."""
    if isinstance(answer, str):
        answer = answer.replace(",", " ").split()
    names = {str(name).strip().lower() for name in answer}
    return tuple(sorted(names))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def mlp_block(z_prime, W_1, b_1, W_2, b_2):
    u = layer_norm(z_prime, z_prime.shape[-1:])
    return gelu(u @ W_1 + b_1) @ W_2 + b_2 + z_prime


def block_cases() -> list[tuple]:
    cases = []
    for seed, (B, T, D, F) in enumerate([(1, 3, 4, 8), (2, 5, 6, 7), (3, 2, 5, 10)]):
        shapes = (D, F), (F,), (F, D), (D,)
        z_prime = 3 * torch.randn(B, T, D, generator=seeded(seed)) + 1
        weights = [torch.randn(s, generator=seeded(seed + 10)) for s in shapes]
        cases.append((z_prime, *weights))
    return cases


def tokens_stay_apart(f, z_prime, *weights) -> bool:
    """Whether a change of the last token of each image leaves the others alone."""
    changed = z_prime.clone()
    changed[:, -1] += torch.arange(z_prime.shape[-1]) ** 2
    before, after = (torch.as_tensor(f(z, *weights)) for z in (z_prime, changed))
    return torch.allclose(before[:, :-1], after[:, :-1], atol=1e-4)


def zero_layer_leaves_the_token(f, z_prime, W_1, b_1, W_2, b_2) -> bool:
    z = torch.as_tensor(f(z_prime, W_1, b_1, 0 * W_2, 0 * b_2))
    return torch.allclose(z, z_prime, atol=1e-4)


def update_ignores_scale(f, z_prime, *weights) -> bool:
    small, large = (torch.as_tensor(f(n * z_prime, *weights)) for n in (1, 8))
    return torch.allclose(large - 8 * z_prime, small - z_prime, atol=1e-3)


def last_bias_is_added_whole(f, z_prime, W_1, b_1, W_2, b_2) -> bool:
    """Nothing comes after the second layer: a bias of -5 lowers all numbers by 5."""
    low, high = (torch.as_tensor(f(z_prime, W_1, b_1, W_2, b)) for b in (b_2 - 5, b_2))
    return torch.allclose(low, high - 5, atol=1e-4)


def not_linear(f, z_prime, W_1, b_1, W_2, b_2) -> bool:
    """Large opposite biases before the GELU must not give opposite updates."""
    up, down, middle = (
        torch.as_tensor(f(z_prime, W_1, b_1 + n, W_2, b_2)) for n in (9, -9, 0)
    )
    return not torch.allclose(up + down, 2 * middle, atol=1e-2)


def same_shape(f, z_prime, *weights) -> bool:
    return torch.as_tensor(f(z_prime, *weights)).shape == z_prime.shape


def with_relu(z_prime, W_1, b_1, W_2, b_2):
    u = layer_norm(z_prime, z_prime.shape[-1:])
    return torch.relu(u @ W_1 + b_1) @ W_2 + b_2 + z_prime


def absorb(scale: Tensor, shift: Tensor, W_1: Tensor, b_1: Tensor):
    return scale[:, None] * W_1, shift @ W_1 + b_1


def read_pair(answer):
    """Two arrays of any kind as tensors."""
    with suppress(Exception):  # what cannot be read is judged as it is
        return tuple(torch.as_tensor(part).double() for part in answer)
    return answer


def absorb_cases() -> list[tuple]:
    sizes = [(4, 8), (3, 5), (6, 6), (5, 2)]
    return [
        tuple(
            torch.randint(-4, 5, shape, generator=seeded(10 * i + j)).float()
            for j, shape in enumerate([(D,), (D,), (D, F), (F,)])
        )
        for i, (D, F) in enumerate(sizes)
    ]


def two_tensors(f, *weights) -> bool:
    W, b = f(*weights)
    return torch.as_tensor(W).ndim == 2 and torch.as_tensor(b).ndim >= 1


def shapes_stay(f, scale, shift, W_1, b_1) -> bool:
    W, b = (torch.as_tensor(part) for part in f(scale, shift, W_1, b_1))
    return W.shape == W_1.shape and b.shape == b_1.shape


def follows_the_token(f, scale, shift, W_1, b_1) -> bool:
    """Whether the matrix is right, whatever the bias is."""
    W, _ = f(scale, shift, W_1, b_1)
    u = torch.eye(len(W_1))
    return torch.allclose(u @ torch.as_tensor(W).float(), u * scale @ W_1, atol=1e-3)


def zero_in(f, scale, shift, W_1, b_1) -> bool:
    """Whether the bias is what LN and the layer make of nothing but zeros."""
    _, b = f(scale, shift, W_1, b_1)
    return torch.allclose(torch.as_tensor(b).float(), shift @ W_1 + b_1, atol=1e-3)


EXERCISES = {
    "1": Exercise(
        answer=mlp_parameters,
        cases=lambda: [
            (4, 8, 1),
            (192, 768, 12),
            (1280, 5120, 32),
            (1024, 2048, 8),
            (5, 7, 3),
        ],
        mistakes={
            "the biases are missing": lambda D, F, L: L * 2 * D * F,
            "that is one of the two layers": lambda D, F, L: L * (D * F + F),
            "that is the second layer alone": lambda D, F, L: L * (D * F + D),
            "every block has biases of its own": lambda D, F, L: 2 * D * F * L + F + D,
            "that is one block; how many are there": lambda D, F, L: 2 * D * F + F + D,
            "a layer has one bias for each of its outputs, not of its inputs and "
            "outputs": lambda D, F, L: L * 2 * (D * F + F + D),
            "the second layer has D outputs, so as many biases": lambda D, F, L: (
                L * (2 * D * F + 2 * F)
            ),
            "the first layer has F outputs, so as many biases": lambda D, F, L: (
                L * (2 * D * F + 2 * D)
            ),
            "use the F that is given: it is not always 4D": lambda D, F, L: (
                L * (8 * D * D + 5 * D)
            ),
            "the LayerNorms do not belong to the MLPs": lambda D, F, L: (
                L * (2 * D * F + F + 3 * D)
            ),
        },
        hints=(
            "How many weights does a linear layer from D numbers to F have?",
            "A linear layer has one bias for each number that it gives.",
            "One block: D * F + F for the first layer, F * D + D for the second.",
        ),
        tolerance=0,
    ),
    "2": Exercise(
        answer=None,
        read=read_names,
        laws=(
            (
                "answer with names of units, such as ['eye', 'fur']",
                lambda names: (
                    isinstance(names, tuple) and set(names) <= set(scene.UNITS)
                ),
            ),
            ("at least one unit is above zero: look again", lambda names: len(names)),
            (
                "those are the units after attention; here the token is z_0's",
                lambda names: set(names) != {"face", "eye", "nose", "class"},
            ),
            (
                "that is another token: the class token is the first row",
                lambda names: set(names) not in ({"face", "eye"}, {"face", "nose"}),
            ),
            (
                "the bias is missing: with it, only what is above 1 stays above zero",
                lambda names: len(names) < 5,
            ),
            (
                "not all of yours are above zero: exactly zero, or below, is not",
                lambda names: set(names) <= above_zero(),
            ),
            ("a unit is missing", lambda names: set(names) == above_zero()),
        ),
        hints=(
            "Look at before[0]: which of the four questions does it answer with yes?",
            "face adds spot and subtracts bright; then comes the bias of -1.",
            "hidden = scene.layer_norm(scene.z0()) @ scene.W_1 + scene.B_1, and then "
            "look at its first row.",
        ),
    ),
    "3": Exercise(
        answer=mlp_block,
        cases=block_cases,
        laws=(
            ("tokens go in as (B, T, D) and come out as (B, T, D)", same_shape),
            (
                "a change of one token moves others: over which axes is normalised?",
                tokens_stay_apart,
            ),
            (
                "with a second layer of zeros z should be z': what does the residual "
                "carry?",
                zero_layer_leaves_the_token,
            ),
            (
                "eight times the token should get the same update: is it normalised?",
                update_ignores_scale,
            ),
            (
                "the last bias should be added as it is: what comes after the second "
                "layer?",
                last_bias_is_added_whole,
            ),
            (
                "two linear layers with nothing between are one: where is the GELU?",
                not_linear,
            ),
        ),
        mistakes={
            "that is ReLU; the activation function asked for is GELU": with_relu,
        },
        hints=(
            "Which numbers may LN look at, if every token is worked on by itself?",
            "Put the three parts of u @ W_1 + b_1, GELU, @ W_2 + b_2 in their order.",
            "What does the + z' of Equation 3 add: the token, or the normalised token?",
        ),
        tolerance=1e-3,
    ),
    "4": Exercise(
        answer=absorb,
        cases=absorb_cases,
        read=read_pair,
        laws=(
            ("give two tensors, the matrix and the bias: return W, b", two_tensors),
            (
                "the new layer has the sizes of the old: W (D, F) and b (F,)",
                shapes_stay,
            ),
            (
                "the matrix is not right: a change of one of u's numbers should change "
                "the hidden units as it did before",
                follows_the_token,
            ),
            (
                "the bias is not right: what were the hidden units for a u of zeros?",
                zero_in,
            ),
        ),
        hints=(
            "Multiply the brackets out: (u * scale + shift) @ W_1 + b_1.",
            "The part with u in it gives the matrix. All else is the bias.",
            "u * scale @ W_1 is a sum over D: which row of W_1 meets which scale?",
        ),
        tolerance=1e-3,
    ),
}
