"""Do learned positions know that an image has two dimensions, whatever the recipe?

    python -m experiments.position_similarity

Nobody tells the model which patches are neighbours. After training, the similarity of
each two position embeddings (their cosine) is compared with how near the patches are to
each other: in the same row or column, next to each other, and by distance. Patches are
4 x 4 pixels, 49 of an image.
"""

import sys
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.clothes import SMALL, Recipe, train_and_judge
from experiments.study import Study, study_main
from going_modular.vit import ViT

CONFIG = replace(SMALL, patch_size=4)


def position_figures(positions: Tensor, grid: tuple[int, int]) -> dict[str, float]:
    """How the similarity of positions depends on where they are.

    Args:
        positions: (N, D), row by row.
        grid: Rows and columns of patches.

    Returns:
        nearness: correlation of the cosine with minus the distance, over all pairs.
        neighbours, line, others: mean cosine of patches that touch, of others in the
        same row or column, and of the rest.
    """
    rows, columns = grid
    place = torch.arange(rows * columns)
    y, x = place // columns, place % columns
    dy, dx = (y[:, None] - y).abs(), (x[:, None] - x).abs()  # (N, N)
    cosine = F.normalize(positions, dim=1) @ F.normalize(positions, dim=1).T  # (N, N)
    pairs = place[:, None] < place
    distance = (dy.square() + dx.square()).double().sqrt()  # (N, N)
    both = torch.stack([cosine[pairs].double(), -distance[pairs]])  # (2, pairs)
    touch = pairs & (dy + dx == 1)
    line = pairs & ~touch & ((dy == 0) | (dx == 0))
    return {
        "nearness": torch.corrcoef(both)[0, 1].item(),
        "neighbours": cosine[touch].mean().item(),
        "line": cosine[line].mean().item(),
        "others": cosine[pairs & ~touch & ~line].mean().item(),
    }


def run(seed: int, judge: str, **recipe) -> dict[str, float]:
    """Train, and look at the positions."""
    model, figures = train_and_judge(lambda: ViT(CONFIG), Recipe(**recipe), seed, judge)
    positions = model.patch_embedding.position_embedding.detach()[0, 1:]  # (N, D)
    return figures | position_figures(positions, CONFIG.grid_shape)


STUDY = Study(
    name="position_similarity",
    question="Do learned positions know that an image has two dimensions?",
    source="figure 10",
    run=run,
    settings={
        "before training": dict(epochs=1, learning_rate=0.0),
        "8 epochs, rate 0.001": dict(learning_rate=1e-3),
        "8 epochs, rate 0.004": dict(learning_rate=4e-3),
        "16 epochs, rate 0.001": dict(epochs=16),
    },
)

if __name__ == "__main__":
    sys.exit(study_main(STUDY))
