"""Writing files: none of the user's is lost, none is half there."""

import errno
import os
import re
import secrets
import stat
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout
from PIL import Image
from safetensors import SafetensorError

from going_modular.errors import InputError
from going_modular.system.reading import open_regular

__all__ = [
    "LOCK",
    "MARK",
    "bring_to_place",
    "cannot_write",
    "check_file",
    "check_writable",
    "holding",
    "is_ours",
    "real",
    "new_beside",
    "remove_unfinished",
    "sync_file",
    "sync_folder",
    "write_file",
    "write_files",
]

MARK = "going_modular"  # in every file that may be written again without being asked
LONGEST_NAME = 255  # bytes, of a file or folder
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
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
        raise InputError(f"{flag} {path}: the name is too long")
    try:
        place = real(path)
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = None
    except (OSError, RuntimeError) as error:  # such as links in a circle
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot write {flag} {path} ({why}): choose another name"
        ) from None
    if place in taken:
        raise InputError(f"{flag} {path} is also another file of this run: choose one")
    if is_stream(path):
        return
    if mode is not None and not stat.S_ISREG(mode):
        raise InputError(f"{flag} {path} is no file: choose another name")
    if mode is not None and not overwrite:
        raise InputError(f"{path} exists: choose another {flag}, or add --overwrite")
    check_writable(place.parent, str(path))


def real(path: Path) -> Path:
    """Where a path leads, through all links; one in a circle leads to itself."""
    return Path(os.path.realpath(path))


def check_writable(folder: Path, what: str) -> None:
    """Refuse a folder that can neither be written to nor made.

    Args:
        folder: The folder.
        what: What is to be written there, for the message.

    Raises:
        InputError: The nearest folder that is there is none, or closed.
    """
    if any(len(os.fsencode(part)) > LONGEST_NAME for part in folder.parts):
        raise InputError(f"cannot write {what}: the name is too long")
    nearest = next(p for p in (folder, *folder.parents) if os.path.exists(p))
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(
            f"cannot write {what}: {nearest} is no folder that you may write to; "
            "choose another place"
        )


def is_ours(path: Path) -> bool:
    """Whether this project drew a picture, as its mark says: it may be drawn anew."""
    try:
        with open_regular(path) as file, Image.open(file, formats=["PNG"]) as picture:
            return picture.info.get("Software", "").startswith(MARK)
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
    path, written = None, {}
    try:
        for path, write in files.items():
            place = destination(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            written[path] = new_beside(place)
            with warnings.catch_warnings(action="ignore"):  # letters the font lacks
                write(written[path])
            sync_file(written[path])
        for path, beside in written.items():
            bring_to_place(beside, path)
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror}): choose another name"
        ) from None
    finally:
        for left in written.values():
            with suppress(OSError):
                left.unlink()


def write_file(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, bring it to the disk, then rename it.

    Raises:
        OSError: It cannot be written; what was there still is.
    """
    beside = None
    try:
        beside = new_beside(destination(path))
        write(beside)
        sync_file(beside)
        bring_to_place(beside, path)
    except (OSError, SafetensorError) as error:
        raise cannot_write(path, error) from None
    finally:
        if beside is not None:
            with suppress(OSError):
                beside.unlink(missing_ok=True)


def is_stream(path: Path) -> bool:
    """Whether bytes written there flow on, as into a pipe, a terminal or /dev/null."""
    if str(path.absolute()).startswith(("/dev/std", "/dev/fd/", "/proc/")):
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def destination(path: Path) -> Path:
    """The file that is to be replaced: where links lead, and never a link itself.

    What is bound for a stream is written to a file of its own first.
    """
    if is_stream(path):
        return Path(tempfile.gettempdir(), path.name)
    return real(path)


def new_beside(path: Path) -> Path:
    """Make an empty file beside `path`, whose name nobody can have foreseen."""
    encoding = sys.getfilesystemencoding()
    stem = os.fsencode(path.stem)[:100].decode(encoding, "ignore")
    while True:
        word = secrets.token_hex(8)
        beside = path.with_name(f".{stem}.{word}.writing{path.suffix[-20:]}")
        try:
            os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        except FileExistsError:
            continue
        return beside


def remove_unfinished(folder: Path) -> None:
    """Remove what killed runs left half written in a folder that is held."""
    for path in folder.glob(f".*.{16 * '[0-9a-f]'}.writing*"):
        with suppress(OSError):
            path.unlink()


def sync_file(path: Path) -> None:
    """Bring a file's bytes to the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def bring_to_place(beside: Path, path: Path) -> None:
    """Rename a file that is whole to `path`, or send its bytes into a stream."""
    if not is_stream(path):
        os.replace(beside, real(path))
        return
    with open(open_stream(path), "wb") as stream:
        stream.write(beside.read_bytes())


def open_stream(path: Path) -> int:
    """A descriptor to write to a stream with: at once, or not at all."""
    own = {"/dev/stdout": "1", "/dev/stderr": "2"}.get(str(path))
    number = own or re.sub("^(/dev/fd/|/proc/self/fd/)", "", str(path))
    if number.isdecimal():  # goes on where this process has written already
        sys.stdout.flush()
        return os.dup(int(number))
    flags = os.O_WRONLY | os.O_APPEND | getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags)
    os.set_blocking(descriptor, True)
    return descriptor


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

    What a killed run has left half written there goes. Where files cannot be locked, it
    does nothing.

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
            remove_unfinished(folder)
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
