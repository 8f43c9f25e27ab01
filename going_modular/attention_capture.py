"""What a forward pass attends to, taken out of it while it predicts."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from going_modular.multihead_self_attention import (
    MultiheadSelfAttention,
    attention_with_weights,
)
from going_modular.transformer_encoder import TransformerEncoderBlock
from going_modular.utils import InputError
from going_modular.vit import ViT

__all__ = ["KINDS", "Captured", "capture", "check_layer"]

KINDS = ("attention", "queries", "keys", "values", "hidden")
OTHER_PATH = (
    "an attention layer went another way than notebook 03's, or passed on something "
    "else than A v: its weights are not those of Equation 6"
)


@dataclass(frozen=True, eq=False)
class Captured:
    """What `capture` took out of one forward pass: n layers, B images.

    Attributes:
        logits: (B, K), what this very pass predicted.
        layers: The n layers, counted from 1 as in the paper.
        attention: (n, B, nh, T, T) weights A, Equation 6; each row sums to one.
        queries: (n, B, nh, T, dh) q, Equation 5.
        keys: (n, B, nh, T, dh) k.
        values: (n, B, nh, T, dh) v.
        hidden: (n, B, T, D) tokens z_l, Equation 3.

    What was not asked for is None.
    """

    logits: Tensor
    layers: tuple[int, ...]
    attention: Tensor | None = None
    queries: Tensor | None = None
    keys: Tensor | None = None
    values: Tensor | None = None
    hidden: Tensor | None = None


def watch_attention(msa: MultiheadSelfAttention, keep: Callable) -> list:
    """Hook an attention layer: compute A from its q and k, and test it.

    The fused kernel never holds A. So A is computed beside it, in float32 or better,
    and what A makes of v must be what the layer goes on with.

    Args:
        msa: The layer.
        keep: Called with attention, queries, keys and values.

    Returns:
        The hooks, to be removed.
    """
    found = []
    if not isinstance(msa, MultiheadSelfAttention):
        raise RuntimeError(OTHER_PATH)

    def after_qkv(layer, inputs, output: Tensor) -> None:
        qkv = at_least_float32(output).unflatten(-1, (3, msa.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, nh, T, dh)
        with torch.autocast(output.device.type, enabled=False):
            sa, attention = attention_with_weights(q, k, v)
        sa = sa.transpose(1, 2).flatten(2)  # (B, T, D)
        found.append((sa, dict(attention=attention, queries=q, keys=k, values=v)))

    def before_out(layer, inputs) -> None:
        (heads,) = inputs  # (B, T, D)
        if len(found) != 1:
            raise RuntimeError(OTHER_PATH)
        sa, tensors = found.pop()
        half_the_digits = torch.finfo(heads.dtype).eps ** 0.5
        if not (heads - sa).abs().max() <= half_the_digits * heads.abs().max():
            raise RuntimeError(OTHER_PATH)
        keep(**tensors)

    return [
        msa.qkv.register_forward_hook(after_qkv),
        msa.out.register_forward_pre_hook(before_out),
    ]


def watch_tokens(block: nn.Module, keep: Callable):
    """Hook a block: keep the tokens that leave it."""

    def after_block(block, inputs, output) -> None:
        z = output[0] if isinstance(output, tuple) else output  # (B, T, D)
        keep(hidden=at_least_float32(z))

    return block.register_forward_hook(after_block)


def at_least_float32(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


@torch.no_grad()
def capture(
    model: nn.Module,
    x: Tensor,
    layers: Iterable[int] | int | None = None,
    kinds: Iterable[str] | str = "attention",
    device: str | torch.device = "cpu",
) -> Captured:
    """Predict, and keep what passes through the model's blocks.

    The prediction is that of the model as it is: its kernel, its precision, its mode.
    A compiled model runs uncompiled meanwhile, since compiled code calls no hooks.

    Args:
        model: A `ViT`, also compiled or wrapped for several processes.
        x: (B, C, H, W) images on the model's device.
        layers: The layers to keep, from 1, or one of them; all if None.
        kinds: What to keep of each: some of `KINDS`, or one.
        device: Where to keep it. Each layer goes there before the next one runs.

    Raises:
        InputError: There is no such layer or kind, or nothing is asked for.
        RuntimeError: The pass took another path than the blocks of notebooks 03 to 05.
    """
    vit = find_vit(model)
    depth = len(vit.encoder.blocks)
    if layers is None:
        layers = range(1, depth + 1)
    layers = tuple(dict.fromkeys([layers] if isinstance(layers, int) else layers))
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    check_choice(layers, kinds, depth)
    kept, filled, hooks = {}, set(), []

    def keep_at(place: int, **tensors: Tensor) -> None:
        for kind in set(tensors) & set(kinds):
            if (kind, place) in filled:
                raise RuntimeError(
                    f"layer {layers[place]} ran twice in one pass: capture one pass "
                    "of a model whose layers are its own"
                )
            if kind not in kept:
                shape = (len(layers), *tensors[kind].shape)
                kept[kind] = tensors[kind].new_empty(shape, device=device)
            kept[kind][place] = tensors[kind]
            filled.add((kind, place))

    try:
        for place, layer in enumerate(layers):
            block, keep = vit.encoder.blocks[layer - 1], partial(keep_at, place)
            if not isinstance(block, TransformerEncoderBlock):
                raise RuntimeError(f"layer {layer} is no block of notebook 05")
            if set(kinds) != {"hidden"}:
                hooks += watch_attention(block.msa_block.msa, keep)
            if "hidden" in kinds:
                hooks.append(watch_tokens(block, keep))
        with torch.compiler.set_stance("force_eager"):
            logits = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    for place, layer in enumerate(layers):
        if not {(kind, place) for kind in kinds} <= filled:
            raise RuntimeError(
                f"nothing came out of layer {layer}: the pass went around its block or "
                "its attention layer, so there is nothing to show"
            )
    return Captured(logits, layers, **kept)


def find_vit(model: nn.Module) -> ViT:
    """The `ViT` itself, out of whatever wraps it."""
    for part in model.modules():
        if isinstance(part, ViT):
            return part
    raise InputError(f"capture needs a ViT, not {type(model).__name__}")


def check_choice(layers: tuple[int, ...], kinds: tuple[str, ...], depth: int) -> None:
    if not layers or not kinds:
        raise InputError("nothing to capture: name at least one layer and one kind")
    for layer in layers:
        check_layer(layer, depth)
    for kind in kinds:
        if kind not in KINDS:
            raise InputError(f"no kind {kind!r} to capture: {', '.join(KINDS)}")


def check_layer(layer: int, depth: int) -> None:
    """Raise an InputError unless a model of this depth has the layer."""
    if layer not in range(1, depth + 1):
        raise InputError(f"no layer {layer}: this model has layers 1 to {depth}")
