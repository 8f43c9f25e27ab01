"""Threads that wait soon leave their core to other programs.

PyTorch shares an operation out over threads of OpenMP. One that has done its part spins
for a while, in case more comes soon. On a machine that is also busy with something else
it then holds a core on which a thread with work to do waits. So the time to spin is
made shorter here: still longer than the pause between two operations, of some tens of
microseconds, but shorter than the milliseconds for which a system lets a program run
before it is another's turn.

- GNU's libgomp, in PyTorch's Linux wheels, counts turns: 10,000 in place of 300,000. On
  an AMD EPYC of 2.4 GHz these take 0.3 ms and 9 ms.
- LLVM's libomp and Intel's libiomp5, in the wheels for macOS and Windows, know a time:
  1 ms in place of 200.

What is computed stays the same. Import this before torch, as the scripts do: a runtime
reads its environment once, as it is loaded. Nothing is changed where torch is there
already, or where a variable that decides how threads wait is set.

Sources: GOMP_SPINCOUNT in the manual of GNU libgomp; KMP_BLOCKTIME in LLVM's "OpenMP
Runtimes"; what the wheels hold, in PyTorch's cmake/PostBuildSteps.cmake.
"""

import os
import sys
from collections.abc import MutableMapping

__all__ = ["DECIDING", "SHORT_SPIN", "spin_shortly"]

SHORT_SPIN = {"GOMP_SPINCOUNT": "10000", "KMP_BLOCKTIME": "1"}
DECIDING = (*SHORT_SPIN, "OMP_WAIT_POLICY", "KMP_LIBRARY")


def spin_shortly(environment: MutableMapping[str, str]) -> None:
    """Say so in an environment, unless it says already how threads wait."""
    if not any(name in environment for name in DECIDING):
        environment.update(SHORT_SPIN)


if "torch" not in sys.modules:
    spin_shortly(os.environ)
