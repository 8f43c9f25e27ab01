"""What should grow: depth, width, the MLP, or the number of patches?

    python -m experiments.shape

One size at a time is halved and doubled, then all together, and each model chooses its
rate. What a size costs is counted in multiplications.
"""

import sys
from dataclasses import replace

from experiments.clothes import SMALL, Recipe, train_and_judge
from experiments.contenders import multiplications
from experiments.study import Study, Tried, study_main
from going_modular.vit import ViT

BASE = dict(depth=4, embedding_dim=64, mlp_size=128, patch_size=7)
SIZES = {
    "base": {},
    "depth 2": dict(depth=2),
    "depth 8": dict(depth=8),
    "width 32": dict(embedding_dim=32),
    "width 128": dict(embedding_dim=128),
    "MLP 64": dict(mlp_size=64),
    "MLP 256": dict(mlp_size=256),
    "patch 14": dict(patch_size=14),
    "patch 4": dict(patch_size=4),
    "all smaller": dict(depth=3, embedding_dim=48, mlp_size=96),
    "all larger": dict(depth=6, embedding_dim=96, mlp_size=192),
}


def run(seed: int, judge: str, learning_rate: float, **sizes) -> dict[str, float]:
    """Train a model of some sizes."""
    config = replace(SMALL, **{**BASE, **sizes})
    recipe = Recipe(learning_rate=learning_rate)
    model, figures = train_and_judge(lambda: ViT(config), recipe, seed, judge)
    return figures | {"multiplications": float(multiplications(model))}


STUDY = Study(
    name="shape",
    question="What should grow: depth, width, the MLP, or the number of patches?",
    source="figure 8",
    run=run,
    settings={
        name: dict(**sizes, learning_rate=Tried(1e-3, 3e-3))
        for name, sizes in SIZES.items()
    },
)

if __name__ == "__main__":
    sys.exit(study_main(STUDY))
