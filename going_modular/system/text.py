"""Text for a screen."""

import os
import re
from pathlib import PurePath

from going_modular.system.progress import print_past

__all__ = ["as_text", "natural_key", "print_table", "printable"]

WIDTH = 80  # columns of a table, but for a part that is longer


def print_table(**values) -> None:
    """Print names and values as a table of two columns; long values go on below.

    A text may be broken at any space, a list only after one of its parts, which are
    set off by commas; a path stays whole.
    """
    width = max(map(len, values))
    for name, value in values.items():
        if isinstance(value, list):
            *begin, end = map(printable, value)
            parts = [*(f"{part}," for part in begin), end]
        else:
            text = printable(value)
            parts = [text] if isinstance(value, PurePath) else text.split(" ")
        for line in in_lines(parts, WIDTH - width - 2):
            print_past(f"{name.replace('_', ' '):<{width}}  {line}".rstrip())
            name = ""


def in_lines(parts: list[str], room: int) -> list[str]:
    """The parts in lines of so many columns, but for a part that is longer."""
    first, *others = parts
    lines = [first]
    for part in others:
        if len(lines[-1]) + 1 + len(part) <= room:
            lines[-1] += f" {part}"
        else:
            lines.append(part)
    return lines


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
