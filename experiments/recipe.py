"""Which parts of Table 3's recipe does a small Vision Transformer need?

    python -m experiments.recipe

One part at a time is changed, and all else is equal, the learning rate too: validation
images chose it for the whole recipe.
"""

import sys

import torch
from torch import nn

from experiments.clothes import MEAN, SMALL, STD, Recipe, train_and_judge
from experiments.study import Study, Tried, study_main
from going_modular.optimization import build_optimizer, decay_groups
from going_modular.vit import ViT

RATE = 2e-3  # chosen: see the first rows of the table
WHOLE = "the whole recipe"


def coupled(model: nn.Module, rate: float, weight_decay: float) -> torch.optim.Adam:
    """Adam whose decay is part of the gradient, of matrices alone."""
    return torch.optim.Adam(decay_groups(model, weight_decay), rate, fused=True)


def build(embeddings: float | None = None) -> ViT:
    """The small model, perhaps with class token and positions from another start.

    Args:
        embeddings: Standard deviation of both; None leaves the official start.
    """
    model = ViT(SMALL)
    if embeddings is not None:
        for parameter in (
            model.patch_embedding.class_token,
            model.patch_embedding.position_embedding,
        ):
            nn.init.normal_(parameter, std=embeddings)
    return model


def run(
    seed: int,
    judge: str,
    embeddings: float | None = None,
    is_coupled: bool = False,
    normalised: bool = True,
    **recipe,
) -> dict[str, float]:
    """Train with one part changed."""
    optimizer = coupled if is_coupled else build_optimizer
    recipe = Recipe(**{"learning_rate": RATE, **recipe}, optimizer=optimizer)
    scale = dict(mean=MEAN, std=STD) if normalised else dict(mean=(0.0,), std=(1.0,))
    _, figures = train_and_judge(
        lambda: build(embeddings), recipe, seed, judge, **scale
    )
    return figures


STUDY = Study(
    name="recipe",
    question="Which parts of the recipe does a small Vision Transformer need?",
    source="Table 3",
    run=run,
    settings={
        WHOLE: dict(learning_rate=Tried(5e-4, 1e-3, 2e-3, 4e-3, 8e-3)),
        "no warm-up": dict(warmup=0.0),
        "no clipping": dict(clip_norm=None),
        "constant rate": dict(decay="constant"),
        "linear decay of the rate": dict(decay="linear"),
        "no weight decay": dict(weight_decay=0.0),
        "weight decay 0.3": dict(weight_decay=0.3),
        "weight decay 1": dict(weight_decay=1.0),
        "coupled decay 0.1": dict(is_coupled=True),
        "coupled decay 0.001": dict(is_coupled=True, weight_decay=0.001),
        "embeddings from N(0, 1)": dict(embeddings=1.0),
        "label smoothing 0.1": dict(label_smoothing=0.1),
        "pixels from 0 to 1": dict(normalised=False),
    },
)

if __name__ == "__main__":
    sys.exit(study_main(STUDY))
