"""What benchmarks time, how they time it, and what they hold it against."""

import ctypes
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from going_modular.config import ViTConfig

__all__ = [
    "PRECISIONS",
    "forward_call",
    "markdown_table",
    "matrix_products",
    "multiply_adds",
    "peak_memory",
    "resident",
    "spread",
    "take_turns",
    "train_call",
]

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Sides of the square matrices whose product shows what the machine can do.
SIDES = {"cpu": (1024, 2048, 3072), "cuda": (4096, 8192, 16384)}


def multiply_adds(c: ViTConfig, class_only: bool = False) -> int:
    """Multiplications, each with its addition, of one image's forward pass.

    Only matrix products are counted, as usual, of all tokens in all blocks.

    Args:
        c: The model.
        class_only: Leave out what the last block would do for the patches, but for
            their queries, keys and values, as `fast_path` does.

    Source: the shapes in Equations 1 to 8 of the ViT paper. Its Table 6 follows: two
    operations each, three times as many with the backward pass, JFT's 303 million
    images, and the epochs.
    """
    T, D, F = c.num_tokens, c.embedding_dim, c.mlp_size
    attention = T * 4 * D**2 + 2 * T**2 * D  # U_qkv and U_msa; q k^T and A v
    mlp = T * 2 * D * F
    hidden = c.representation_size
    head = (D + c.num_classes) * hidden if hidden else D * c.num_classes
    spared = c.num_patches * (D**2 + 2 * T * D + 2 * D * F) if class_only else 0
    return c.num_patches * c.patch_dim * D + c.depth * (attention + mlp) + head - spared


def forward_call(
    model: nn.Module, x: Tensor, dtype: torch.dtype = torch.float32
) -> Callable:
    """One evaluation of a batch, in autocast unless the type is float32."""

    @torch.inference_mode()
    def call() -> Tensor:
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            return model(x)

    return call


def train_call(
    model: nn.Module, x: Tensor, labels: Tensor, dtype: torch.dtype
) -> Callable:
    """One training step on a batch."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=1e-4, weight_decay=0.1, fused=True
    )

    def call() -> None:
        with torch.autocast(x.device.type, dtype, enabled=dtype != torch.float32):
            logits = model(x)  # (B, K)
        loss = F.cross_entropy(logits.float(), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return call


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
        most_seconds: Begin no round after this time, except for the first three.
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
        if number >= 3 and time.perf_counter() > stop:
            break
        first = number % len(names)
        for name in names[first:] + names[:first]:
            found[name].append(seconds_for(calls[name], device, times))
    return found


def peak_memory(call: Callable, device: torch.device) -> float | None:
    """Most memory of a call over what is held before it, in MiB, where it is known."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    if device.type != "cpu" or not Path("/proc/self/clear_refs").exists():
        return None
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)  # give back what earlier calls have freed
    begin_anew = "5"  # the peak does
    Path("/proc/self/clear_refs").write_text(begin_anew, encoding="utf-8")
    before = resident("VmRSS")
    call()
    return resident("VmHWM") - before


def resident(name: str) -> float:
    """VmRSS: memory of this process now; VmHWM: its peak. In MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(name)]
    return int(line.split()[1]) / 1024


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
