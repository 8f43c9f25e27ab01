"""What the benchmarks' commands share: where they write, and how they end."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from going_modular.engine import TrainingDiverged
from going_modular.utils import InputError

__all__ = ["RESULTS", "check_files", "check_positive", "run_command", "write_json"]

RESULTS = Path(__file__).parent / "results"


def run_command(
    parse: Callable[[list[str] | None], argparse.Namespace],
    run: Callable[[argparse.Namespace], None],
    argv: list[str] | None,
) -> int:
    """Parse the flags and do the work.

    Returns:
        The exit status: 0, or 2 for unusable input, runs that diverge and files that
        cannot be written.
    """
    try:
        run(parse(argv))
    except (InputError, TrainingDiverged, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def check_positive(args: argparse.Namespace, *names: str) -> None:
    """Refuse numbers, or lists of them, that are not positive."""
    for name in names:
        value = getattr(args, name)
        least = min(value) if isinstance(value, list) else value
        if not least > 0:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} must be positive, not {least}")


def check_files(args: argparse.Namespace, *names: str) -> None:
    """Refuse, before anything is measured, files that cannot be written."""
    for name in names:
        path = getattr(args, name)
        if path and not path.parent.is_dir():
            raise InputError(f"--{name}: no folder {path.parent}")
        if path and path.is_dir():
            raise InputError(f"--{name}: {path} is a folder, name a file in it")


def write_json(path: Path, figures: dict) -> None:
    path.write_text(json.dumps(figures, indent=1) + "\n")
