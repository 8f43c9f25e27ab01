"""Where images come from: built-in sets, torchvision's sets, a folder of photos.

Each source gives a training and a test `ImageSet`, held in memory as bytes.
"""

import gzip
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision import datasets

from going_modular.data_setup import (
    FASHION_CLASSES,
    ImageSet,
    load_builtin,
    square_tensor,
)
from going_modular.datasets.decoding import READING, decode_all
from going_modular.datasets.folders import load_folder, load_splits, split
from going_modular.errors import InputError
from going_modular.system.progress import progress_of, saying
from going_modular.system.text import printable

__all__ = [
    "OF_ONE_SIZE",
    "SOURCES",
    "load_data",
    "load_digits",
    "load_fashion_mnist",
    "load_folder",
]

DOWNLOADS = Path("downloads")
DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")

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
OF_ONE_SIZE = ("built-in", "digits", "fashion_mnist")
SOURCES = (*OF_ONE_SIZE, *TORCHVISION)


def load_data(
    source: str,
    image_size: int,
    download: bool = False,
    skip_bad: bool = False,
    seed: int = 0,
    cache: Path | None = None,
) -> dict[str, ImageSet]:
    """Load a source by name, or a folder of photos.

    Args:
        source: A name in `SOURCES`, or a path as `load_splits` takes it.
        image_size: Side of the square images. The built-in sets keep their own.
        download: Fetch a torchvision set that is not in `downloads/`.
        skip_bad: Leave out files of a folder that are no readable images.
        seed: Decides which images are held out where a source has no test part.
        cache: Folder that keeps the decoded photos of a folder; None for none.

    Returns:
        "train" and "test", and "val" where a folder has one, too.

    Raises:
        InputError: The source is missing or unusable.
    """
    with saying(f"reading {printable(source)}", READING):
        if source not in SOURCES:
            return load_splits(source, image_size, skip_bad, seed=seed, cache=cache)
        if source == "built-in":
            sets = load_builtin()
        elif source == "digits":
            sets = load_digits(seed)
        elif source == "fashion_mnist":
            sets = load_fashion_mnist(download)
        else:
            sets = load_torchvision(source, image_size, download, seed)
    return dict(zip(("train", "test"), sets, strict=True))


def load_digits(seed: int = 0) -> tuple[ImageSet, ImageSet]:
    """scikit-learn's 1,797 handwritten digits, (1, 8, 8), a fifth for testing."""
    from sklearn import datasets as sklearn_datasets  # slow, and only needed here

    loaded = sklearn_datasets.load_digits()
    images = torch.from_numpy(loaded.images * (255 / 16)).round().to(torch.uint8)
    labels = torch.from_numpy(loaded.target).long()
    names = tuple(str(digit) for digit in range(10))
    digits = ImageSet(images.unsqueeze(1), labels, names)  # (n, 1, 8, 8)
    return split(digits, 0.2, seed)


def load_fashion_mnist(download: bool = False) -> tuple[ImageSet, ImageSet]:
    """All of Fashion-MNIST: 60,000 training and 10,000 test images, (1, 28, 28)."""
    fetched = DOWNLOADS / "FashionMNIST" / "raw"
    if download:
        fetch("fashion_mnist", lambda: datasets.FashionMNIST(DOWNLOADS, download=True))
    for folder in (fetched, DEBIAN_FASHION_MNIST):
        if (folder / "train-images-idx3-ubyte.gz").exists():
            try:
                return tuple(read_fashion_mnist(folder, x) for x in ("train", "t10k"))
            except (OSError, EOFError, ValueError, zlib.error) as error:
                raise InputError(
                    f"fashion_mnist in {folder} is incomplete or damaged ({error}): "
                    "remove that folder and add --download"
                ) from None
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
    labels = torch.zeros(len(dataset), dtype=torch.int64)

    def decode(i: int) -> Tensor:
        picture, labels[i] = dataset[i]
        shown.advance()
        return square_tensor(picture, image_size)

    with progress_of("decoding images", len(dataset), READING) as shown:
        images = decode_all(range(len(dataset)), image_size, decode)
    names = getattr(dataset, "classes", None) or range(int(labels.max()) + 1)
    names = tuple(n[0] if isinstance(n, tuple) else str(n) for n in names)
    return ImageSet(images, labels, names)
