"""Reading folders of the user's own photos, one subfolder a class."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from going_modular.data_setup import ImageSet, square_tensor
from going_modular.utils import InputError

__all__ = [
    "MOST_BYTES",
    "decode_all",
    "load_folder",
    "read_photo",
    "split",
    "to_8_bits",
]

MOST_BYTES = 8 * 10**9  # images are held in memory


def load_folder(
    folder: str | Path,
    image_size: int = 224,
    skip_bad: bool = False,
    test_share: float = 0.2,
    seed: int = 0,
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
            read_classes(folder, names, image_size, skip_bad), test_share, seed
        )
    names = class_folders(folder / "train")
    unknown = set(class_folders(test_folder)) - set(names)
    if unknown:
        raise InputError(
            f"{test_folder} has classes that {folder / 'train'} has not: "
            f"{', '.join(sorted(unknown))}; give both the same subfolders"
        )
    return (
        read_classes(folder / "train", names, image_size, skip_bad),
        read_classes(test_folder, names, image_size, skip_bad),
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
    folder: Path, names: Sequence[str], image_size: int, skip_bad: bool
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

    bad: dict[Path, str] = {}

    def read(path: Path) -> Tensor | None:
        try:
            return read_photo(path, image_size)
        except (
            OSError,
            ValueError,
            SyntaxError,
            Image.DecompressionBombError,
        ) as error:
            bad[path] = str(error)
            return None

    images = decode_all(paths, image_size, read)
    if bad and not skip_bad:
        first = min(bad)
        raise InputError(
            f"{first} is no readable image ({len(bad)} such of {len(paths)} files): "
            "remove such files, or add --skip-bad to go on without them"
        )
    if bad:
        print(
            f"{folder}: left out {len(bad)} of {len(paths)} files, no readable images"
        )
    labels = [y for y, path in zip(labels, paths, strict=True) if path not in bad]
    for label, name in enumerate(names):
        if label not in labels:
            raise InputError(f"{folder / name} holds no readable image")
    return ImageSet(images, torch.tensor(labels), tuple(names))


def read_photo(path: Path, image_size: int) -> Tensor:
    """Read one photo, upright, as a (3, image_size, image_size) uint8 square."""
    with Image.open(path) as photo:
        photo.draft("RGB", (image_size, image_size))  # decodes large JPEGs smaller
        return square_tensor(to_8_bits(ImageOps.exif_transpose(photo)), image_size)


def to_8_bits(photo: Image.Image) -> Image.Image:
    """Scale greys of 16 bits, which Pillow would clip to white; leave the rest."""
    if not photo.mode.startswith("I"):
        return photo
    greys = np.asarray(photo).clip(0, 65535) / 257
    return Image.fromarray(greys.round().astype(np.uint8))


def decode_all(
    items: Sequence, image_size: int, decode: Callable[..., Tensor | None]
) -> Tensor:
    """Decode images on all cores; those for which `decode` gives None are left out."""
    needed = len(items) * 3 * image_size**2
    if needed > MOST_BYTES:
        raise InputError(
            f"{len(items)} images of {image_size} px need {needed / 1e9:.1f} GB of "
            f"memory, more than {MOST_BYTES / 1e9:.0f}: choose a smaller --image-size"
        )
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        images = [image for image in pool.map(decode, items) if image is not None]
    if not images:
        return torch.empty(0, 3, image_size, image_size, dtype=torch.uint8)
    return torch.stack(images)  # (n, 3, image_size, image_size)


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
