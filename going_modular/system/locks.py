"""Folders that one run at a time may write to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["lock"]


@contextmanager
def lock(folder: Path, wait: bool = False) -> Iterator[None]:
    """Keep other runs out of a folder. However a run ends, the system lets go of it.

    It does nothing on Windows, and on file systems without locks.

    Args:
        folder: Must be there.
        wait: Wait for another run that holds it.

    Raises:
        BlockingIOError: Another run holds it, and `wait` is off.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise
        except OSError:  # no locks here
            pass
        yield
    finally:
        os.close(descriptor)
