"""How much of a model has room: in a page, and in memory while it is looked into.

Attention grows with the square of the number of patches, so of a large image fewer
layers may be shown, or it has to become smaller.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from going_modular.config import ViTConfig, count_parameters
from going_modular.errors import InputError
from going_modular.explorer import data

__all__ = ["FEWEST", "find_room", "memory_needed", "why_less"]

FEWEST = 3  # layers of a page; rather than fewer, the image becomes smaller
LIBRARIES = 200e6  # bytes that PyTorch and others take when they first compute


def memory_needed(config: ViTConfig, layers: int) -> int:
    """Bytes at the peak of `explore_image` and `page`, the model's own among them.

    Args:
        config: The model, with the image's size.
        layers: How many of them are shown; the rollout needs the others as well.
    """
    L, nh, T = config.depth, config.num_heads, config.num_tokens
    D, F = config.embedding_dim, config.mlp_size
    attention = 4 * L * nh * T * T
    rollout = 18 * L * T * T  # copies of each layer's matrix, and their order
    shown = layers * data.bytes_of_a_layer(config)
    encoding = 24 * nh * T * T + shown  # one layer in float64, three times
    text = 7 * shown  # a page, in pieces and whole
    most = max(attention + max(rollout, encoding), text)
    passing = 4 * T * (8 * D + 2 * F)  # tokens on their way through a block
    model = 4 * sum(count_parameters(config).values())
    return int(LIBRARIES + model + passing + most)


def find_room(
    config: ViTConfig,
    layers: Sequence[int] | None = None,
    layer: int | None = None,
    memory: float = math.inf,
    fewest: int = FEWEST,
) -> tuple[tuple[int, int], list[int]]:
    """Choose what has room: fewer layers first, then a smaller image.

    Args:
        config: The model, with the size of the image.
        layers: The layers to show, from 1, all of which are kept; as many as there is
            room for if None.
        layer: One that has to be among them; the last if None.
        memory: Bytes that are free.
        fewest: Layers below which the image becomes smaller instead.

    Returns:
        The image's height and width, and the layers to show.

    Raises:
        InputError: There is not even memory for an image of one patch.
    """
    wanted = config.depth if layers is None else len(layers)
    fewest = wanted if layers else min(wanted, fewest)
    for shape in smaller_shapes(config.image_shape, config.patch_size):
        count = layers_with_room(replace(config, image_size=shape), wanted, memory)
        if count >= fewest:
            kept = layers or spread(config.depth, count, layer or config.depth)
            return shape, list(kept)
    why = too_much(replace(config, image_size=shape), wanted, memory)
    raise InputError(f"{why}: close other programs, or choose a smaller model")


def why_less(
    asked: ViTConfig,
    shown: ViTConfig,
    wanted: int,
    layers: Sequence[int],
    memory: float,
) -> str:
    """What `find_room` made less, and why, in a line; nothing where all had room.

    Args:
        asked: The model, with the size that the image would have had.
        shown: With the one that it has.
        wanted: Layers that would have been shown.
        layers: Those that are.
        memory: As for `find_room`.
    """
    remarks = []
    if shown.image_shape != asked.image_shape:
        why = too_much(asked, len(layers), memory)
        remarks.append(f"image made {in_words(shown.image_shape)} pixels, since {why}")
    if len(layers) < wanted:
        listed = ", ".join(map(str, layers))
        why = too_much(shown, wanted, memory)
        remarks.append(f"layers {listed} kept (--layers for others), since {why}")
    return "; ".join(remarks)


def smaller_shapes(
    image_shape: tuple[int, int], patch_size: int
) -> Iterator[tuple[int, int]]:
    """An image's height and width, and those of smaller ones of its proportions."""
    shorter = min(image_shape)
    for side in range(shorter, 0, -patch_size):
        rows, columns = (round(side * s / shorter / patch_size) for s in image_shape)
        yield max(1, rows) * patch_size, max(1, columns) * patch_size


def layers_with_room(config: ViTConfig, wanted: int, memory: float) -> int:
    """How many of the wanted layers have room, at the size that the config has."""
    count = min(wanted, data.MOST_BYTES // data.bytes_of_a_layer(config))
    return count if memory_needed(config, count) <= memory else 0


def too_much(config: ViTConfig, layers: int, memory: float) -> str:
    """Why some layers have no room, at the size that the config has."""
    T, nh = f"{config.num_tokens:,}", config.num_heads
    size = in_words(config.image_shape)
    needed = memory_needed(config, 1)
    if needed > memory:
        return (
            f"attention at {size} pixels ({T} tokens) takes about "
            f"{needed / 1e9:.2g} GB of memory, and {memory / 1e9:.2g} are free"
        )
    page = 4 / 3 * layers * data.bytes_of_a_layer(config)  # in base64
    most = 4 / 3 * data.MOST_BYTES
    return (
        f"{layers} layer{'s' * (layers > 1)} of {nh} heads at {size} pixels "
        f"({T} tokens) make a page of {page / 1e6:,.0f} MB, more than {most / 1e6:.0f}"
    )


def spread(depth: int, count: int, kept: int) -> list[int]:
    """So many of a model's layers, evenly spread up to the last, with one of them."""
    layers = [round(depth * (i + 1) / count) for i in range(count)]
    if kept not in layers:
        nearest = min(range(count), key=lambda i: abs(layers[i] - kept))
        layers[nearest] = kept
    return layers


def in_words(image_shape: tuple[int, int]) -> str:
    height, width = image_shape
    return f"{width} x {height}"
