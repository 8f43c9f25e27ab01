"""What has to change in a tensor on its way into our model."""

import math
import re
from collections import Counter
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from going_modular.config import ViTConfig
from going_modular.errors import InputError
from going_modular.weights.formats import BLOCK, Format

__all__ = [
    "RESIZE_METHODS",
    "check_flax_heads",
    "check_layer_scale",
    "fold_layer_scale",
    "from_theirs",
    "layer_scales",
    "resize_positions",
    "to_theirs",
]


def from_theirs(ours: str, parts: list[Tensor], flax: bool) -> Tensor:
    """Bring a tensor of theirs, or three, into our form.

    Args:
        ours: Our name of it.
        parts: One tensor, or those of query, key and value.
        flax: They come from Flax, where matrices are (in, out).
    """
    if ours == "patch_embedding.projection.weight":
        (kernel,) = parts
        if kernel.dim() == 2:
            return kernel  # (D, P*P*C), as ours
        if flax:
            return kernel.flatten(0, 2).mT  # (P, P, C, D) to (D, P*P*C)
        return kernel.permute(0, 2, 3, 1).flatten(1)  # (D, C, P, P) to (D, P*P*C)
    if flax and ours.endswith("qkv.weight"):
        parts = [part.flatten(1).mT for part in parts]  # (D, nh, dh) to (D, D)
    elif flax and ours.endswith("qkv.bias"):
        parts = [part.flatten() for part in parts]  # (nh, dh) to (D,)
    elif flax and ours.endswith("msa.out.weight"):
        parts = [part.flatten(0, 1).mT for part in parts]  # (nh, dh, D) to (D, D)
    elif flax and ours.endswith("weight") and "layer_norm" not in ours:
        parts = [part.mT for part in parts]  # (in, out) to (out, in)
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def to_theirs(ours: str, tensor: Tensor, config: ViTConfig, parts: int) -> list[Tensor]:
    """Bring a tensor of ours into the form of a PyTorch library, as 1 part or 3."""
    if ours == "patch_embedding.projection.weight":
        P, C = config.patch_size, config.in_channels
        kernel = tensor.unflatten(1, (P, P, C))  # (D, P, P, C)
        return [kernel.permute(0, 3, 1, 2)]  # (D, C, P, P)
    return list(tensor.chunk(parts))


def layer_scales(state: Mapping[str, Tensor], form: Format, depth: int) -> dict:
    """The linear layer before each LayerScale, by the gamma's name."""
    before, after = form.names[BLOCK + "msa_block.layer_norm.*"].split("#")
    layers = {}
    for kind, part in (("1", "msa_block.msa.out.*"), ("2", "mlp_block.mlp.linear_2.*")):
        linear = form.names[BLOCK + part].removesuffix(".*")
        for gamma in (f"ls{kind}.gamma", f"layer_scale{kind}.lambda1"):
            for block in range(depth):
                key = f"{before}{block}{after[0]}{gamma}"
                layers[key] = linear.replace("#", str(block))
    kinds = {key.rpartition(".")[2] for key in layers if key in state}
    return {key: linear for key, linear in layers.items() if key.endswith(tuple(kinds))}


def fold_layer_scale(
    state: dict[str, Tensor], layers: Mapping[str, str]
) -> dict[str, Tensor]:
    """Multiply DINOv2's LayerScale into the linear layer before it.

    gamma * (W x + b) = (gamma W) x + gamma b, so the model stays the paper's.

    Args:
        state: Their names and tensors.
        layers: As `layer_scales` gives them.

    Returns:
        The weights without the gammas.
    """
    state = dict(state)
    for key, linear in layers.items():
        gamma = state.pop(key)
        state[f"{linear}.weight"] = gamma[:, None] * state[f"{linear}.weight"]
        state[f"{linear}.bias"] = gamma * state[f"{linear}.bias"]
    return state


# How the grid of positions is interpolated: by the paper's authors, timm, torchvision.
# DINOv2's code adds a tenth of a patch to the new grid when it computes the scale, so
# all points move a little. Smoothing is a switch there, off for its weights without
# registers; those with registers were made for what "timm" does.
RESIZE_METHODS = {
    "official": dict(mode="bilinear", align_corners=True),
    "timm": dict(mode="bicubic", antialias=True),
    "torchvision": dict(mode="bicubic", align_corners=True),
    "dinov2": dict(mode="bicubic", offset=0.1),
    "dinov2-antialias": dict(mode="bicubic", offset=0.1, antialias=True),
}


def resize_positions(
    positions: Tensor,
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    method: str = "official",
) -> Tensor:
    """Fit position embeddings to another number of patches.

    The class token's stays. Those of the patches are laid out as the grid that they
    stand for, and interpolated in two dimensions.

    Args:
        positions: (1, T, D), the class token's first.
        old_grid: Patches in a column and in a row of the grid they were trained for.
        new_grid: The same of the new grid.
        method: One of `RESIZE_METHODS`.

    Returns:
        (1, T_new, D).

    Source: ViT paper, section 3.2, "2D interpolation of the pre-trained position
    embeddings, according to their location in the original image".
    """
    if method not in RESIZE_METHODS:
        raise ValueError(f"resize must be {', '.join(RESIZE_METHODS)}, not {method!r}")
    if positions.shape[1] != 1 + math.prod(old_grid):
        raise ValueError(
            f"{positions.shape[1]} positions are not 1 + {old_grid[0]} x {old_grid[1]}"
        )
    if old_grid == new_grid:
        return positions
    class_slot, patches = positions[:, :1], positions[:, 1:]
    grid = patches.unflatten(1, old_grid).permute(0, 3, 1, 2)  # (1, D, rows, columns)
    how = dict(RESIZE_METHODS[method])
    if offset := how.pop("offset", 0):
        pairs = zip(new_grid, old_grid, strict=True)
        how["scale_factor"] = tuple((new + offset) / old for new, old in pairs)
    else:
        how["size"] = new_grid
    grid = F.interpolate(grid.float(), **how)  # (1, D, new rows, new columns)
    patches = grid.flatten(2).transpose(1, 2)  # (1, N_new, D)
    return torch.cat([class_slot, patches.to(positions)], dim=1)  # (1, T_new, D)


def check_layer_scale(state: Mapping[str, Tensor], layers: Mapping[str, str]) -> None:
    """Every block has both gammas, or none, each as long as the bias it scales."""
    for key, linear in layers.items():
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
