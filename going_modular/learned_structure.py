"""What a model has learned, read off its weights and features: no attention needed."""

import torch
from torch import Tensor

from going_modular.vit import ViT

__all__ = [
    "feature_colours",
    "filter_components",
    "position_similarity",
    "principal_components",
]


def principal_components(x: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Directions in which rows differ most.

    Args:
        x: (n, d) rows.
        count: How many directions.

    Returns:
        (count, d) directions of length one, and each one's share of the variance. The
        greatest number of each direction is positive, since its sign means nothing.
    """
    centred = (x - x.mean(0)).double()
    _, lengths, directions = torch.linalg.svd(centred, full_matrices=False)
    shares = lengths.square() / lengths.square().sum()
    directions = directions[:count]  # (count, d)
    greatest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return (directions * greatest.sign()).to(x.dtype), shares[:count].to(x.dtype)


def filter_components(model: ViT, count: int = 28) -> tuple[Tensor, Tensor]:
    """Principal components of the filters that embed a patch.

    Each of E's D columns is a filter: a picture of a patch's size that patches are
    multiplied with.

    Returns:
        (count, C, P, P) components and each one's share of the variance.

    Source: ViT paper, figure 7 (left).
    """
    config = model.config
    filters = model.patch_embedding.projection.weight.detach()  # (D, P*P*C)
    components, shares = principal_components(filters, count)  # (count, P*P*C)
    P, C = config.patch_size, config.in_channels
    pictures = components.unflatten(1, (P, P, C)).permute(0, 3, 1, 2)
    return pictures, shares  # (count, C, P, P)


def position_similarity(model: ViT) -> Tensor:
    """Cosine of the angle between the position embeddings of every two patches.

    Returns:
        (H/P, W/P, H/P, W/P) cosines: row and column of the one, then of the other.

    Source: ViT paper, figures 7 (centre) and 10.
    """
    positions = model.patch_embedding.position_embedding.detach()[0, 1:]  # (N, D)
    directions = torch.nn.functional.normalize(positions, dim=1)
    grid = model.config.grid_shape
    return (directions @ directions.T).view(*grid, *grid)  # (H/P, W/P, H/P, W/P)


def feature_colours(z: Tensor, grid_shape: tuple[int, int]) -> Tensor:
    """Colour patches so that those with similar tokens look alike.

    The first three principal components of the patches of all images together become
    red, green and blue, each stretched from 0 to 1.

    Args:
        z: (B, T, D) tokens, for example z_L.
        grid_shape: Patches in a column and in a row, (H/P, W/P).

    Returns:
        (B, H/P, W/P, 3) colours from 0 to 1.

    Source: the figures of DINOv2, arXiv 2304.07193, without their foreground mask.
    """
    patches = z[:, 1:].flatten(0, 1)  # (B*N, D)
    directions, _ = principal_components(patches, 3)
    colours = patches @ directions.T  # (B*N, 3)
    colours = colours - colours.amin(0)
    colours = colours / colours.amax(0).clamp(min=1e-12)
    return colours.unflatten(0, (len(z), *grid_shape))  # (B, H/P, W/P, 3)
