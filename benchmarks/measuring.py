"""Work of a model by formula, the machine's own rate, and fair timing."""

import statistics
import time
from collections.abc import Callable

import torch

from going_modular.config import ViTConfig

__all__ = [
    "markdown_table",
    "matrix_products",
    "multiply_adds",
    "spread",
    "take_turns",
]

# Sides of the square matrices whose product shows what the machine can do.
SIDES = {"cpu": (1024, 2048, 3072), "cuda": (4096, 8192, 16384)}


def multiply_adds(c: ViTConfig) -> int:
    """Multiplications, each with its addition, of one image's forward pass.

    Only matrix products are counted, as usual. A training step takes three times as
    many: backward, each product has two, one for either factor.

    Source: the shapes in Equations 1 to 8 of the ViT paper. Six times these numbers
    and JFT's 303 million images give the exaFLOPs of its Table 6.
    """
    T, D, F = c.num_tokens, c.embedding_dim, c.mlp_size
    attention = T * 4 * D**2 + 2 * T**2 * D  # U_qkv and U_msa; q k^T and A v
    mlp = T * 2 * D * F
    hidden = c.representation_size
    head = (D + c.num_classes) * hidden if hidden else D * c.num_classes
    return c.num_patches * c.patch_dim * D + c.depth * (attention + mlp) + head


def matrix_products(
    device: torch.device, dtype: torch.dtype
) -> dict[int, Callable[[], object]]:
    """Calls of `torch.mm` on large square matrices, by their side."""

    def product(side: int) -> Callable[[], object]:
        a, b = torch.randn(2, side, side, device=device, dtype=dtype)
        return lambda: torch.mm(a, b)

    sides = SIDES["cuda" if device.type == "cuda" else "cpu"]
    return {side: product(side) for side in sides}


def seconds_for(call: Callable, device: torch.device, times: int = 1) -> float:
    """Seconds of one call, the mean of `times` calls in a row."""
    synchronise(device)
    start = time.perf_counter()
    for _ in range(times):
        call()
    synchronise(device)
    return (time.perf_counter() - start) / times


def synchronise(device: torch.device) -> None:
    """Wait until a device that works on its own has done what it was told."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize()


def take_turns(
    calls: dict, rounds: int, most_seconds: float, device: torch.device, times: int = 1
) -> dict:
    """Time each call once a round, after one round to warm up.

    What slows the machine for a while then meets all of them. Each round begins with
    another call, so that none always follows the same one.

    Args:
        calls: What to time, by name.
        rounds: Most rounds.
        most_seconds: Begin no round after this time, except for the first.
        device: Where the calls do their work.
        times: Calls in a row for one time.

    Returns:
        The seconds of each call, one a round, by name.
    """
    names = list(calls)
    found = {name: [] for name in names}
    stop = time.perf_counter() + most_seconds
    for name in names:
        seconds_for(calls[name], device, times)
    for number in range(rounds):
        if number and time.perf_counter() > stop:
            break
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(seconds_for(calls[name], device, times))
    return found


def spread(values: list[float]) -> tuple[float, float, float]:
    """Median, lowest and highest."""
    return statistics.median(values), min(values), max(values)


def markdown_table(rows: list[list[str]]) -> str:
    """The first row is the head; columns are filled up to the same width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [rows[0], ["-" * width for width in widths], *rows[1:]]
    return "\n".join(
        "| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines
    )
