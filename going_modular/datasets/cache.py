"""Decoded photos kept in files, so that the next run reads no JPEG again.

A set of photos is one array on the disk, mapped into memory: only what is looked at
takes up memory, and two runs share it.
"""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from going_modular.errors import InputError
from going_modular.system.files import holding, write_file
from going_modular.system.progress import print_past
from going_modular.system.text import printable

__all__ = ["cached_photos"]


def cached_photos(
    folder: Path,
    paths: Sequence[Path],
    image_size: int,
    decode: Callable[[np.ndarray], dict[int, str]],
) -> tuple[Tensor, dict[int, str]]:
    """Photos from the cache; they are decoded into it where they are not there yet.

    Args:
        folder: Of the cache.
        paths: The photos' files. One that has changed since is decoded again.
        image_size: Side of the squares that they become.
        decode: Fills an (n, 3, image_size, image_size) uint8 array, and says which
            places it could not fill, and why. The file holds the channels last.

    Returns:
        (n, 3, image_size, image_size) uint8 images, and what `decode` said. With gaps
        the images are of no use and not kept: none are given, (0,).

    Raises:
        InputError: The cache cannot be written.
    """
    shape = (len(paths), image_size, image_size, 3)
    name = fingerprint(paths, image_size)
    array, notes = folder / f"{name}.npy", folder / f"{name}.json"
    try:
        if not notes.exists():  # written last
            write_array(array, shape, decode, notes, missing=notes)
        about = json.loads(notes.read_text(encoding="utf-8"))
        bad = {int(i): why for i, why in about.items()}
        if not set(bad) <= set(range(len(paths))):
            raise ValueError(f"{notes.name} is about other photos")
        if bad:
            return torch.empty(0, dtype=torch.uint8), bad
        if not array.exists():
            write_array(array, shape, decode, notes, missing=array)
        images = np.load(array, mmap_mode="c")  # nothing written goes to the disk
        if images.shape != shape or images.dtype != np.uint8:
            raise ValueError(f"{array.name} holds other images")
    except (OSError, ValueError, EOFError, AttributeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot use the cache {folder} ({why}): choose another --cache, or none"
        ) from None
    print_past(f"photos from {printable(array)} ({array.stat().st_size / 1e6:,.0f} MB)")
    images = images.transpose(0, 3, 1, 2)  # (n, 3, image_size, image_size)
    return torch.from_numpy(images), bad


def fingerprint(paths: Sequence[Path], image_size: int) -> str:
    """A name that changes with any file's place, size or time of change."""
    digest = hashlib.sha256(str(image_size).encode())
    for path in paths:
        place = os.path.abspath(path)  # resolve() looks at every folder of every file
        try:
            about = path.stat()
            line = f"\n{place}\t{about.st_size}\t{about.st_mtime_ns}"
        except OSError:  # such as a link that leads nowhere: told when it is read
            line = f"\n{place}\tnot there"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def write_array(
    path: Path, shape: tuple[int, ...], decode, notes: Path, missing: Path
) -> None:
    """Fill an array beside its place, then rename it and write the notes.

    One run at a time does so; those that waited for it find what was `missing`.
    """

    def fill(beside: Path) -> None:
        images = np.lib.format.open_memmap(beside, "w+", np.uint8, shape)
        if hasattr(os, "posix_fallocate"):  # a full disk is an error here, not a crash
            with open(beside, "rb+") as file:
                os.posix_fallocate(file.fileno(), 0, beside.stat().st_size)
        bad.update(decode(images.transpose(0, 3, 1, 2)))  # (n, 3, H, W)
        images.flush()

    bad: dict[int, str] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    with holding(path.parent, wait=True):
        if missing.exists():
            return
        write_file(path, fill)
        text = json.dumps(bad)
        write_file(notes, lambda beside: beside.write_text(text, encoding="utf-8"))
        if bad:
            path.unlink()
