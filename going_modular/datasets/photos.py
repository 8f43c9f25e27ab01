"""One photo, out of a file that anybody may have made.

Only the formats of images are read, never a program such as PostScript. All threads
together decode no more than `MEMORY` allows.
"""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.Image import DecompressionBombError
from torch import Tensor

from going_modular.data_setup import square_tensor
from going_modular.errors import InputError
from going_modular.system.reading import open_regular

with suppress(ImportError):
    import pillow_heif

    pillow_heif.register_heif_opener()

__all__ = [
    "MEMORY",
    "Budget",
    "open_photo",
    "read_photo",
    "read_upright",
    "why_unreadable",
]

FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "QOI",
    "TGA", "TIFF", "WEBP",
)  # fmt: skip
Image.init()
FORMATS = tuple(set(FORMATS) & set(Image.OPEN))  # those that are installed
# How other files begin that may be taken for photos.
OTHERS = {
    b"ftypheic": "HEIC, which needs a package: pip install pillow-heif",
    b"ftypheix": "HEIC, which needs a package: pip install pillow-heif",
    b"ftyphevc": "HEIC, which needs a package: pip install pillow-heif",
    b"ftypmif1": "HEIF, which needs a package: pip install pillow-heif",
    b"%!PS": "PostScript, which is a program and no photo",
    b"%PDF": "PDF, a document and no photo",
    b"<svg": "SVG, a drawing and no photo: save it as PNG",
    b"JXL \r\n": "JPEG XL: save it as PNG",
    b"version https://git-lfs": "a pointer of Git LFS, no photo: run git lfs pull",
    b"8BPS": "Photoshop's own format: save it as PNG",
    b"SIMPLE  =": "FITS: save it as PNG or TIFF",
    b"DICM": "DICOM: save it as PNG",
    b"<!DOCTYPE": "a web page and no photo",
    b"<html": "a web page and no photo",
}
LARGE = 40 * 10**6  # pixels from which a photo is made smaller piece by piece
# Bytes that decoding holds for a pixel, as Pillow stores it; RGB takes four.
STORED = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
COPIES = {"AVIF": 3, "HEIF": 3, "JPEG2000": 5, "WEBP": 3}  # whole pictures beside it
# Formats of several pictures, the first of which may not stand for all.
ANIMATED = {"GIF", "PNG", "TIFF", "WEBP"}
BITS = (8, 10, 12, 14, 16)  # of greys that stand in 16


class Budget:
    """Memory that threads share: who needs more than is free waits for the others."""

    def __init__(self, most: float):
        """Begin with all of it free.

        Args:
            most: Bytes.
        """
        self.most, self.taken = most, 0
        self.changed = threading.Condition()

    @contextmanager
    def taking(self, amount: float) -> Iterator[None]:
        """Hold an amount within this context.

        Raises:
            InputError: There is not as much, even for one alone.
        """
        if amount > self.most:
            raise InputError(
                f"it needs {amount / 1e9:.1f} GB to be decoded, more than the "
                f"{self.most / 1e9:.1f} that are allowed: add --photo-memory "
                f"{math.ceil(amount / 1e9)}, or make it smaller"
            )
        with self.changed:
            self.changed.wait_for(lambda: self.taken + amount <= self.most)
            self.taken += amount
        try:
            yield
        finally:
            with self.changed:
                self.taken -= amount
                self.changed.notify_all()


MEMORY = Budget(1e9)


def no_note(text: str) -> None:
    pass


@contextmanager
def open_photo(path: Path) -> Iterator[Image.Image]:
    """Open a photo; its pixels are not decoded yet.

    Raises:
        InputError: It is no regular file, or known to be none of `FORMATS`.
    """
    with open_regular(path) as file:
        try:
            photo = Image.open(file, formats=FORMATS)
        except UnidentifiedImageError:
            file.seek(0)
            begin = file.read(200)
            what = next((w for mark, w in OTHERS.items() if mark in begin), None)
            what = what or ("of no known format" if begin else "an empty file")
            raise InputError(what) from None
        except DecompressionBombError:
            raise InputError(
                "it has more pixels than Pillow decodes: raise "
                "PIL.Image.MAX_IMAGE_PIXELS"
            ) from None
        with photo:
            yield photo


def read_photo(
    path: Path, image_size: int, note: Callable[[str], None] = no_note
) -> Tensor:
    """Read one photo, upright, as a (3, image_size, image_size) uint8 square.

    Args:
        path: The photo's file.
        image_size: Side of the square, cut from the centre.
        note: Told what was assumed of it, or left out.
    """
    with open_photo(path) as photo:
        photo.draft("RGB", (image_size, image_size))  # decodes large JPEGs smaller
        with MEMORY.taking(bytes_needed(photo)):
            return square_tensor(upright(photo, image_size, note), image_size)


