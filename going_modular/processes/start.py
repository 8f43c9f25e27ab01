"""Starting alone, or meeting the processes that torchrun has started."""

import os
import re
from datetime import timedelta

from torch.distributed import DistError, TCPStore

from going_modular.errors import InputError
from going_modular.processes.alone import Processes, world_size
from going_modular.utils import choose_device

__all__ = ["lost_another", "says_first", "start_processes"]

MEETING_PLACE = ("MASTER_ADDR", "MASTER_PORT")  # set by torchrun


def start_processes(device: str = "auto", sharded: bool = False) -> Processes:
    """Meet the other processes, if torchrun started several.

    Args:
        device: As for `choose_device`; with several processes "auto", "cpu" or "cuda".
        sharded: Share out parameters, gradients and the optimiser's state.

    Raises:
        InputError: The device cannot be had, accelerate is missing, or there is
            nobody to share with.
    """
    if world_size() == 1:
        size = os.environ.get("WORLD_SIZE", "1")
        if size != "1":
            raise InputError(f"WORLD_SIZE is {size!r}: unset it, or use torchrun")
        if sharded:
            raise InputError(
                "--shard shares a model out over several processes: start them with "
                "torchrun, as docs/scaling.md says"
            )
        return Processes(choose_device(device))
    for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", *MEETING_PLACE):
        if name not in os.environ:
            raise InputError(
                f"WORLD_SIZE is {world_size()}, but {name} is not set: start with "
                "torchrun, or unset WORLD_SIZE"
            )
    if sharded:
        from going_modular.processes.together import ShardedProcesses as Kind
    else:
        from going_modular.processes.together import ManyProcesses as Kind
    return Kind(device)


def says_first() -> bool:
    """Whether no other process has complained yet; later complaints follow from it."""
    if world_size() == 1 or any(name not in os.environ for name in MEETING_PLACE):
        return True
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:  # the table that torchrun keeps for its processes
        store = TCPStore(*place, timeout=timedelta(seconds=10))
        return store.add(f"complaints/{restarts}", 1) == 1
    except DistError:
        return True


def lost_another(error: RuntimeError) -> bool:
    """Whether an error comes from another process having ended."""
    said = re.search("gloo|Connection (closed|reset)|Broken pipe", str(error))
    return world_size() > 1 and (isinstance(error, DistError) or said is not None)
