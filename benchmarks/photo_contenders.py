"""Ways from a folder of photos to batches: ours, and the common one."""

from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

import train
from going_modular.data_setup import Batches, ImageSet
from going_modular.datasets.folders import read_split
from going_modular.datasets.layout import look_at
from going_modular.training.settings import TrainingSettings

__all__ = ["contenders", "our_batches", "plain_loader", "read"]

WORKERS = (0, 1, 2)
CPU = torch.device("cpu")


def read(folder: Path, image_size: int, cache: Path | None = None) -> ImageSet:
    """All photos of the class folders, as train.py reads them."""
    layout = look_at(folder)
    with redirect_stdout(StringIO()):  # it says which cache it takes
        files = layout.photos["all"]
        (photos,) = read_split(layout, files, image_size, False, cache)
    return photos


def our_batches(photos: ImageSet, settings: TrainingSettings) -> Batches:
    """What train.py trains on."""
    return train.make_batches(settings, {"train": photos}, CPU)["train_batches"]


def plain_loader(
    folder: Path, image_size: int, settings: TrainingSettings, workers: int
) -> DataLoader:
    """The common pipeline, to the same shapes and the same range of crops."""
    steps = [
        transforms.RandomResizedCrop(image_size, (settings.crop_area, 1.0)),
        transforms.RandomHorizontalFlip(),
        transforms.ToTensor(),
        transforms.Normalize((0.5,) * 3, (0.5,) * 3),
    ]
    return DataLoader(
        ImageFolder(folder, transforms.Compose(steps)),
        settings.batch_size,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


def count(batches: Iterable, image_size: int) -> int:
    """Take every batch, as a training loop would."""
    seen = 0
    for images, labels in batches:
        assert images.shape == (len(labels), 3, image_size, image_size)
        assert images.dtype == torch.float32
        seen += len(labels)
    return seen


def contenders(
    folder: Path, image_size: int, settings: TrainingSettings, cache: Path
) -> dict[str, Callable[[], int]]:
    """One epoch of each, by name; they give the number of photos."""
    photos = read(folder, image_size, cache)
    held = ImageSet(photos.images.clone(), photos.labels, photos.class_names)
    read_again = {
        "cold": lambda: read(folder, image_size),
        "mapped": lambda: read(folder, image_size, cache),
        "in memory": lambda: held,
    }
    calls = {
        f"ours, {name}": lambda get=get: count(our_batches(get(), settings), image_size)
        for name, get in read_again.items()
    }
    for workers in WORKERS:
        loader = plain_loader(folder, image_size, settings, workers)
        calls[f"plain, {workers} workers"] = lambda own=loader: count(own, image_size)
    return calls
