"""How much data does a Vision Transformer need until it does without convolutions?

    python -m experiments.inductive_bias

Models that know more or less about images from the start learn from 500 to 55,000
pictures of clothes. Each chooses its learning rate, and for how many images it is
trained in all, on 5,000 other pictures, at each size. Needs all of Fashion-MNIST.

What each has learned then serves another task, as in figure 4: five labelled images of
each handwritten digit, classified in closed form by its features ("few_shot").
"""

import sys
from functools import cache

import torch

from experiments.clothes import MEAN, STD, Recipe, digits, train_and_judge
from experiments.contenders import CONTENDERS, multiplications
from experiments.study import Study, Tried, study_main
from going_modular.data_setup import Batches, ImageSet
from going_modular.datasets.fast_batches import normaliser
from going_modular.datasets.folders import split
from going_modular.datasets.sources import load_fashion_mnist
from going_modular.transfer.few_shot import compute_features, few_shot_accuracy

SIZES = (500, 2_000, 8_000, 55_000)
SHOTS = 5


@cache
def all_images() -> dict[str, ImageSet]:
    """55,000 images to train on, 5,000 to choose with, 10,000 to judge."""
    images, test = load_fashion_mnist()
    train, val = split(images, 5_000 / len(images), seed=0)
    return {"train": train, "val": val, "test": test}


def some_images(count: int, seed: int) -> dict[str, ImageSet]:
    """So many training images; a smaller number are the first of a larger one."""
    sets = all_images()
    stream = torch.Generator().manual_seed(seed)
    some = torch.randperm(len(sets["train"]), generator=stream)[:count]
    return sets | {"train": sets["train"].subset(some)}


def few_shot(model, seed: int) -> float:
    """Accuracy on digits of a few labelled ones, by the features of a model."""
    transform = normaliser(MEAN, STD)
    features = [
        compute_features(model, Batches(data, 500, transform=transform))
        for data in digits()
    ]
    return few_shot_accuracy(*features, num_classes=10, shots=SHOTS, seed=seed)


def run(
    seed: int, judge: str, model: str, count: int, seen: int, learning_rate: float
) -> dict[str, float]:
    """Train a model on some images until it has seen so many in all."""
    recipe = Recipe(
        epochs=max(1, round(seen / count)),
        learning_rate=learning_rate,
        label_smoothing=0.1,
    )
    images = some_images(count, seed)
    trained, figures = train_and_judge(CONTENDERS[model], recipe, seed, judge, images)
    return figures | {
        "few_shot": few_shot(trained, seed),
        "multiplications": float(multiplications(trained)),
    }


def lengths(count: int) -> Tried:
    """Images that a run sees in all: from two epochs of many to 180 of few."""
    return Tried(30_000, 90_000) if count < 50_000 else Tried(110_000, 275_000)


STUDY = Study(
    name="inductive_bias",
    question="How much data does a Vision Transformer need?",
    source="figures 3, 4 and 5",
    run=run,
    settings={
        f"{model}, {count:,} images": dict(
            model=model,
            count=count,
            seen=lengths(count),
            learning_rate=Tried(1e-3, 4e-3),
        )
        for model in CONTENDERS
        for count in SIZES
    },
)

if __name__ == "__main__":
    sys.exit(study_main(STUDY))
