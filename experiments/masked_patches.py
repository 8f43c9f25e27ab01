"""Can a Vision Transformer tell how bright the patches are that it cannot see?

    python -m experiments.masked_patches

Half of the patches of each image are corrupted, and their brightness in eight levels is
to be told. A model that has learned it is held against three guesses without learning:
the level that is most common among the training images, the one that is most common at
the patch's place, and the mean of the neighbours that can be seen.
"""

import sys
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from experiments.clothes import SMALL, Recipe, built_in_images
from experiments.masked import (
    LEVELS,
    grey_levels,
    levels_of_neighbours,
    predict_masked,
    train_masked,
)
from experiments.study import Study, Tried, study_main
from going_modular.data_setup import ImageSet

CONFIG = replace(SMALL, patch_size=4)


def commonest_level(data: ImageSet) -> int:
    """The level of most patches."""
    levels = grey_levels(data.images, CONFIG.patch_size)  # (n, N)
    return int(levels.flatten().bincount(minlength=LEVELS).argmax())


def commonest_levels(data: ImageSet) -> Tensor:
    """(N,) the level that most images have at each place."""
    levels = grey_levels(data.images, CONFIG.patch_size)  # (n, N)
    return F.one_hot(levels, LEVELS).sum(dim=0).argmax(dim=-1)  # (N,)


def run(
    seed: int, judge: str, guess: str, epochs: int = 0, learning_rate: float = 0.0
) -> dict[str, float]:
    """Guess the corrupted patches of the images that judge, in one of four ways.

    Without epochs the model says the same of all patches, and its loss is ln 8.
    """
    sets = built_in_images()
    recipe = Recipe(epochs=epochs, learning_rate=learning_rate)
    model = train_masked(CONFIG, sets["train"], recipe, seed)
    logits, levels, corrupted = predict_masked(model, sets[judge], seed)
    loss = F.cross_entropy(logits[corrupted], levels[corrupted]).item()
    commonest = torch.full_like(levels, commonest_level(sets["train"]))
    if guess == "model":
        guesses = logits.argmax(dim=-1)  # (n, N)
    elif guess == "neighbours":
        around = levels_of_neighbours(sets[judge].images, CONFIG.patch_size, corrupted)
        guesses = torch.where(around < 0, commonest, around)
    elif guess == "place":
        guesses = commonest_levels(sets["train"]).expand_as(levels)  # (n, N)
    else:
        guesses = commonest
    accuracy = (guesses == levels)[corrupted].float().mean().item()
    return {"accuracy": accuracy, "loss": loss if guess == "model" else float("nan")}


RATES = Tried(1e-3, 3e-3)


STUDY = Study(
    name="masked_patches",
    question="Can a Vision Transformer tell how bright hidden patches are?",
    source="section 4.6 and appendix B.1.2",
    run=run,
    settings={
        "most common level": dict(guess="commonest"),
        "most common level of the place": dict(guess="place"),
        "mean of the neighbours": dict(guess="neighbours"),
        "model, 3 epochs": dict(guess="model", epochs=3, learning_rate=RATES),
        "model, 12 epochs": dict(guess="model", epochs=12, learning_rate=RATES),
    },
)

if __name__ == "__main__":
    sys.exit(study_main(STUDY))
