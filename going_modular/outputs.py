"""The files that a script writes: none of the user's is lost, none is half there."""

import os
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from PIL import Image

from going_modular.checkpoint import place_beside
from going_modular.utils import InputError

__all__ = ["check_file", "is_drawn", "weight_files", "write_files"]

WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".npz")


def check_file(flag: str, path: Path, taken: set[Path], overwrite: bool) -> None:
    """Refuse, before any work, a file that cannot or should not be written.

    Args:
        flag: How the script's user names the file.
        path: The file.
        taken: Other files of this run, resolved.
        overwrite: May it replace a file?

    Raises:
        InputError: It is one of `taken`, exists, or stands where none may be written.
    """
    if path.resolve() in taken:
        raise InputError(f"{flag} {path} is also another file of this run: choose one")
    if path.exists() and not path.is_file():
        raise InputError(f"{flag} {path} is no file: choose another name")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists: choose another {flag}, or add --overwrite")
    nearest = next(p for p in path.absolute().parents if p.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(
            f"cannot write {path}: {nearest} is no folder that you may write to; "
            f"choose another {flag}"
        )


def is_drawn(path: Path) -> bool:
    """Whether matplotlib drew this picture, as it does ours: it may be drawn anew."""
    try:
        with Image.open(path) as picture:
            return "matplotlib" in picture.info.get("Software", "").lower()
    except Exception:  # damaged files raise many kinds
        return False


def weight_files(weights: str) -> set[Path]:
    """The files that such weights are read from, resolved; a name has none."""
    place = Path(weights).resolve()
    if not place.is_dir():
        return {place}
    files = {path.resolve() for path in place.iterdir() if path.suffix in WEIGHTS}
    return {place, place / "config.json", *files}


def write_files(files: Mapping[Path, Callable[[Path], object]]) -> None:
    """Write several files, all of them or none.

    Each is written beside its place and brought to the disk. Only when all are there
    are they renamed.

    Args:
        files: For each path, what fills a file at the path it is called with.

    Raises:
        InputError: One cannot be written; nothing is left of the others.
    """
    beside = {path: place_beside(path) for path in files}
    path = None
    try:
        for path, write in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with warnings.catch_warnings(action="ignore"):  # letters the font lacks
                write(beside[path])
            with open(beside[path], "rb+") as file:
                os.fsync(file.fileno())
        for path in files:
            os.replace(beside[path], path)
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror}): choose another name"
        ) from None
    finally:
        for left in beside.values():
            with suppress(OSError):
                left.unlink()
