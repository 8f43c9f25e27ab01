"""How much memory there is for this process."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import psutil
import torch

try:
    import resource
except ImportError:  # Windows
    resource = None

__all__ = ["LIMIT", "Limit", "memory_for_process", "memory_used"]

CGROUPS = Path("/sys/fs/cgroup")  # where the limits of containers are to be read
OWN_CGROUPS = Path("/proc/self/cgroup")  # which of them this process is in


class Limit:
    """How much memory the user lets a process take; None leaves it to the machine."""

    def __init__(self):
        self.most: float | None = None  # bytes


LIMIT = Limit()


def memory_used(device: torch.device | str = "cpu") -> int:
    """Bytes that this process has taken: of a GPU, what PyTorch has allocated there."""
    if torch.device(device).type == "cuda":
        return torch.cuda.memory_reserved(device)
    return psutil.Process().memory_info().rss


def memory_for_process(device: torch.device | str = "cpu") -> int:
    """Bytes that this process can have in all, with those that it has taken.

    That is what `LIMIT` says, or else what is free. The main memory that is free is
    limited further by containers (cgroups) and by `ulimit -v`. Processes that train
    together on a machine share it evenly.
    """
    if LIMIT.most is not None:
        return int(LIMIT.most)
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + memory_used(device)
    free = [psutil.virtual_memory().available, *free_in_cgroups()]
    here = os.environ.get("LOCAL_WORLD_SIZE", "1")  # set by torchrun
    share = min(free) // max(1, int(here) if here.isdecimal() else 1)
    return memory_used() + max(0, min(share, free_address_space()))


def free_address_space() -> int:
    """Bytes that `ulimit -v` still leaves to this process."""
    if resource is None:
        return 2**63
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most == resource.RLIM_INFINITY:
        return 2**63
    return most - psutil.Process().memory_info().vms


def free_in_cgroups() -> Iterator[int]:
    """Bytes that each limited cgroup around this process still has.

    What a group holds of files counts as free, since the system gives it up when others
    need it.
    """
    with suppress(OSError):
        for line in OWN_CGROUPS.read_text(encoding="utf-8").splitlines():
            _, kinds, path = line.split(":", 2)
            if not kinds:  # version 2
                names = ("memory.max", "memory.current", "")
                yield from free_in_each(CGROUPS, path, *names)
            elif "memory" in kinds.split(","):  # version 1
                names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_")
                yield from free_in_each(CGROUPS / "memory", path, *names)


def free_in_each(
    root: Path, path: str, limit: str, usage: str, prefix: str
) -> Iterator[int]:
    """Those of one group and of the groups that it is in, where they can be seen.

    In a container the path may be that outside of it, and then only the root is there.

    Args:
        root: Where the groups are, each a folder.
        path: Of the group.
        limit, usage: Names of the files with these figures.
        prefix: Of the figures in memory.stat that are about groups inside, too.
    """
    inside = PurePosixPath(path.lstrip("/"))
    for folder in dict.fromkeys((root / inside, *(root / p for p in inside.parents))):
        with suppress(OSError, ValueError):  # no such file, or "max": no limit
            most = int((folder / limit).read_text(encoding="utf-8"))
            used = int((folder / usage).read_text(encoding="utf-8"))
            stat = (folder / "memory.stat").read_text(encoding="utf-8")
            counts = dict(line.split() for line in stat.splitlines())
            kinds = (f"{prefix}{kind}_file" for kind in ("active", "inactive"))
            yield most - used + sum(int(counts.get(kind, 0)) for kind in kinds)
