"""Is what a model learned without labels of use when there are few?

    python -m experiments.few_labels

Five kinds of clothes are what one can pre-train with, the other five are to be told
apart with 5 or 50 labelled images of each. The model starts anew, or with what it
learned from hidden patches of the first five kinds, or from their labels.
"""

import os
import sys
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from experiments.clothes import Recipe, built_in_images, train_and_judge
from experiments.masked import train_masked
from experiments.masked_patches import CONFIG
from experiments.study import Study, Tried, study_main
from going_modular.data_setup import ImageSet
from going_modular.transfer.few_shot import choose_shots
from going_modular.vit import ViT

FIVE = replace(CONFIG, num_classes=5)
BEFORE = (1, 3, 5, 7, 9)  # trousers, dresses and shoes
AFTER = (0, 2, 4, 6, 8)  # T-shirts, pullovers, coats, shirts and bags: alike, and hard
CACHE = Path(__file__).parent / "cache"
PRETRAINING = Recipe(epochs=20)
SEEN = 6_000  # images of fine-tuning, whatever their number


def only(data: ImageSet, classes: tuple[int, ...]) -> ImageSet:
    """The images of some classes, which are counted anew."""
    kept = torch.isin(data.labels, torch.tensor(classes))
    labels = torch.searchsorted(torch.tensor(classes), data.labels[kept])
    names = tuple(data.class_names[label] for label in classes)
    return ImageSet(data.images[kept], labels, names)


@cache
def five_kinds(classes: tuple[int, ...]) -> dict[str, ImageSet]:
    """All sets, with five kinds of clothes alone."""
    return {name: only(data, classes) for name, data in built_in_images().items()}


def pretrained(start: str, seed: int, rate: float) -> dict[str, Tensor]:
    """A pre-trained model's weights but those of its head; the cache may have them."""
    recipe = replace(PRETRAINING, learning_rate=rate)
    how = f"{recipe.epochs}x{recipe.batch_size}-{recipe.learning_rate:g}"
    file = CACHE / f"{start}-{how}-{seed}.safetensors"
    if not file.exists():
        sets = five_kinds(BEFORE)
        if start == "masked":
            model = train_masked(FIVE, sets["train"], recipe, seed).vit
        else:
            build = partial(ViT, FIVE)
            model, _ = train_and_judge(build, recipe, seed, "val", sets)
        weights = model.state_dict()
        own = {k: v for k, v in weights.items() if not k.startswith("head")}
        CACHE.mkdir(exist_ok=True)
        beside = file.with_suffix(f".{os.getpid()}")  # another run may need it, too
        save_file(own, beside)
        os.replace(beside, file)
    return load_file(file)


def run(
    seed: int, judge: str, start: str, shots: int, before: float = 0.0, **recipe
) -> dict[str, float]:
    """Fine-tune to few labelled images of the other kinds.

    Args:
        seed, judge: As for `train_and_judge`.
        start: "scratch", "masked" or "supervised".
        shots: Labelled images of each kind.
        before: The learning rate of pre-training.
        recipe: Of fine-tuning.
    """
    sets = five_kinds(AFTER)
    few = sets["train"].subset(choose_shots(sets["train"].labels, shots, seed))
    weights = pretrained(start, seed, before) if start != "scratch" else {}

    def build() -> nn.Module:
        model = ViT(FIVE)
        model.load_state_dict(weights, strict=False)
        return model

    recipe = Recipe(epochs=SEEN // len(few), batch_size=25, **recipe)
    images = {**sets, "train": few}
    return train_and_judge(build, recipe, seed, judge, images)[1]


RATES_BEFORE = dict(before=Tried(1e-3, 3e-3))
STARTS = {"scratch": {}, "masked": RATES_BEFORE, "supervised": RATES_BEFORE}
STUDY = Study(
    name="few_labels",
    question="Is what a model learned without labels of use when there are few?",
    source="section 4.6",
    run=run,
    settings={
        f"{start}, {shots} of each": dict(
            start=start, shots=shots, learning_rate=Tried(3e-4, 1e-3, 3e-3), **before
        )
        for shots in (5, 50)
        for start, before in STARTS.items()
    },
)

if __name__ == "__main__":
    sys.exit(study_main(STUDY))
