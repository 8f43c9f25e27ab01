"""Attention: one sum by hand, what leaves it unchanged, three bugs, a mask."""

import math

import torch
from torch import Tensor

from going_modular.teaching.cases.letters import only_letters, read_letters
from going_modular.teaching.exercises import Exercise

__all__ = ["EXERCISES"]


def heads_side_by_side(q, k, v, num_heads, divisor=None):
    q, k, v = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q, k, v))
    divisor = divisor or q.shape[-1] ** 0.5
    sa = (q @ k.transpose(-2, -1) / divisor).softmax(dim=-1) @ v  # (B, nh, T, dh)
    return sa.transpose(1, 2).flatten(2)  # (B, T, D)


def random_tensors(*shape: int, seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(1.5 * torch.randn(3, *shape, generator=generator))


def head_cases() -> list[tuple]:
    return [
        (*random_tensors(2, 5, 12), 3),
        (*random_tensors(1, 7, 8, seed=1), 2),
        (*random_tensors(3, 4, 10, seed=2), 5),
    ]


def keeps_shape(function, q, k, v, *options) -> bool:
    return torch.as_tensor(function(q, k, v, *options)).shape == q.shape


def shares_sum_to_one(function, q, k, v, *options) -> bool:
    result = torch.as_tensor(function(q, k, torch.ones_like(v), *options))
    return torch.allclose(result.float(), torch.ones_like(v), atol=1e-4)


def heads_are_apart(function, q, k, v, num_heads) -> bool:
    """Whether the first head stays as it is when the others get other numbers."""
    dh = q.shape[-1] // num_heads
    others = (x.index_fill(-1, torch.arange(dh, x.shape[-1]), 0.5) for x in (q, k, v))
    before = torch.as_tensor(function(q, k, v, num_heads))[..., :dh]
    after = torch.as_tensor(function(*others, num_heads))[..., :dh]
    return torch.allclose(before, after, atol=1e-4)


def attend_to_others(q, k, v, divisor=None):
    scores = q @ k.transpose(-2, -1) / (divisor or q.shape[-1] ** 0.5)  # (..., T, T)
    own = torch.eye(q.shape[-2], dtype=torch.bool)
    return scores.masked_fill(own, -math.inf).softmax(dim=-1) @ v


def shared_out_evenly(q, k, v):
    A = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(dim=-1)  # (..., T, T)
    own, others = A.diagonal(dim1=-2, dim2=-1), 1 - torch.eye(q.shape[-2])
    return (A + own[..., None] / (q.shape[-2] - 1)) * others @ v


def mask_cases() -> list[tuple]:
    shapes = [(2, 3, 5, 4), (6, 3), (1, 2, 2, 4), (4, 7, 2)]
    return [random_tensors(*shape, seed=seed) for seed, shape in enumerate(shapes)]


def gives_numbers(function, q, k, v) -> bool:
    return bool(torch.as_tensor(function(q, k, v)).isfinite().all())


def own_value_stays_out(function, q, k, v) -> bool:
    for token in range(v.shape[-2]):
        changed = v.index_fill(-2, torch.tensor([token]), 9.0)
        rows = (torch.as_tensor(function(q, k, x))[..., token, :] for x in (v, changed))
        if not torch.allclose(*rows, atol=1e-4):
            return False
    return True


def others_are_heard(function, q, k, v) -> bool:
    """Whether a changed value of any token reaches every other token."""
    before = torch.as_tensor(function(q, k, v))
    for token in range(v.shape[-2]):
        changed = v.index_fill(-2, torch.tensor([token]), 900.0)
        reached = (torch.as_tensor(function(q, k, changed)) != before).any(dim=-1)
        if reached.sum(dim=-1).min() < v.shape[-2] - 1:
            return False
    return True


EXERCISES = {
    "1": Exercise(
        answer=7,
        mistakes={
            "divide the dot products before the softmax": 815 / 83,
            "dot products are divided by the root of D_h, not by D_h": (
                (3**0.25 * 10 + 5) / (3**0.25 + 2)
            ),
            "that is the mean of the values: the three shares are not equal": 5,
            "that is the value of the winner alone: a softmax excludes nobody": 10,
            "the shares have to sum to one": 35,
            "scores are not yet shares: take e to the power of each": 10 * math.log(3),
            "those are dot products times values: two steps are missing": (
                40 * math.log(3)
            ),
            "a score of 0 does not mean a share of 0, and 5 is handed over, too": 6,
            "that is the share of the first key: what do the three hand over?": 0.6,
        },
        hints=(
            "Divide the dot products by the root of D_h first. What is left of 4 ln 3?",
            "e to the power of the three scores gives the shares, up to a factor.",
            "The shares are 3 : 1 : 1. Make them sum to one, then add up the values.",
        ),
        tolerance=2e-3,
    ),
    "2": Exercise(
        answer="acef",
        read=read_letters,
        laws=(
            only_letters("abcdefg", "bd"),
            (
                "in one of yours the scores stay the same, but do the values?",
                lambda letters: "d" not in letters,
            ),
            (
                "tokens have no order, but the numbers in a token do",
                lambda letters: "b" not in letters,
            ),
            (
                "in one of yours somebody is missing who had a share",
                lambda letters: "g" not in letters,
            ),
            (
                "one is missing: does attention know in which order the tokens come?",
                lambda letters: "a" in letters,
            ),
            (
                "one is missing: think of what LN removes",
                lambda letters: {"c", "f"} <= set(letters),
            ),
            (
                "one is missing: if there are two of each, what share has each copy?",
                lambda letters: letters == "acef",
            ),
        ),
        hints=(
            "Follow each change through LN first: what is left of it?",
            "z = toy_tokens(); then compare from_attention(changes['a'](z)) with "
            "from_attention(z), and so on.",
            "torch.allclose(left, right, atol=1e-4) says whether two tensors agree.",
        ),
    ),
    "3": Exercise(
        answer=heads_side_by_side,
        cases=head_cases,
        laws=(
            ("the result has the shape of q: (B, T, D)", keeps_shape),
            (
                "the shares that a query gives do not sum to one: over which axis does "
                "the softmax run?",
                shares_sum_to_one,
            ),
            (
                "what a head gives should come from its own part of q, k and v, and "
                "stand in its own part of the result: how are heads cut and joined?",
                heads_are_apart,
            ),
        ),
        mistakes={
            "one mistake is left: by the root of what are the scores divided?": (
                lambda q, k, v, n: heads_side_by_side(q, k, v, n, q.shape[-1] ** 0.5)
            ),
            "the scores are not divided by anything": (
                lambda q, k, v, n: heads_side_by_side(q, k, v, n, 1)
            ),
            "the scores are divided by D_h; its root is asked for": (
                lambda q, k, v, n: heads_side_by_side(q, k, v, n, q.shape[-1] // n)
            ),
            "the scores are divided by D, and it should be the root of D_h": (
                lambda q, k, v, n: heads_side_by_side(q, k, v, n, q.shape[-1])
            ),
            "queries and keys are exchanged: row i of A belongs to query i": (
                lambda q, k, v, n: heads_side_by_side(k, q, v, n)
            ),
        },
        hints=(
            "One mistake is in each of the last three lines.",
            "How wide is q after it has been cut? Which axis of the scores are the "
            "keys?",
            "Which axes has sa, and in which order must they be before the heads are "
            "joined?",
        ),
        tolerance=1e-4,
    ),
    "4": Exercise(
        answer=attend_to_others,
        cases=mask_cases,
        laws=(
            ("the result has the shape of v: (..., T, dh)", keeps_shape),
            (
                "some results are not numbers: has some token nobody left to look at?",
                gives_numbers,
            ),
            ("a token's own value still reaches its result", own_value_stays_out),
            (
                "the shares that are left do not sum to one: is a token shut out "
                "before the softmax, and does that run over the keys?",
                shares_sum_to_one,
            ),
            (
                "somebody is shut out who should be heard: only a token's own share is "
                "to go",
                others_are_heard,
            ),
        ),
        mistakes={
            "divide the scores by the root of the head's width": (
                lambda q, k, v: attend_to_others(q, k, v, 1)
            ),
            "divide the scores by the root of the width, not by the width": (
                lambda q, k, v: attend_to_others(q, k, v, q.shape[-1])
            ),
            "queries and keys are exchanged": lambda q, k, v: attend_to_others(k, q, v),
            "what a token gave to itself goes to the others in proportion, not in "
            "equal parts": shared_out_evenly,
            "all others get the same share: queries and keys have no say": (
                lambda q, k, v: (v.sum(-2, keepdim=True) - v) / (v.shape[-2] - 1)
            ),
        },
        hints=(
            "Which score becomes a share of exactly zero?",
            "torch.eye(T, dtype=torch.bool) is True where a token meets itself.",
            "scores.masked_fill(own, float('-inf')) comes before the softmax.",
        ),
        tolerance=1e-4,
    ),
}
