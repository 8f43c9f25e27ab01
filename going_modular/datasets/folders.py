"""Reading folders of the user's own photos, one subfolder a class.

Which photos are held out is decided before they are read, so that each part lies in
one piece in memory, or in a file that is mapped into it.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from going_modular.data_setup import ImageSet
from going_modular.datasets.cache import cached_photos
from going_modular.datasets.decoding import check_memory, decode_into
from going_modular.datasets.photos import read_photo
from going_modular.errors import InputError

__all__ = ["TEST_FOLDERS", "files_in", "load_folder", "split"]

TEST_FOLDERS = ("test", "validation", "val", "valid")


def load_folder(
    folder: str | Path,
    image_size: int = 224,
    skip_bad: bool = False,
    test_share: float = 0.2,
    seed: int = 0,
    cache: Path | None = None,
) -> tuple[ImageSet, ImageSet]:
    """Read photos from a folder with one subfolder a class.

    Args:
        folder: Holds the class folders, or `train/` and `test/` (or another name of
            `TEST_FOLDERS`) with the class folders in each.
        image_size: Photos are cut to their central square and resized to this side.
        skip_bad: Leave out files that are no readable images, and say how many. The
            first reading finds them; the others are then read again without them.
        test_share: Share of each class held out for testing where there is no test
            folder.
        seed: Decides which.
        cache: Folder to keep the decoded photos in, for the next time; None for none.
            Another share or seed is another file there.

    Raises:
        InputError: The folder is missing, empty or has fewer than two classes, a class
            has no image, or a file is no readable image and `skip_bad` is off.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"no folder {str(folder)!r}: give a folder with one subfolder a class, or "
            "a name that --help lists"
        )
    test_folders = [folder / name for name in TEST_FOLDERS]
    test_folder = next((path for path in test_folders if path.is_dir()), None)
    if not (folder / "train").is_dir() or test_folder is None:
        refuse_train_alone(folder / "train")
        names = class_folders(folder)

        def divide(labels: Tensor) -> tuple[Tensor, Tensor]:
            return split_places(labels, names, test_share, seed)

        return read_classes(folder, names, image_size, skip_bad, cache, divide)
    names = class_folders(folder / "train")
    unknown = set(class_folders(test_folder)) - set(names)
    if unknown:
        raise InputError(
            f"{test_folder} has classes that {folder / 'train'} has not: "
            f"{', '.join(sorted(unknown))}; give both the same subfolders"
        )
    (train,) = read_classes(folder / "train", names, image_size, skip_bad, cache)
    (test,) = read_classes(test_folder, names, image_size, skip_bad, cache)
    return train, test


def refuse_train_alone(train: Path) -> None:
    """Refuse a folder train/ that holds classes: it is no class beside others."""
    inside = list(train.iterdir()) if train.is_dir() else []
    if inside and all(path.is_dir() for path in inside):
        raise InputError(
            f"{train} holds folders, but beside it is no {', '.join(TEST_FOLDERS)}: "
            f"name that one so, or give {train} alone"
        )


def class_folders(folder: Path) -> list[str]:
    """Names of the class folders, sorted; at least two."""
    names = sorted(
        path.name
        for path in folder.iterdir()
        if path.is_dir() and not path.name.startswith(".")
    )
    if len(names) < 2:
        found = f"only {names[0]!r}" if names else "none"
        raise InputError(
            f"{folder} needs one subfolder of images for each class, two or more: "
            f"found {found}"
        )
    return names


def whole(labels: Tensor) -> tuple[Tensor]:
    """All places, as one part."""
    return (torch.arange(len(labels)),)


def read_classes(
    folder: Path,
    names: Sequence[str],
    image_size: int,
    skip_bad: bool,
    cache: Path | None,
    divide: Callable[[Tensor], tuple[Tensor, ...]] = whole,
) -> tuple[ImageSet, ...]:
    """Read the photos of each class folder.

    Args:
        folder, names: Where the class folders are, and which.
        image_size, skip_bad, cache: As for `load_folder`.
        divide: Gives the places of each part's photos from the labels of all.

    Returns:
        The parts: views of one array, in which their photos follow each other.
    """
    photos = list_photos(folder, names)
    count = len(photos)
    while True:
        labels = torch.tensor([label for _, label in photos])
        parts = divide(labels)
        paths = [photos[place][0] for place in torch.cat(parts).tolist()]
        images, bad = read_photos(paths, image_size, cache)
        if not bad:
            break
        unreadable = {paths[place] for place in bad}
        if not skip_bad:
            raise InputError(
                f"{min(unreadable)} is no readable image ({len(bad)} such of {count} "
                "files): remove such files, or add --skip-bad to go on without them"
            )
        photos = [photo for photo in photos if photo[0] not in unreadable]
        left = {label for _, label in photos}
        for label, name in enumerate(names):
            if label not in left:
                raise InputError(f"{folder / name} holds no readable image")
    if len(photos) < count:
        left_out = count - len(photos)
        print(f"{folder}: left out {left_out} of {count} files, no readable images")
    pieces = images.split([len(part) for part in parts])
    return tuple(
        ImageSet(piece, labels[part], tuple(names))
        for piece, part in zip(pieces, parts, strict=True)
    )


def files_in(folder: Path) -> list[Path]:
    """The files in a folder and below, sorted, without what is hidden.

    Links to folders are followed, each folder once.

    Raises:
        InputError: A folder cannot be read, whose photos would be missing.
    """

    def refuse(error: OSError):
        raise InputError(
            f"cannot read {error.filename} ({error.strerror}): mend that, or remove it"
        ) from None

    found, seen = [], set()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.is_file())


def list_photos(folder: Path, names: Sequence[str]) -> list[tuple[Path, int]]:
    """The files in each class folder and below, with their labels."""
    photos = []
    for label, name in enumerate(names):
        found = files_in(folder / name)
        if not found:
            raise InputError(f"{folder / name} holds no image: add some or remove it")
        photos += [(path, label) for path in found]
    return photos


def read_photos(
    paths: Sequence[Path], image_size: int, cache: Path | None
) -> tuple[Tensor, dict[int, str]]:
    """The photos, (n, 3, image_size, image_size), and which places have none and why.

    Images are of use only where none is missing. The three bytes of a pixel lie side by
    side in memory, as in decoded files.
    """

    def decode(images: np.ndarray) -> dict[int, str]:
        return decode_into(images, paths, lambda path: read_photo(path, image_size))

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
