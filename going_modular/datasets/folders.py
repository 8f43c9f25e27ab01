"""Reading folders of the user's own photos, one subfolder a class.

Which photos are held out is decided before they are read, so that each part lies in
one piece in memory, or in a file that is mapped into it.

    python -m going_modular.datasets.folders FOLDER [--png SHEET.png]

shows what a folder is taken for.
"""

import math
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor

from going_modular.data_setup import ImageSet
from going_modular.datasets.cache import cached_photos
from going_modular.datasets.decoding import READING, check_memory, decode_into
from going_modular.datasets.layout import Layout, look_at
from going_modular.datasets.photos import open_photo, read_photo
from going_modular.errors import InputError
from going_modular.system.progress import print_past, progress_of
from going_modular.system.text import as_text, printable

__all__ = ["PhotoSet", "glance", "load_folder", "load_splits", "split"]

MANY = 20  # lines of a list
TEST_SHARE = 0.2  # of each class, where nothing is held out yet


@dataclass(frozen=True)
class PhotoSet(ImageSet):
    """An `ImageSet` that knows the file of each photo."""

    paths: tuple[Path, ...] = ()


def glance(folder: str | Path) -> tuple[int, int]:
    """How many photos a folder has for training, and how large they are.

    Where nothing is held out yet, a fifth will be.

    Returns:
        Their number, and the shorter side in pixels of the one in the middle, of about
        fifty. A file that is no readable image counts for nothing here.

    Raises:
        InputError: As for `look_at`.
    """
    photos = look_at(folder).photos
    training = photos.get("train") or photos["all"]
    held_out = 0 if "train" in photos else round(TEST_SHARE * len(training))
    sides = []
    for path, _ in training[:: math.ceil(len(training) / 50)]:
        with (
            suppress(InputError, OSError, ValueError, SyntaxError),
            open_photo(path) as photo,
        ):
            sides.append(min(photo.size))
    return len(training) - held_out, int(median(sides or [0]))


def load_folder(folder: str | Path, image_size: int = 224, **options) -> tuple:
    """The training and the test set of `load_splits`, without a word on the folder."""
    splits = load_splits(folder, image_size, quiet=True, **options)
    return splits["train"], splits["test"]


def load_splits(
    folder: str | Path,
    image_size: int = 224,
    skip_bad: bool = False,
    test_share: float = TEST_SHARE,
    seed: int = 0,
    cache: Path | None = None,
    quiet: bool = False,
) -> dict[str, ImageSet]:
    """Read photos from a folder with one subfolder a class.

    Args:
        folder: Holds the class folders, or folders of splits with the class folders in
            each: see `layout.SPLITS` for their names.
        image_size: Photos are cut to their central square and resized to this side.
        skip_bad: Leave out files that are no readable images, and say how many. The
            first reading finds them; the others are then read again without them.
        test_share: Share of each class held out for testing where there are no splits.
        seed: Decides which.
        cache: Folder to keep the decoded photos in, for the next time; None for none.
            Another share or seed is another file there.
        quiet: Do not print what the folder was taken for.

    Returns:
        "train" and "test", and "val" where the folder has all three. With a validation
        set and no test set, that one is what is tested.

    Raises:
        InputError: The folder is missing, empty or has fewer than two classes, a class
            has no image, or a file is no readable image and `skip_bad` is off.
    """
    layout = look_at(folder)
    if not quiet:
        say(layout)
    if "all" in layout.places:
        photos = layout.photos["all"]
        held_out = (test_share, seed)
        train, test = read_split(layout, photos, image_size, skip_bad, cache, held_out)
        return {"train": train, "test": test}
    sets = {}
    for name, photos in layout.photos.items():
        (sets[name],) = read_split(layout, photos, image_size, skip_bad, cache)
    if "test" not in sets:
        print_past("there is no test set: the validation set is what is tested")
        sets["test"] = sets.pop("val")
    return sets


def say(layout: Layout) -> None:
    """Print what a folder was taken for."""
    print_past(printable(f"{layout.folder}: {layout.describe()}"))
    for why, count in Counter(layout.aside.values()).items():
        some = next(path for path, reason in layout.aside.items() if reason == why)
        what = f"{count} files" if count > 1 else "1 file"
        print_past(printable(f"  not used: {what} such as {some} ({why})"))
    for note in layout.notes:
        print_past(printable(f"  {note}"))


