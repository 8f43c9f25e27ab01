"""Writing files: none of the user's is lost, none is half there."""

import errno
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from PIL import Image
from safetensors import SafetensorError

from going_modular.errors import InputError

__all__ = [
    "LOCK",
    "cannot_write",
    "check_file",
    "holding",
    "is_drawn",
    "write_file",
    "write_files",
]

LOCK = ".lock"  # in a folder that is held; what a killed run leaves of it locks nothing


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


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, bring it to the disk, then rename it.

    Raises:
        OSError: It cannot be written; what was there still is.
    """
    beside = place_beside(path)
    try:
        write(beside)
        with open(beside, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    except (OSError, SafetensorError) as error:
        raise cannot_write(path, error) from None
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def place_beside(path: Path) -> Path:
    """Where a file is written before it is renamed."""
    return path.with_name(f".{path.stem[:200]}.writing{path.suffix}")


def cannot_write(path: Path, error: Exception) -> OSError:
    """An error that names the file and the reason, which may be an error's cause."""
    reason = error
    while not isinstance(reason, OSError) and reason.__context__ is not None:
        reason = reason.__context__
    lines = str(reason).splitlines() or [type(reason).__name__]
    why = getattr(reason, "strerror", None) or lines[0]
    return OSError(f"cannot write {path} ({why})")


@contextmanager
def holding(folder: Path, wait: bool = False) -> Iterator[None]:
    """Keep other runs out of a folder. However a run ends, the system lets go of it.

    Where files cannot be locked, it does nothing.

    Args:
        folder: Must be there.
        wait: Wait for another run that holds it.

    Raises:
        filelock.Timeout: Another run holds it, and `wait` is off.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(folder / LOCK, timeout=-1 if wait else 0))
        except Timeout:
            raise
        except OSError:  # no locks here
            pass
        else:
            stack.callback(remove_lock, folder)
        yield


def remove_lock(folder: Path) -> None:
    """Leave no file behind; others that wait for this one notice that it has gone."""
    with suppress(OSError):  # as on Windows, where the library removes it
        (folder / LOCK).unlink()


def sync_folder(folder: Path) -> None:
    """Bring a folder's new names to the disk, where the system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # as on Windows
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
