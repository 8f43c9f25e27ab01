"""Threads that wait soon leave their core to other programs.

PyTorch shares an operation out over threads of OpenMP. One that has done its part spins
for a while, in case more comes soon. On a machine that is also busy with something else
it then holds a core on which a thread with work to do waits. So here threads spin
only briefly, since a small model's next operation often comes at once, and sleep in any
longer pause. `python -m benchmarks.calm` measures what that costs a machine that
does nothing else, and what it saves one that is shared.

- GNU's libgomp, in PyTorch's Linux wheels, counts turns: 1,000 in place of 300,000.
- LLVM's libomp and Intel's libiomp5, in the wheels for macOS and Windows, count
  milliseconds, which are too coarse for that: 0 in place of 200.

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

__all__ = ["DECIDING", "SHORT_SPIN", "sleep_soon"]

SHORT_SPIN = {"GOMP_SPINCOUNT": "1000", "KMP_BLOCKTIME": "0"}
DECIDING = (*SHORT_SPIN, "OMP_WAIT_POLICY", "KMP_LIBRARY")


def sleep_soon(environment: MutableMapping[str, str]) -> None:
    """Say so in an environment, unless it says already how threads wait."""
    if not any(name in environment for name in DECIDING):
        environment.update(SHORT_SPIN)


if "torch" not in sys.modules:
    sleep_soon(os.environ)
