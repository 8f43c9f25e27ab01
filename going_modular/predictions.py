"""What a trained model sees in photos: from files to named classes."""

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from going_modular.config import ViTConfig
from going_modular.data_setup import normalise
from going_modular.datasets.decoding import decode_all
from going_modular.datasets.fitting import fit_images
from going_modular.datasets.layout import files_in
from going_modular.datasets.photos import read_photo, why_unreadable
from going_modular.errors import InputError
from going_modular.pretrained import from_pretrained
from going_modular.system.files import real
from going_modular.system.text import as_text, natural_key
from going_modular.vit import ViT
from going_modular.weights.reading import read_pretrained

__all__ = [
    "Prediction",
    "classify",
    "find_photos",
    "folder_classes",
    "load_classifier",
    "predict_photos",
]

# What counts as a photo in a folder; those that Pillow cannot read are named later.
SUFFIXES = tuple(
    ".jpg .jpeg .jfif .png .webp .gif .bmp .tif .tiff .avif .heic .heif .jp2".split()
)


class Guess(NamedTuple):
    """A class, its place in the head, and the probability that the model gives it."""

    name: str
    index: int
    probability: float


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model makes of one photo.

    Attributes:
        path: The photo's file.
        image: (C, H, W) uint8, the photo as the model saw it.
        guesses: The likeliest classes, likeliest first.
        notes: What was assumed of the file, or left out.
    """

    path: Path
    image: Tensor
    guesses: tuple[Guess, ...]
    notes: tuple[str, ...] = ()


def load_classifier(
    source, num_heads: int | None = None, image_size=None, resize: str = "official"
) -> tuple[ViT, tuple[str, ...]]:
    """Build a model with a trained head from weights of any kind.

    Args:
        source, num_heads: As for `weights.reading.read_pretrained`.
        image_size: Side of the images, or (height, width); that of the weights if
            None.
        resize: How position embeddings are fitted to it, one of
            `weights.conversion.RESIZE_METHODS`.

    Returns:
        The model, in evaluation mode, and the name of each of its classes, "class 7"
        where the weights tell none.

    Raises:
        InputError: The weights cannot be read, have no head, are for images that
            are no photos, or tell another number of attention heads.
    """
    found = read_pretrained(source, num_heads)
    config = found.config
    if num_heads not in (None, config.num_heads):
        raise InputError(f"the weights have {config.num_heads} heads, not {num_heads}")
    if config.in_channels not in (1, 3):
        raise InputError(
            f"the weights are for images of {config.in_channels} channels, no photos"
        )
    changes = {} if image_size is None else {"image_size": image_size}
    try:
        model = from_pretrained(found, resize=resize, quiet=True, **changes).eval()
    except InputError:
        raise
    except ValueError as error:
        raise InputError(str(error)) from None
    head = {name for name in model.state_dict() if name.startswith("head")}
    if not head <= set(found.weights):
        why = next(
            (e.detail for e in found.report if e.detail.startswith("a head")), ""
        )
        raise InputError(
            "the weights have no classification head, so they tell no classes"
            + f" ({why} was left out)" * bool(why)
            + ": give them one with train_transferlearning.py, or choose others"
        )
    told = found.class_names or ()
    unknown = (f"class {i}" for i in range(len(told), config.num_classes))
    return model, tuple(map(str, told[: config.num_classes])) + tuple(unknown)


def find_photos(
    paths: Iterable[str | Path], leave_out: Sequence[Path] = ()
) -> list[Path]:
    """List photos: files as given, folders by the images anywhere in them.

    Those of a folder are in natural order, 2.jpg before 10.jpg. None is there twice.

    Args:
        paths: Files and folders. Hidden files in folders do not count.
        leave_out: Nor do these there, such as an earlier output.

    Raises:
        InputError: A path is not there, or a folder holds no image.
    """
    leave_out = {real(path) for path in leave_out}
    photos = []
    for path in map(Path, paths):
        if path.is_file():
            photos.append(path)
            continue
        if not path.is_dir():
            raise InputError(f"no photo {str(path)!r}: give files, or folders of them")
        found = [
            file
            for file in files_in(path)
            if file.suffix.lower() in SUFFIXES and real(file) not in leave_out
        ]
        if not found:
            kinds = ", ".join(SUFFIXES)
            raise InputError(f"folder {str(path)!r} holds no photo ({kinds})")
        photos += sorted(found, key=natural_key)
    places = {}
    for photo in photos:
        places.setdefault(os.path.abspath(photo), photo)
    return list(places.values())


def folder_classes(
    photos: Iterable[Path], given: Iterable[Path], class_names: Sequence[str]
) -> dict[Path, str]:
    """The class of each photo that lies in a folder of that name.

    Args:
        photos: As `find_photos` lists them.
        given: What they were found in. A folder names no class but in it, and the
            innermost one counts.
        class_names: One name a class.

    Returns:
        The class's name, for the photos that have one.
    """
    # Some systems write letters with accents as two characters.
    names = {unicodedata.normalize("NFC", name): name for name in class_names}
    classes = {}
    for folder in (path for path in given if path.is_dir()):
        for photo in photos:
            if not photo.is_relative_to(folder):
                continue
            own = os.path.basename(os.path.abspath(folder))
            parts = (own, *photo.relative_to(folder).parts[:-1])
            folders = [unicodedata.normalize("NFC", as_text(part)) for part in parts]
            found = [names[name] for name in folders if name in names]
            if found:
                classes[photo] = found[-1]
    return classes


def predict_photos(
    model: ViT,
    paths: Sequence[str | Path],
    class_names: Sequence[str],
    top: int = 5,
    batch_size: int = 32,
    on_bad: Callable[[Path, str], None] | None = None,
) -> Iterator[Prediction]:
    """Predict the classes of photos, one batch after the other.

    Photos are turned upright, cut to the central square, brought to the model's size
    and channels, and normalised by its mean and deviation.

    Args:
        model: In evaluation mode, on any device, or what `training.fast_path` makes
            of it for prediction.
        paths: The photos' files.
        class_names: One name a class.
        top: Guesses for each photo, or as many as there are classes.
        batch_size: Photos in a batch.
        on_bad: Called with each file that is no readable image, and why; such files
            are then left out.

    Raises:
        InputError: A file is no readable image and there is no `on_bad`, or the model
            gives numbers that are not finite.
    """
    for start in range(0, len(paths), batch_size):
        batch = [Path(path) for path in paths[start : start + batch_size]]
        notes = {path: [] for path in batch}
        batch, images = read_batch(batch, model.config, on_bad, notes)
        if not batch:
            continue
        rows = classify(model, images)  # (B, K)
        for path, image, row in zip(batch, images, rows, strict=True):
            if not row.isfinite().all():
                raise InputError(f"no finite scores for {path}: use other weights")
            best = row.argsort(descending=True, stable=True)[:top].tolist()
            guesses = (Guess(class_names[i], i, row[i].item()) for i in best)
            yield Prediction(path, image, tuple(guesses), tuple(notes[path]))


def read_batch(
    paths: list[Path],
    config: ViTConfig,
    on_bad: Callable[[Path, str], None] | None,
    notes: dict[Path, list[str]],
) -> tuple[list[Path], Tensor]:
    """Read photos as (B, C, H, W) uint8 images; give also the paths of these B.

    Notes on a photo are added to those of its path.
    """
    bad = {}
    size = max(config.image_shape)

    def read(path: Path) -> Tensor | None:
        try:
            return read_photo(path, size, notes[path].append)
        except Exception as error:  # damaged files raise many kinds
            bad[path] = why_unreadable(error)
            return None

    images = decode_all(paths, size, read)  # (B, 3, size, size)
    for path in filter(bad.get, paths):
        if on_bad is None:
            raise InputError(
                f"{path} is no readable image ({bad[path]}): remove it, or add "
                "--skip-bad to go on without it"
            )
        on_bad(path, bad[path])
    good = [path for path in paths if path not in bad]
    return good, fit_images(images, config) if good else images


@torch.inference_mode()
def classify(model: ViT, images: Tensor) -> Tensor:
    """Give each class's probability for (B, C, H, W) uint8 images, as (B, K)."""
    config, device = model.config, next(model.parameters()).device
    x = normalise(images.to(device), config.mean, config.std)  # (B, C, H, W)
    return model(x).float().softmax(dim=1).cpu()  # (B, K)
