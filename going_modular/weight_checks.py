"""Whether tensors have the shapes that the others need: each wrong one is named."""

import re
from collections import Counter
from collections.abc import Mapping

from torch import Tensor

from going_modular.config import ViTConfig
from going_modular.utils import InputError

__all__ = [
    "check_flax_heads",
    "check_layer_scale",
    "check_shapes",
    "expected_shapes",
]


def expected_shapes(config: ViTConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of a model's tensors by their names, without building it."""
    D, F, T = config.embedding_dim, config.mlp_size, config.num_tokens
    hidden = config.representation_size
    layers = {  # (out, in) of each linear layer, (D,) of each LayerNorm
        "patch_embedding.projection": (D, config.patch_dim),
        "layer_norm": (D,),
    }
    for block in range(config.depth):
        layers |= {
            f"encoder.blocks.{block}.msa_block.layer_norm": (D,),
            f"encoder.blocks.{block}.msa_block.msa.qkv": (3 * D, D),
            f"encoder.blocks.{block}.msa_block.msa.out": (D, D),
            f"encoder.blocks.{block}.mlp_block.layer_norm": (D,),
            f"encoder.blocks.{block}.mlp_block.mlp.linear_1": (F, D),
            f"encoder.blocks.{block}.mlp_block.mlp.linear_2": (D, F),
        }
    if hidden is None:
        layers["head"] = (config.num_classes, D)
    else:
        layers |= {"head.0": (hidden, D), "head.2": (config.num_classes, hidden)}
    shapes = {
        "patch_embedding.class_token": (1, 1, D),
        "patch_embedding.position_embedding": (1, T, D),
    }
    for name, shape in layers.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return shapes


def check_shapes(
    weights: Mapping[str, Tensor], config: ViTConfig, names: Mapping[str, list[str]]
) -> None:
    """Hold all names and shapes against the model's own; only a head may be absent."""
    expected = expected_shapes(config)
    for ours, tensor in weights.items():
        if ours not in expected:
            raise InputError(f"{', '.join(names[ours])} has no place in the model")
        if tuple(tensor.shape) != expected[ours]:
            raise InputError(
                f"{', '.join(names[ours])}: shape {tuple(tensor.shape)} as {ours}, "
                f"where the other tensors need {expected[ours]}"
            )
    headless = not any(name.startswith("head") for name in weights)
    missing = [
        name
        for name in expected
        if name not in weights and not (headless and name.startswith("head"))
    ]
    if missing:
        raise InputError(f"the weights lack {', '.join(missing[:3])}")


def check_layer_scale(state: Mapping[str, Tensor], depth: int) -> None:
    """Every block has both gammas, or none, each as long as the bias it scales."""
    gammas = {key for key in state if key.endswith(".gamma")}
    layers = {"ls1": "attn.proj", "ls2": "mlp.fc2"}
    for block in range(depth if gammas else 0):
        for scale, layer in layers.items():
            key, linear = f"blocks.{block}.{scale}.gamma", f"blocks.{block}.{layer}"
            for name in (key, f"{linear}.weight", f"{linear}.bias"):
                if name not in state:
                    raise InputError(
                        f"the weights lack {name}: LayerScale needs both gammas and "
                        "their linear layers in every block"
                    )
            gamma, weight = state[key].shape, state[f"{linear}.weight"].shape
            bias = state[f"{linear}.bias"].shape
            if not (len(gamma) == 1 and gamma == bias == weight[:1]):
                raise InputError(
                    f"{key} {tuple(gamma)}, {linear}.weight {tuple(weight)} and "
                    f"{linear}.bias {tuple(bias)}: their shapes do not fit together"
                )


def check_flax_heads(state: Mapping[str, Tensor]) -> int:
    """Number of heads, which all attention tensors of Flax show on an axis."""
    heads = {}
    for key, tensor in state.items():
        if found := re.search(r"/(query|key|value|out)/(kernel|bias)$", key):
            part, kind = found.groups()
            if part == "out" and kind == "bias":
                continue
            axes = 3 if kind == "kernel" else 2
            shape = tuple(tensor.shape)
            if len(shape) != axes:
                raise InputError(f"{key}: shape {shape}, where {axes} axes are needed")
            heads[key] = shape[:2] if part == "out" else shape[-2:]
    usual = Counter(heads.values()).most_common(1)[0][0]
    for key, pair in heads.items():
        if pair != usual:
            raise InputError(
                f"{key}: shape {tuple(state[key].shape)}, so {pair[0]} heads of "
                f"{pair[1]}, where the other tensors need {usual[0]} of {usual[1]}"
            )
    return usual[0]
