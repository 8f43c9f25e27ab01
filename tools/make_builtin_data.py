"""Make the built-in images: a class-balanced part of Fashion-MNIST.

    python tools/make_builtin_data.py /usr/share/datasets/fashion-mnist

The folder holds the four original `*-ubyte.gz` files (Debian's package
`dataset-fashion-mnist`, or a torchvision download). The first 1,350 images of each
class in the original training part and the first 200 of each class in the original
test part go, unchanged, into one xz-compressed NumPy archive.
"""

import argparse
import gzip
import io
import lzma
from pathlib import Path

import numpy as np

TRAIN_PER_CLASS = 1350
TEST_PER_CLASS = 200
OUTPUT = Path(__file__).parents[1] / "going_modular/data/fashion_mnist_subset.npz.xz"


def read_original(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Read one part, `train` or `t10k`, as (n, 28, 28) images and (n,) labels."""
    with gzip.open(folder / f"{part}-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(folder / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return images, labels


def first_per_class(labels: np.ndarray, count: int) -> np.ndarray:
    """Indices of the first `count` examples of each class, class by class."""
    return np.concatenate([np.flatnonzero(labels == c)[:count] for c in range(10)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder with the original files")
    folder = parser.parse_args().folder

    arrays = {}
    for split, part, count in [
        ("train", "train", TRAIN_PER_CLASS),
        ("test", "t10k", TEST_PER_CLASS),
    ]:
        images, labels = read_original(folder, part)
        chosen = first_per_class(labels, count)
        arrays[f"{split}_images"] = images[chosen]
        arrays[f"{split}_labels"] = labels[chosen]

    archive = io.BytesIO()
    np.savez(archive, **arrays)
    OUTPUT.write_bytes(
        lzma.compress(archive.getvalue(), preset=9 | lzma.PRESET_EXTREME)
    )
    print(f"{OUTPUT.name}: {OUTPUT.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