def read_split(
    layout: Layout,
    photos: list[tuple[Path, int]],
    image_size: int,
    skip_bad: bool,
    cache: Path | None,
    held_out: tuple[float, int] | None = None,
) -> tuple[ImageSet, ...]:
    """Read the photos of one split.

    Args:
        layout: Names the classes.
        photos: Files and their labels.
        image_size, skip_bad, cache: As for `load_splits`.
        held_out: Which share of each class to hold out, and the seed that decides.

    Returns:
        One set, or two: views of one array, in which their photos follow each other.
    """
    names, count, left_out = layout.class_names, len(photos), {}
    given = {label for _, label in photos}
    while True:
        labels = torch.tensor([label for _, label in photos])
        parts = (torch.arange(len(labels)),)
        if held_out is not None:
            parts = split_places(labels, names, *held_out)
        paths = [photos[place][0] for place in torch.cat(parts).tolist()]
        images, bad = read_photos(paths, image_size, cache)
        if not bad:
            break
        unreadable = {paths[place]: why for place, why in bad.items()}
        if not skip_bad:
            path = min(unreadable)
            raise InputError(
                f"{path} is no readable image ({unreadable[path]}; {len(bad)} such of "
                f"{count} files): remove such files, or add --skip-bad to go on "
                "without them"
            )
        del images  # of no use, and the next ones need the memory
        left_out |= unreadable
        photos = [photo for photo in photos if photo[0] not in unreadable]
        for label in given - {label for _, label in photos}:
            raise InputError(f"class {names[label]!r} holds no readable image")
    if left_out:
        print_past(f"  left out {len(left_out)} of {count} files, no readable images:")
        for path, why in sorted(left_out.items())[:MANY]:
            print_past(printable(f"    {as_text(path)} ({why})"))
        if len(left_out) > MANY:
            print_past(f"    ... and {len(left_out) - MANY} more")
    pieces = images.split([len(part) for part in parts])
    return tuple(
        PhotoSet(piece, labels[part], names, tuple(photos[i][0] for i in part.tolist()))
        for piece, part in zip(pieces, parts, strict=True)
    )


def read_photos(
    paths: Sequence[Path], image_size: int, cache: Path | None
) -> tuple[Tensor, dict[int, str]]:
    """The photos, (n, 3, image_size, image_size), and which places have none and why.

    Images are of use only where none is missing. The three bytes of a pixel lie side by
    side in memory, as in decoded files.
    """

    notes: dict[str, str] = {}

    def read(path: Path) -> Tensor:
        return read_photo(path, image_size, lambda note: notes.setdefault(path, note))

    def decode(images: np.ndarray) -> dict[int, str]:
        with progress_of("decoding photos", len(paths), READING) as shown:
            bad = decode_into(images, paths, read, shown.advance)
        for note, count in Counter(notes.values()).items():
            print_past(f"  {count} photos: {note}")
        return bad

    if cache is not None:
        return cached_photos(cache, paths, image_size, decode)
    check_memory(len(paths), image_size)
    images = np.empty((len(paths), image_size, image_size, 3), np.uint8)
    images = images.transpose(0, 3, 1, 2)  # (n, 3, image_size, image_size)
    return torch.from_numpy(images), decode(images)  # which writes into them


def split(data: ImageSet, test_share: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Hold out a share of every class for testing, at least one image of each."""
    train, test = split_places(data.labels, data.class_names, test_share, seed)
    return data.subset(train), data.subset(test)


def split_places(
    labels: Tensor, names: Sequence[str], test_share: float, seed: int
) -> tuple[Tensor, Tensor]:
    """The places of `split`'s training and test images, class by class."""
    generator = torch.Generator().manual_seed(seed)
    train, test = [], []
    for label, name in enumerate(names):
        members = torch.nonzero(labels == label).flatten()  # (n of this class,)
        if len(members) < 2:
            raise InputError(
                f"class {name!r} has only {len(members)} readable image: each class "
                "needs two or more, one to train and one to test"
            )
        members = members[torch.randperm(len(members), generator=generator)]
        held_out = max(1, round(test_share * len(members)))
        test.append(members[:held_out])
        train.append(members[held_out:])
    return torch.cat(train), torch.cat(test)  # (n_train,), (n_test,)


if __name__ == "__main__":
    from going_modular.command_line.folder_report import main

    sys.exit(main())
