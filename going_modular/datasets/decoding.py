"""From the files of photos to squares of bytes, on all cores."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from going_modular.errors import InputError
from going_modular.system.cores import usable_cores
from going_modular.system.memory import memory_for_process, memory_used

__all__ = [
    "READING",
    "check_memory",
    "decode_all",
    "decode_into",
]

READING = "reading images"  # what the time for it counts as


def check_memory(count: int, image_size: int, copies: int = 1) -> None:
    """Refuse more images than memory has room for, before the first is decoded.

    Args:
        count: Images.
        image_size: Side of the squares that they become, three bytes a pixel.
        copies: How many times they are held at once.

    Raises:
        InputError: They would not fit; the message says what would.
    """
    needed = copies * count * 3 * image_size**2
    left = memory_for_process() - memory_used()
    if needed > left:
        side = math.isqrt(max(0, left) // (3 * copies * count))
        raise InputError(
            f"{count:,} images of {image_size} px need {needed / 1e9:.1f} GB of "
            f"memory, and {left / 1e9:.1f} GB are free: for a folder of photos add "
            "--cache FOLDER, which keeps them on the disk, or choose an --image-size "
            f"of {side} or less"
        )


def decode_into(
    images: np.ndarray,
    items: Sequence,
    decode: Callable[..., Tensor],
    after_each: Callable[[], None],
) -> dict[int, str]:
    """Decode images on all cores, each into its place of an (n, 3, H, W) array.

    Args:
        images: The array.
        items: What `decode` is given, one for each place.
        decode: Gives a (3, H, W) image.
        after_each: Called when one is done, or cannot be.

    Returns:
        The places of those that could not be decoded, and why.
    """
    bad: dict[int, str] = {}

    def fill(place: int) -> None:
        try:
            images[place] = decode(items[place])
        except MemoryError:  # no fault of the image
            raise
        except Exception as error:  # damaged files raise many kinds
            bad[place] = str(error)

    with ThreadPoolExecutor(usable_cores()) as pool:
        for _ in pool.map(fill, range(len(items))):
            after_each()
    return bad


def decode_all(
    items: Sequence, image_size: int, decode: Callable[..., Tensor | None]
) -> Tensor:
    """Decode images on all cores; those for which `decode` gives None are left out."""
    check_memory(len(items), image_size, copies=2)  # one by one, and stacked
    with ThreadPoolExecutor(usable_cores()) as pool:
        images = [image for image in pool.map(decode, items) if image is not None]
    if not images:
        return torch.empty(0, 3, image_size, image_size, dtype=torch.uint8)
    return torch.stack(images)  # (n, 3, image_size, image_size)
