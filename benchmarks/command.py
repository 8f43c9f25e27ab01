"""What the benchmarks' commands share: where they write, and how they end."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from going_modular.engine import TrainingDiverged
from going_modular.errors import InputError
from going_modular.system.files import is_ours

__all__ = [
    "RESULTS",
    "check_files",
    "check_picture",
    "check_positive",
    "run_command",
    "write_json",
]

RESULTS = Path(__file__).parent / "results"
PICTURES = (".png", ".pdf", ".svg")


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
    except KeyboardInterrupt:
        print("\nstopped; nothing is written", file=sys.stderr)
        return 130
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
        if not path or not path.exists():
            continue
        if not path.is_file() or not (is_ours(path) or is_result(path)):
            raise InputError(f"--{name}: {path} is none of ours, name another file")


def check_picture(path: Path | None) -> None:
    """Refuse a picture of a kind that cannot be drawn."""
    if path and path.suffix.lower() not in PICTURES:
        raise InputError(f"--output must end in {', '.join(PICTURES)}: {path}")


def is_result(path: Path) -> bool:
    """Whether a benchmark wrote this file; there it may write again."""
    try:
        return "processor" in json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, TypeError):
        return False


def write_json(path: Path, figures: dict) -> None:
    path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
