"""Text for a screen."""

import os
import textwrap
from pathlib import PurePath

from going_modular.system.progress import print_past

__all__ = ["as_text", "print_table", "printable"]

WIDTH = 80  # columns of a table, but for a word that is longer


def print_table(**values) -> None:
    """Print names and values as a table of two columns; long values go on below."""
    width = max(map(len, values))
    for name, value in values.items():
        lines = textwrap.wrap(
            printable(value),
            max(20, WIDTH - width - 2),
            break_long_words=False,  # a path stays whole
            break_on_hyphens=False,
        )
        for line in lines or [""]:
            print_past(f"{name.replace('_', ' '):<{width}}  {line}".rstrip())
            name = ""


def as_text(path: str | PurePath) -> str:
    """A path or a part of it as UTF-8 has it, whatever the system's own encoding."""
    return os.fsencode(path).decode(errors="surrogateescape")


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
