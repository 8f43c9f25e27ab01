"""Maps of what a model looks at, from the attention of its own forward pass."""

import numpy as np
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow
from torch import Tensor

from going_modular.attention_capture import Captured, capture
from going_modular.utils import InputError

__all__ = [
    "Captured",
    "attention_entropy",
    "attention_flow",
    "attention_from",
    "attention_rollout",
    "attention_to",
    "capture",
    "mean_attention_distance",
    "to_grid",
    "token_index",
]


def token_index(grid_shape: tuple[int, int], patch: tuple[int, int] | None) -> int:
    """Place of a patch in the sequence of tokens; of the class token if None.

    Args:
        grid_shape: Patches in a column and in a row, (H/P, W/P).
        patch: Row and column of the patch, from 0.

    Raises:
        InputError: The grid has no such patch.
    """
    if patch is None:
        return 0
    (rows, columns), (row, column) = grid_shape, patch
    if row not in range(rows) or column not in range(columns):
        raise InputError(
            f"no patch ({row}, {column}): this model has rows 0 to {rows - 1} and "
            f"columns 0 to {columns - 1}"
        )
    return 1 + row * columns + column


def to_grid(tokens: Tensor, grid_shape: tuple[int, int]) -> Tensor:
    """Lay the values of (..., T) tokens out on the grid, without the class token's.

    Returns:
        (..., H/P, W/P) values, one a patch.

    Raises:
        InputError: T is not a class token and the patches of this grid.
    """
    rows, columns = grid_shape
    if tokens.shape[-1] != rows * columns + 1:
        raise InputError(
            f"{tokens.shape[-1]} tokens are not a class token and {rows} x {columns} "
            "patches: give the grid_shape of the model's configuration"
        )
    return tokens[..., 1:].unflatten(-1, grid_shape)  # (..., H/P, W/P)


def attention_from(
    attention: Tensor, grid_shape: tuple[int, int], patch: tuple[int, int] | None = None
) -> Tensor:
    """Where a token looks: its row of A, on the grid of patches.

    Args:
        attention: (..., T, T) weights.
        grid_shape: Patches in a column and in a row, (H/P, W/P).
        patch: Row and column of the patch that looks, from 0; None: the class token.

    Returns:
        (..., H/P, W/P) weights. With the class token's own they sum to one.

    Source: ViT paper, Equation 6.
    """
    return to_grid(attention[..., token_index(grid_shape, patch), :], grid_shape)


def attention_to(
    attention: Tensor, grid_shape: tuple[int, int], patch: tuple[int, int] | None = None
) -> Tensor:
    """Who looks at a token: its column of A, on the grid; else as `attention_from`."""
    return to_grid(attention[..., token_index(grid_shape, patch)], grid_shape)


def fuse_heads(attention: Tensor, fusion: str, discard: float) -> Tensor:
    """One matrix for all heads, its smallest weights set to zero: (..., T, T)."""
    if fusion == "mean":
        fused = attention.mean(-3)
    elif fusion in ("max", "min"):
        fused = getattr(attention, f"a{fusion}")(-3)
    else:
        raise InputError(f'fusion must be "mean", "max" or "min", not {fusion!r}')
    if not 0 <= discard < 1:
        raise InputError(f"discard must be at least 0 and less than 1, not {discard}")
    flat = fused.flatten(-2)  # (..., T*T)
    smallest = flat.argsort(-1)[..., : int(discard * flat.shape[-1])]
    return flat.scatter(-1, smallest, 0).view_as(fused)  # (..., T, T)


def attention_rollout(
    attention: Tensor, fusion: str = "mean", discard: float = 0.0
) -> Tensor:
    """Attention multiplied through the layers, residual connections included.

    Each layer's heads are fused, the identity is added for the residual connection,
    and rows are made to sum to one. The layers up to the l-th are then multiplied.

    Args:
        attention: (L, ..., nh, T, T) weights of all layers, the first one first.
        fusion: How heads become one: "mean" as in the paper, "max" or "min".
        discard: Share of each fused matrix, its smallest weights, that is set to zero.

    Returns:
        (L, ..., T, T): the rollout up to each layer. Rows sum to one.

    Source: ViT paper, figures 6 and 14, appendix D.8; Abnar and Zuidema,
    arXiv 2005.00928. Other fusions and discarding: github.com/jacobgil/vit-explain.
    """
    fused = fuse_heads(attention, fusion, discard)
    steps = fused + torch.eye(fused.shape[-1], device=fused.device)
    steps = steps / steps.sum(-1, keepdim=True)
    rollout = [steps[0]]
    for step in steps[1:]:
        rollout.append(step @ rollout[-1])
    return torch.stack(rollout)


def attention_flow(attention: Tensor) -> Tensor:
    """How much could flow from each input token into the class token at the top.

    Tokens are nodes, layer by layer. Weights, fused and with half the identity as in
    `attention_rollout`, are the capacities of the pipes between them. Pass only the
    first l layers for the flow into the class token of layer l.

    Args:
        attention: (L, nh, T, T) weights of one image, the first layer first.

    Returns:
        (T,) the greatest flow from each input token, between 0 and 1, to six digits.

    Source: Abnar and Zuidema, arXiv 2005.00928, "attention flow".
    """
    L, _, T, _ = attention.shape
    unit = 2**24  # the solver takes whole numbers
    capacities = (attention.mean(1).cpu() + torch.eye(T)) / 2  # (L, T, T)
    layer, i, j = np.indices((L, T, T)).reshape(3, -1)
    pipes = ((layer + 1) * T + i, layer * T + j)  # from token i above to j below
    whole = (capacities * unit).round().int().flatten().numpy()
    network = csr_array((whole, pipes), shape=((L + 1) * T, (L + 1) * T))
    flows = [maximum_flow(network, L * T, token).flow_value for token in range(T)]
    return torch.tensor(flows) / unit


def mean_attention_distance(
    attention: Tensor,
    grid_shape: tuple[int, int],
    patch_size: int,
    renormalise: bool = True,
) -> Tensor:
    """How far heads look, on average over the patches that look.

    The distance between two patches is that of their centres. Each patch's distances
    are averaged with its attention as weights. The class token takes no part.

    Args:
        attention: (..., nh, T, T) weights.
        grid_shape: Patches in a column and in a row, (H/P, W/P).
        patch_size: Patch side P, in pixels.
        renormalise: Divide by the attention that the patches get together, so that
            this is an average; False leaves the class token's share at distance zero.

    Returns:
        (..., nh) distances in pixels.

    Source: ViT paper, figures 7 (right) and 11, appendix D.7; the authors' words in
    github.com/google-research/vision_transformer, issue 162.
    """
    rows, columns = grid_shape
    centres = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))  # (N, 2)
    centres = patch_size * centres.to(attention)
    distances = torch.cdist(centres, centres)  # (N, N)
    weights = attention[..., 1:, 1:]  # (..., nh, N, N)
    if weights.shape[-1] != len(centres):
        to_grid(attention[..., 0], grid_shape)  # says so
    if renormalise:
        weights = weights / weights.sum(-1, keepdim=True)
    return (weights * distances).sum(-1).mean(-1)  # (..., nh)


def attention_entropy(attention: Tensor) -> Tensor:
    """How widely heads spread their attention, on average over all tokens.

    Args:
        attention: (..., nh, T, T) weights.

    Returns:
        (..., nh) entropies in bits: 0 for a head that looks at one token, log2(T) for
        one that looks at all alike.
    """
    return torch.special.entr(attention).sum(-1).mean(-1) / np.log(2)  # (..., nh)
