"""Where images come from: built-in sets, torchvision's sets, a folder of photos.

Each source gives a training and a test `ImageSet`, held in memory as bytes.
"""

import gzip
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision import datasets

from going_modular.data_setup import (
    FASHION_CLASSES,
    ImageSet,
    load_builtin,
    square_tensor,
)
from going_modular.utils import InputError

__all__ = ["SOURCES", "load_data", "load_digits", "load_fashion_mnist", "load_folder"]

DOWNLOADS = Path("downloads")
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
MOST_BYTES = 8 * 10**9  # images are held in memory

# torchvision's sets: how to make the training and the test part.
TORCHVISION = {
    "cifar10": lambda train, **kw: datasets.CIFAR10(train=train, **kw),
    "eurosat": lambda train, **kw: datasets.EuroSAT(**kw) if train else None,
    "flowers102": lambda train, **kw: datasets.Flowers102(
        split="train" if train else "test", **kw
    ),
    "food101": lambda train, **kw: datasets.Food101(
        split="train" if train else "test", **kw
    ),
    "imagenette": lambda train, **kw: datasets.Imagenette(
        split="train" if train else "val", size="160px", **kw
    ),
    "oxford_pets": lambda train, **kw: datasets.OxfordIIITPet(
        split="trainval" if train else "test", **kw
    ),
}
SOURCES = ("built-in", "digits", "fashion_mnist", *TORCHVISION)


def load_data(
    source: str,
    image_size: int,
    download: bool = False,
    skip_bad: bool = False,
    seed: int = 0,
) -> tuple[ImageSet, ImageSet]:
    """Load a source by name, or a folder of photos.

    Args:
        source: A name in `SOURCES`, or a path as `load_folder` takes it.
        image_size: Side of the square images. The built-in sets keep their own.
        download: Fetch a torchvision set that is not in `downloads/`.
        skip_bad: Leave out files of a folder that are no readable images.
        seed: Decides which images are held out where a source has no test part.

    Raises:
        InputError: The source is missing or unusable.
    """
    if source == "built-in":
        return load_builtin()
    if source == "digits":
        return load_digits(seed)
    if source == "fashion_mnist":
        return load_fashion_mnist(download)
    if source in TORCHVISION:
        return load_torchvision(source, image_size, download, seed)
    return load_folder(source, image_size, skip_bad, seed=seed)


def load_digits(seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """scikit-learn's 1,797 handwritten digits, (1, 8, 8), a fifth for testing."""
    from sklearn import datasets as sklearn_datasets  # slow, and only needed here

    digits = sklearn_datasets.load_digits()
    images = torch.from_numpy(digits.images * (255 / 16)).round().to(torch.uint8)
    labels = torch.from_numpy(digits.target).long()
    names = tuple(str(digit) for digit in range(10))
    return split(
        ImageSet(images.unsqueeze(1), labels, names), 0.2, seed
    )  # (n, 1, 8, 8)


def load_fashion_mnist(download: bool = False) -> tuple[ImageSet, ImageSet]:
    """All of Fashion-MNIST: 60,000 training and 10,000 test images, (1, 28, 28)."""
    fetched = DOWNLOADS / "FashionMNIST" / "raw"
    if download:
        fetch("fashion_mnist", lambda: datasets.FashionMNIST(DOWNLOADS, download=True))
    for folder in (fetched, DEBIAN_FASHION_MNIST):
        if (folder / "train-images-idx3-ubyte.gz").exists():
            return read_fashion_mnist(folder, "train"), read_fashion_mnist(
                folder, "t10k"
            )
    raise InputError(
        f"fashion_mnist is neither in {fetched} nor in {DEBIAN_FASHION_MNIST}: add "
        "--download (30 MB), or install Debian's package dataset-fashion-mnist"
    )


def read_fashion_mnist(folder: Path, part: str) -> ImageSet:
    """Read one part, "train" or "t10k", from the original compressed files."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(bytearray(file.read()), np.uint8, offset=16)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(bytearray(file.read()), np.uint8, offset=8)
    images = torch.from_numpy(images).reshape(-1, 1, 28, 28)  # (n, 1, 28, 28)
    return ImageSet(images, torch.from_numpy(labels).long(), FASHION_CLASSES)


def load_torchvision(
    name: str, image_size: int, download: bool, seed: int
) -> tuple[ImageSet, ImageSet]:
    """One of torchvision's sets, decoded and resized."""
    sets = []
    for train in (True, False):
        options = {"root": DOWNLOADS, "download": download}
        dataset = fetch(name, lambda t=train, o=options: TORCHVISION[name](t, **o))
        if dataset is not None:
            sets.append(decode_dataset(dataset, image_size))
    return tuple(sets) if len(sets) == 2 else split(sets[0], 0.2, seed)


def fetch(name: str, make: Callable):
    """Make a torchvision set; say in one line what to do when it is not there."""
    try:
        return make()
    except (OSError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            f"{name} could not be read from {DOWNLOADS}/ ({reason}): add --download, "
            f"with a network, or put the files there by hand"
        ) from None


def decode_dataset(dataset, image_size: int) -> ImageSet:
    """Turn a torchvision set of pictures into an `ImageSet`."""
    images = decode_all(
        range(len(dataset)),
        image_size,
        lambda i: square_tensor(dataset[i][0], image_size),
    )
    labels = torch.tensor([int(dataset[i][1]) for i in range(len(dataset))])
    names = getattr(dataset, "classes", None) or range(int(labels.max()) + 1)
    names = tuple(n[0] if isinstance(n, tuple) else str(n) for n in names)
    return ImageSet(images, labels, names)


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
            f"one of {', '.join(SOURCES)}"
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
        return square_tensor(ImageOps.exif_transpose(photo), image_size)


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
