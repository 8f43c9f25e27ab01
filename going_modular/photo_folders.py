"""Reading folders of the user's own photos, one subfolder a class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from going_modular.data_setup import ImageSet
from going_modular.photo_cache import cached_photos
from going_modular.photo_decoding import check_memory, decode_into, read_photo
from going_modular.utils import InputError

__all__ = ["load_folder", "split"]


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
        folder: Holds the class folders, or `train/` and `test/` (or `validation/` or
            `val/`) with the class folders in each.
        image_size: Photos are cut to their central square and resized to this side.
        skip_bad: Leave out files that are no readable images, and say how many.
        test_share: Share of each class held out for testing where there is no test
            folder.
        seed: Decides which.
        cache: Folder to keep the decoded photos in, for the next time; None for none.

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
    test_folders = [folder / name for name in ("test", "validation", "val")]
    test_folder = next((path for path in test_folders if path.is_dir()), None)
    if not (folder / "train").is_dir() or test_folder is None:
        names = class_folders(folder)
        return split(
            read_classes(folder, names, image_size, skip_bad, cache), test_share, seed
        )
    names = class_folders(folder / "train")
    unknown = set(class_folders(test_folder)) - set(names)
    if unknown:
        raise InputError(
            f"{test_folder} has classes that {folder / 'train'} has not: "
            f"{', '.join(sorted(unknown))}; give both the same subfolders"
        )
    return (
        read_classes(folder / "train", names, image_size, skip_bad, cache),
        read_classes(test_folder, names, image_size, skip_bad, cache),
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


def read_classes(
    folder: Path,
    names: Sequence[str],
    image_size: int,
    skip_bad: bool,
    cache: Path | None,
) -> ImageSet:
    """Read the photos of each class folder."""
    paths, labels = [], []
    for label, name in enumerate(names):
        found = sorted(
            path
            for path in (folder / name).rglob("*")
            if path.is_file() and not path.name.startswith(".")
        )
        if not found:
            raise InputError(f"{folder / name} holds no image: add some or remove it")
        paths += found
        labels += [label] * len(found)

    def decode(images: np.ndarray) -> dict[int, str]:
        return decode_into(images, paths, lambda path: read_photo(path, image_size))

    if cache is None:
        check_memory(len(paths), image_size)
        images = np.empty((len(paths), 3, image_size, image_size), np.uint8)
        bad, images = decode(images), torch.from_numpy(images)
    else:
        images, bad = cached_photos(cache, paths, image_size, decode)
    if bad and not skip_bad:
        raise InputError(
            f"{paths[min(bad)]} is no readable image ({len(bad)} such of {len(paths)} "
            "files): remove such files, or add --skip-bad to go on without them"
        )
    if bad:
        print(
            f"{folder}: left out {len(bad)} of {len(paths)} files, no readable images"
        )
        images = images[[i for i in range(len(paths)) if i not in bad]]
    labels = [label for i, label in enumerate(labels) if i not in bad]
    for label, name in enumerate(names):
        if label not in labels:
            raise InputError(f"{folder / name} holds no readable image")
    return ImageSet(images, torch.tensor(labels), tuple(names))


def split(data: ImageSet, test_share: float, seed: int) -> tuple[ImageSet, ImageSet]:
    """Hold out a share of every class for testing, at least one image of each."""
    generator = torch.Generator().manual_seed(seed)
    train, test = [], []
    for label, name in enumerate(data.class_names):
        members = torch.nonzero(data.labels == label).flatten()  # (n of this class,)
        if len(members) < 2:
            raise InputError(
                f"class {name!r} has only {len(members)} readable image: each class "
                "needs two or more, one to train and one to test"
            )
        members = members[torch.randperm(len(members), generator=generator)]
        held_out = max(1, round(test_share * len(members)))
        test.append(members[:held_out])
        train.append(members[held_out:])
    return data.subset(torch.cat(train)), data.subset(torch.cat(test))
