"""Text for a screen."""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import TextIO

from tqdm import tqdm

__all__ = [
    "as_text",
    "natural_key",
    "print_past",
    "print_table",
    "printable",
    "progress_of",
    "saying",
]


def print_table(**values) -> None:
    """Print names and values as a table of two columns."""
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name.replace('_', ' '):<{width}}  {printable(value)}")


def as_text(path: str | PurePath) -> str:
    """A path or a part of it as UTF-8 has it, whatever the system's own encoding."""
    return os.fsencode(path).decode(errors="surrogateescape")


def natural_key(path: PurePath) -> tuple:
    """A key that sorts paths as people do, part by part: photo 2 before photo 10."""
    parts = (re.split(r"(\d+)", part.casefold()) for part in path.parts)
    return [
        [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in pieces if p]
        for pieces in parts
    ], str(path)


def printable(text) -> str:
    """The text on one line, with escapes for what would move or hide characters.

    Names of files, classes and tensors come from anywhere; printed raw, some would give
    the terminal orders.
    """
    if isinstance(text, PurePath):
        text = as_text(text)
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text)
    )


@contextmanager
def saying(what: str) -> Iterator[None]:
    """Show on a terminal what takes a while, and take it away when that is over."""
    shown = sys.stderr is not None and sys.stderr.isatty()
    if shown:
        print(f"{what} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def progress_of(total: int, unit: str) -> tqdm:
    """A bar on a terminal for work of more than a second; `print_past` goes past it.

    Args:
        total: Pieces of the work.
        unit: What one is called.
    """
    options = dict(leave=False, delay=1, dynamic_ncols=True)
    nowhere = True if sys.stderr is None else None  # None: unless it is a terminal
    return tqdm(total=total, unit=unit, disable=nowhere, **options)


def print_past(text: str, file: TextIO | None = None) -> None:
    """Print while a bar is shown, which goes on below; to standard output if None."""
    with tqdm.external_write_mode():
        print(text, file=file)
