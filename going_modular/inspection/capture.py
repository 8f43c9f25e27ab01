"""What a forward pass attends to, taken out of it while it predicts."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from going_modular.errors import InputError
from going_modular.multihead_self_attention import MultiheadSelfAttention
from going_modular.transformer_encoder import TransformerEncoderBlock
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


class Store:
    """Where captured tensors go: one stack for each kind, a place for each layer."""

    def __init__(self, layers: tuple[int, ...], kinds: tuple[str, ...], device):
        self.layers, self.kinds, self.device = layers, kinds, device
        self.stacks: dict[str, Tensor] = {}
        self.filled: set[tuple[str, int]] = set()

    def room(self, layer: int, kind: str, like: Tensor) -> Tensor:
        """The place of a layer in a stack, with the shape of `like`."""
        if kind not in self.stacks:
            shape = (len(self.layers), *like.shape)
            self.stacks[kind] = like.new_empty(shape, device=self.device)
        return self.stacks[kind][self.layers.index(layer)]

    def keep(self, layer: int, **tensors: Tensor) -> None:
        for kind in set(tensors) & set(self.kinds):
            if (kind, layer) in self.filled:
                raise RuntimeError(
                    f"layer {layer} ran twice in one pass: capture one pass of a model "
                    "whose layers are its own"
                )
            self.filled.add((kind, layer))
            room = self.room(layer, kind, tensors[kind])
            if room.data_ptr() != tensors[kind].data_ptr():
                room.copy_(tensors[kind])


def of_this_thread(hook: Callable) -> Callable:
    """A hook that lets the passes of other threads through the same model alone."""
    own = threading.get_ident()

    def called(*arguments) -> None:
        if threading.get_ident() == own:
            hook(*arguments)

    return called


def watch_attention(msa: MultiheadSelfAttention, layer: int, store: Store) -> list:
    """Hook an attention layer: compute A from its q and k, and test it.

    The fused kernel never holds A. So A is computed beside it, in float32 or better,
    and what A makes of v must be what the layer goes on with.

    Returns:
        The hooks, to be removed.
    """
    found = []
    if not isinstance(msa, MultiheadSelfAttention):
        raise RuntimeError(OTHER_PATH)

    @of_this_thread
    def after_qkv(_, inputs, output: Tensor) -> None:
        qkv = at_least_float32(output).unflatten(-1, (3, msa.num_heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, nh, T, dh)
        with torch.autocast(output.device.type, enabled=False):
            scores = (q / q.shape[-1] ** 0.5) @ k.mT  # (B, nh, T, T)
            out = None  # on the same device, A is written straight into its place
            if "attention" in store.kinds and scores.device == store.device:
                out = store.room(layer, "attention", scores)
            attention = torch.softmax(scores, dim=-1, out=out)
            sa = attention @ v  # (B, nh, T, dh)
        found.append((sa, dict(attention=attention, queries=q, keys=k, values=v)))

    @of_this_thread
    def before_out(_, inputs) -> None:
        if len(found) != 1:
            raise RuntimeError(OTHER_PATH)
        sa, tensors = found.pop()
        heads = inputs[0].unflatten(-1, (msa.num_heads, -1)).transpose(1, 2)
        half_the_digits = torch.finfo(heads.dtype).eps ** 0.5  # heads (B, nh, T, dh)
        if not greatest(sa.sub_(heads)) <= half_the_digits * greatest(heads):
            raise RuntimeError(OTHER_PATH)
        store.keep(layer, **tensors)

    return [
        msa.qkv.register_forward_hook(after_qkv),
        msa.out.register_forward_pre_hook(before_out),
    ]


def watch_tokens(block: TransformerEncoderBlock, layer: int, store: Store) -> list:
    """Hook a block: keep the tokens that leave it.

    Of the last block only the class token leaves, since nothing reads the others:
    they are computed beside it, from the same z'.

    Returns:
        The hooks, to be removed.
    """
    found = []

    @of_this_thread
    def after_msa(_, inputs, output) -> None:
        found.append(output[0] if isinstance(output, tuple) else output)  # (B, T, D)

    @of_this_thread
    def after_block(_, inputs, output) -> None:
        if not found:
            return  # the pass went around the attention: `capture` will say so
        z = output[0] if isinstance(output, tuple) else output  # (B, T or 1, D)
        z_prime = found.pop()
        if z.shape[1] < z_prime.shape[1]:
            gpus = [z.device] if z.is_cuda else []
            with torch.random.fork_rng(gpus):  # dropout's numbers stay the model's
                others = block.mlp_block(z_prime[:, 1:])  # (B, N, D)
            z = torch.cat([z, others], dim=1)  # (B, T, D)
        store.keep(layer, hidden=at_least_float32(z))

    return [
        block.msa_block.register_forward_hook(after_msa),
        block.register_forward_hook(after_block),
    ]


def greatest(x: Tensor) -> Tensor:
    """Greatest absolute value, in one pass."""
    low, high = x.aminmax()
    return torch.maximum(-low, high)


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
    A compiled model runs uncompiled meanwhile: it would ignore new hooks.

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
    store, hooks = Store(layers, kinds, torch.device(device)), []
    try:
        for layer in layers:
            block = vit.encoder.blocks[layer - 1]
            if not isinstance(block, TransformerEncoderBlock):
                raise RuntimeError(f"layer {layer} is no block of notebook 05")
            if set(kinds) != {"hidden"}:
                hooks += watch_attention(block.msa_block.msa, layer, store)
            if "hidden" in kinds:
                hooks += watch_tokens(block, layer, store)
        with torch.compiler.set_stance("force_eager"):
            logits = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    for layer in layers:
        if not {(kind, layer) for kind in kinds} <= store.filled:
            raise RuntimeError(
                f"nothing came out of layer {layer}: the pass went around its block or "
                "its attention layer, so there is nothing to show"
            )
    return Captured(logits, layers, **store.stacks)


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
