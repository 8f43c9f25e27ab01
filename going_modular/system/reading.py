"""Opening files that anybody may have put there: none hangs us or fills the memory."""

import json
import os
import stat
from pathlib import Path
from typing import BinaryIO

from going_modular.errors import InputError

__all__ = ["check_regular", "open_regular", "read_json"]

MOST_JSON = 16 * 2**20  # bytes; a list of a million class names has as many


def open_regular(path: str | Path, most: int | None = None) -> BinaryIO:
    """Open a file for its bytes; a pipe or a device, which may never end, is refused.

    Args:
        path: Of the file, or of a link to it.
        most: Bytes that it may have.

    Raises:
        InputError: It is no regular file, or larger.
        OSError: There is none, or it cannot be read.
    """
    file = open(path, "rb", opener=open_without_waiting)
    try:
        about = os.fstat(file.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise InputError(f"{path} is a pipe or a device, no file: give a file")
        if most is not None and about.st_size > most:
            raise InputError(
                f"{path} has {about.st_size:,} bytes, where at most {most:,} are "
                "expected: it is another kind of file"
            )
    except InputError:
        file.close()
        raise
    return file


def open_without_waiting(path: str, flags: int) -> int:
    """Open at once: without this, a pipe would wait for somebody to write to it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def check_regular(path: str | Path) -> None:
    """Refuse what `open_regular` refuses, for a library that opens files itself."""
    open_regular(path).close()


def read_json(path: str | Path) -> object:
    """Read a JSON file, in UTF-8 with or without a byte-order mark.

    Raises:
        InputError: It holds no JSON.
        OSError: It cannot be read.
    """
    with open_regular(path, MOST_JSON) as file:
        try:
            return json.loads(file.read().decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is no JSON file ({error}): mend it") from None
