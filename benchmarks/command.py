"""How a benchmark's command ends: done, or with one line that says why not."""

import argparse
import sys
from collections.abc import Callable

from going_modular.engine import TrainingDiverged
from going_modular.utils import InputError

__all__ = ["run_command"]


def run_command(
    parse: Callable[[list[str] | None], argparse.Namespace],
    run: Callable[[argparse.Namespace], None],
    argv: list[str] | None,
) -> int:
    """Parse the flags and do the work.

    Returns:
        The exit status: 0, or 2 for unusable input and runs that diverge.
    """
    try:
        run(parse(argv))
    except (InputError, TrainingDiverged) as error:
        print(error, file=sys.stderr)
        return 2
    return 0
