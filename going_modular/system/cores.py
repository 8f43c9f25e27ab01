"""How many cores there are for this process."""

import math
import os
from contextlib import suppress
from pathlib import Path

__all__ = ["usable_cores"]

LIMIT = Path("/sys/fs/cgroup/cpu.max")  # a container's: microseconds in each period


def usable_cores() -> int:
    """Cores that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on
        cores = os.process_cpu_count()
    elif hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count()
    with suppress(OSError, ValueError):  # no such file, or "max": no limit
        quota, period = map(int, LIMIT.read_text(encoding="utf-8").split())
        cores = min(cores or 1, math.ceil(quota / period))
    return max(1, cores or 1)
