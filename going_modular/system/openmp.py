"""Threads that wait leave their core to other programs at once.

PyTorch shares an operation out over threads of OpenMP. One that has done its part spins
for a while, in case more comes soon. On a machine that is also busy with something else
it then holds a core on which a thread with work to do waits. So here threads do not
spin: they sleep until there is work. That costs some time on a machine that does
nothing else, since a thread has to be woken for each operation, and saves more on one
that is shared; `python -m benchmarks.calm` measures both.

- GNU's libgomp, in PyTorch's Linux wheels, counts turns: 0 in place of 300,000.
- LLVM's libomp and Intel's libiomp5, in the wheels for macOS and Windows, know a time:
  0 ms in place of 200.

What is computed stays the same. Import this before torch, as the scripts do: a runtime
reads its environment once, as it is loaded. Nothing is changed where torch is there
already, or where a variable that decides how threads wait is set; so
`OMP_WAIT_POLICY=active` has them spin.

Sources: GOMP_SPINCOUNT in the manual of GNU libgomp; KMP_BLOCKTIME in LLVM's "OpenMP
Runtimes"; what the wheels hold, in PyTorch's cmake/PostBuildSteps.cmake.
"""

import os
import sys
from collections.abc import MutableMapping

__all__ = ["DECIDING", "NO_SPIN", "sleep_at_once"]

NO_SPIN = {"GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
DECIDING = (*NO_SPIN, "OMP_WAIT_POLICY", "KMP_LIBRARY")


def sleep_at_once(environment: MutableMapping[str, str]) -> None:
    """Say so in an environment, unless it says already how threads wait."""
    if not any(name in environment for name in DECIDING):
        environment.update(NO_SPIN)


if "torch" not in sys.modules:
    sleep_at_once(os.environ)
