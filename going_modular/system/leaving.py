"""A script that is done ends at once.

Python would first take apart all that was imported, object by object. With PyTorch,
torchvision and what they bring in, that is half a million objects and two to three
seconds in which nothing seems to happen, though all is written. So once the threads
have ended and every other `atexit` function has run, the process ends here. A script
that ends with a traceback goes Python's usual way.
"""

import atexit
import os
import sys
from contextlib import suppress
from typing import NoReturn

__all__ = ["leave"]

status: int | None = None


def leave(code: int) -> NoReturn:
    """End a script that has done all it wanted, with this exit status."""
    global status
    status = code
    sys.exit(code)


def end_now() -> None:
    """Skip the rest of Python's end, if the script is done."""
    if status is None:
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or none at all
            stream.flush()
    os._exit(status)


atexit.register(end_now)  # functions that are registered later run before it