def read_upright(
    path: Path, least: int, note: Callable[[str], None] = no_note
) -> Image.Image:
    """Read one photo whole, upright and in RGB.

    Args:
        path: The photo's file.
        least: Its shorter side is to keep at least so many pixels, if it has them.
        note: As for `read_photo`.
    """
    with open_photo(path) as photo, MEMORY.taking(bytes_needed(photo)):
        return upright(photo, least, note)


def bytes_needed(photo: Image.Image) -> float:
    """Bytes that decoding takes: the picture as stored, and copies on its way."""
    pixels = photo.width * photo.height
    copies = COPIES.get(photo.format, 0) + (1.15 if pixels > LARGE else 3)
    return pixels * STORED.get(photo.mode, 4) * copies


def upright(photo: Image.Image, least: int, note: Callable[[str], None]) -> Image.Image:
    """A photo in RGB, turned as its camera was held.

    A large one is made smaller first, to no less than four times `least`.
    """
    if photo.format in ANIMATED and photo.is_animated:
        note("it holds several pictures, of which the first was taken")
    photo.load()  # damaged pixels are no matter of EXIF
    try:
        orientation = photo.getexif().get(0x0112, 1)
    except Exception:  # of many kinds
        note("its EXIF data cannot be read, so it is not turned")
        orientation = 1
    to_bytes = grey_scale(photo, note)
    factor = min(photo.size) // (4 * least)
    if photo.width * photo.height <= LARGE or factor < 2:
        small = to_rgb(photo, to_bytes)
    else:
        small = shrink(photo, factor, to_bytes)
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    return small.transpose(turns[orientation]) if orientation in turns else small


def shrink(photo: Image.Image, factor: int, to_bytes) -> Image.Image:
    """Average squares of `factor` pixels a side, one row of squares after another."""
    rows = max(1, 64 // factor) * factor
    small = Image.new("RGB", tuple(-(-side // factor) for side in photo.size))
    for top in range(0, photo.height, rows):
        box = (0, top, photo.width, min(top + rows, photo.height))
        strip = to_rgb(photo.crop(box), to_bytes)
        small.paste(strip.reduce(factor), (0, top // factor))
    return small


def to_rgb(photo: Image.Image, to_bytes=None) -> Image.Image:
    """A photo in RGB: greys brought to bytes, transparency laid over white."""
    if to_bytes is not None:
        greys = np.asarray(photo)
        shown = to_bytes(greys)
        clear = photo.info.get("transparency")
        if isinstance(clear, int):
            shown = np.where(greys == clear, np.uint8(255), shown)
        return Image.fromarray(shown).convert("RGB")
    if not photo.has_transparency_data:
        return photo.convert("RGB")
    photo = photo.convert("RGBA")
    white = Image.new("RGB", photo.size, "white")
    white.paste(photo, mask=photo.getchannel("A"))
    return white


def grey_scale(
    photo: Image.Image, note: Callable[[str], None]
) -> Callable[[np.ndarray], np.ndarray] | None:
    """How greys of more than eight bits become bytes; None where they are bytes.

    Whole numbers have the bits that the brightest needs. Floats go from 0 to 1, or to
    255. All others are stretched from the darkest to the brightest.
    """
    if photo.mode != "F" and not photo.mode.startswith("I"):
        return None
    if photo.mode == "F" and not is_finite(photo):
        raise InputError("it holds pixels that are no finite numbers")
    darkest, brightest = photo.getextrema()
    whole = photo.mode != "F"
    tops = [2**bits - 1 for bits in BITS] if whole else [1, 255]
    low, high = 0, next((top for top in tops if brightest <= top), None)
    if darkest < 0 or high is None:
        low, high = darkest, brightest
    note(f"greys from {low:g} to {high:g} became 0 to 255")
    scale = 255 / (high - low) if high > low else 0

    def to_bytes(greys: np.ndarray) -> np.ndarray:
        scaled = (greys.astype(np.float32) - low) * scale
        return scaled.round().clip(0, 255).astype(np.uint8)

    return to_bytes


def is_finite(photo: Image.Image) -> bool:
    """Whether all pixels are finite numbers, looked at in strips."""
    strips = (
        (0, y, photo.width, min(y + 64, photo.height))
        for y in range(0, photo.height, 64)
    )
    return all(np.isfinite(np.asarray(photo.crop(box))).all() for box in strips)


def why_unreadable(error: Exception) -> str:
    """Why a photo could not be read, in a few words without its path."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return text.splitlines()[0]
