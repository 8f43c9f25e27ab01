"""Seeds, devices, and the error for unusable input."""

import platform
import random
from pathlib import Path

import numpy as np
import torch

from going_modular.errors import InputError

__all__ = [
    "choose_device",
    "describe_machine",
    "is_out_of_memory",
    "random_stream",
    "set_seeds",
]


def set_seeds(seed: int = 42) -> None:
    """Seed the random numbers of Python, NumPy and PyTorch on every device."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_stream(*key: int) -> torch.Generator:
    """Random numbers of their own for each key, such as (seed, epoch, batch)."""
    words = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(words[0]))


def choose_device(name: str = "auto") -> torch.device:
    """Turn a name into a device that is there.

    Args:
        name: "auto" takes the first of cuda, mps and cpu that this machine has;
            otherwise "cpu", "cuda", "cuda:1", "mps", ...

    Raises:
        InputError: This machine has no such device; the message lists those it has.
    """
    available = ["cpu"]
    if torch.backends.mps.is_available():
        available.insert(0, "mps")
    available[:0] = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if name == "auto":
        return torch.device(available[0])
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in available:
        raise InputError(f"no device {name!r} here: choose from {', '.join(available)}")
    return torch.device(wanted)


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error says that memory, of a device or a CPU, did not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    kinds = RuntimeError | TypeError | OverflowError  # of sizes beyond all memory, too
    words = ("allocate memory", "Overflow", "overflow")
    return isinstance(error, kinds) and any(word in str(error) for word in words)


def describe_machine(device: torch.device | str = "cpu") -> dict[str, str | int]:
    """The hardware and versions that figures depend on, with a GPU's name."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        names = [line for line in lines if line.startswith("model name")]
        model = names[0].split(":")[1].strip() if names else model
    device = torch.device(device)
    gpu = f", {torch.cuda.get_device_name(device)}" if device.type == "cuda" else ""
    return {
        "processor": model,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": f"{device}{gpu}",
    }
