"""One image, one model: what the attention explorer shows, in few bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from going_modular.attention_maps import attention_rollout
from going_modular.config import ViTConfig
from going_modular.data_setup import normalise
from going_modular.errors import InputError
from going_modular.explorer.encoding import (
    quantise,
    rounding_errors,
    to_data_url,
    viridis,
)
from going_modular.inspection.capture import capture, check_layer
from going_modular.vit import ViT

__all__ = ["Exploration", "check_head", "explore_image"]

MOST_BYTES = 64_000_000  # of arrays; a page takes a third more


@dataclass(frozen=True, eq=False)
class Exploration:
    """All that the explorer needs: n layers of nh heads, T tokens.

    Attributes:
        description: Title, sizes, predictions, picture and start, ready for JSON.
        attention: (n, nh, T, T) uint8, each row of A in 255 steps of its maximum.
        attention_scales: (n, nh, T) float32, what one step is worth.
        rollout: (n, T, T) uint8, the rollout up to each layer, in the same way.
        rollout_scales: (n, T) float32.
        value_lengths: (n, nh, T) float32, the lengths of the value vectors.
    """

    description: dict
    attention: np.ndarray
    attention_scales: np.ndarray
    rollout: np.ndarray
    rollout_scales: np.ndarray
    value_lengths: np.ndarray

    def arrays(self) -> dict[str, bytes]:
        """The arrays by name, row by row, each number's lowest byte first."""
        return {
            name: array.astype(array.dtype.newbyteorder("<")).tobytes()
            for name, array in vars(self).items()
            if name != "description"
        }


def explore_image(
    model: ViT,
    image: Tensor,
    class_names: Sequence[str],
    title: str = "",
    layers: Sequence[int] | None = None,
    start_layer: int | None = None,
    start_head: int | None = None,
    top: int = 5,
) -> Exploration:
    """Predict one image and keep, for the explorer, where each token looks.

    While it runs, the float weights of all layers are in memory, since the rollout
    needs them: 4 L nh T^2 bytes, and some more that `room.memory_needed` counts.

    Args:
        model: In evaluation mode, on any device.
        image: (C, H, W) uint8, as the model sees it.
        class_names: One name a class.
        title: Stands above the image.
        layers: The layers to show, from 1; all of them if None.
        start_layer: The layer shown first; the last one shown if None.
        start_head: The head shown first, from 1; the mean of all heads if None.
        top: Predictions to show, or as many as there are classes.

    Raises:
        InputError: The image does not fit the model, there is no such layer or head,
            the arrays would take more than 64 MB, or the scores are not finite.
    """
    config = model.config
    check_image(image, class_names, config)
    shown = choose_layers(layers, start_layer, config)
    if start_head is not None:
        check_head(start_head, config.num_heads)

    device = next(model.parameters()).device
    x = normalise(image[None].to(device), config.mean, config.std)  # (1, C, H, W)
    seen = capture(model, x, kinds=("attention", "values"))
    probabilities = seen.logits[0].float().softmax(0).cpu()  # (K,)
    attention = seen.attention[:, 0]  # (L, nh, T, T)
    # One layer at a time, here and below, for memory's sake.
    finite = all(layer.isfinite().all() for layer in attention)
    if not (finite and probabilities.isfinite().all()):
        raise InputError("no finite scores for this image: use other weights")
    kept = [layer - 1 for layer in shown]
    rolled_out = attention_rollout(attention)[kept]  # (n, T, T)
    lengths = seen.values[kept, 0].norm(dim=-1)  # (n, nh, T)
    places = shown_tokens(attention.shape[-1], config)
    lengths = lengths[..., places]  # (n, nh, T), without registers
    rollout = [layer[places][:, places].numpy() for layer in rolled_out]
    attention = [attention[k][:, places][..., places].numpy() for k in kept]

    quantised, rolled = quantise(attention), quantise(rollout)
    best = probabilities.argsort(descending=True, stable=True)[:top].tolist()
    description = {
        "title": writable(title),
        "image": to_data_url(image),
        "image_size": list(config.image_shape),
        "rows": config.grid_shape[0],
        "columns": config.grid_shape[1],
        "patch_size": config.patch_size,
        "layers": shown,
        "depth": config.depth,
        "heads": config.num_heads,
        "predictions": [
            {
                "name": writable(class_names[i]),
                "index": i,
                "probability": probabilities[i].item(),
            }
            for i in best
        ],
        "start": {
            "layer": start_layer or shown[-1],
            "head": start_head or 0,
            "view": "looks-at",
            "row": -1,
            "column": -1,
        },
        "error": rounding_errors((*quantised, attention), (*rolled, rollout)),
        "colours": viridis(),
    }
    return Exploration(description, *quantised, *rolled, lengths.float().numpy())


def shown_tokens(count: int, config: ViTConfig) -> slice | list[int]:
    """Places of the class token and the patches; registers between them have none."""
    registers = count - config.num_tokens
    return [0, *range(1 + registers, count)] if registers else slice(None)


def check_image(image: Tensor, class_names: Sequence[str], config: ViTConfig) -> None:
    wanted = (config.in_channels, *config.image_shape)
    if tuple(image.shape) != wanted or image.dtype != torch.uint8:
        raise InputError(
            f"the image is {tuple(image.shape)} {image.dtype}, but the model reads "
            f"{wanted} torch.uint8: bring it there with datasets.fitting.fit_images"
        )
    if config.in_channels not in (1, 3):
        raise InputError(
            f"images of {config.in_channels} channels cannot be shown: only of 1 or 3"
        )
    if len(class_names) != config.num_classes:
        raise InputError(
            f"{len(class_names)} class names for {config.num_classes} classes: give "
            "one for each"
        )


def choose_layers(
    layers: Sequence[int] | None, start_layer: int | None, config: ViTConfig
) -> list[int]:
    """The layers to show, in order, if they are there and not too many."""
    shown = sorted(set(range(1, config.depth + 1) if layers is None else layers))
    if not shown:
        raise InputError(f"no layer to show: choose some of 1 to {config.depth}")
    for layer in shown + ([] if start_layer is None else [start_layer]):
        check_layer(layer, config.depth)
    if start_layer not in (None, *shown):
        listed = ", ".join(map(str, shown))
        raise InputError(f"layer {start_layer} is not among those shown: {listed}")
    a_layer = bytes_of_a_layer(config)
    if len(shown) * a_layer > MOST_BYTES:
        fitting = MOST_BYTES // a_layer
        advice = f"at most {fitting}" if fitting else "a smaller image: one is too much"
        raise InputError(
            f"{len(shown)} layers of {config.num_heads} heads and {config.num_tokens} "
            f"tokens take {len(shown) * a_layer / 1e6:.1f} MB, more than "
            f"{MOST_BYTES / 1e6:.0f}: choose fewer layers, {advice}"
        )
    return shown


def bytes_of_a_layer(config: ViTConfig) -> int:
    """Bytes of one layer's arrays in an `Exploration`."""
    nh, T = config.num_heads, config.num_tokens
    return (nh + 1) * T * T + 4 * (2 * nh + 1) * T


def check_head(head: int, num_heads: int) -> None:
    """Raise an InputError unless a model of so many heads has the head."""
    if head not in range(1, num_heads + 1):
        raise InputError(f"no head {head}: this model has heads 1 to {num_heads}")


def writable(text: str) -> str:
    """The text with "?" for what no UTF-8 file can hold, as in odd file names."""
    return str(text).encode("utf-8", "replace").decode()
