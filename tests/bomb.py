"""What a pickle must never be allowed to do."""

from pathlib import Path

__all__ = ["Bomb"]


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")
