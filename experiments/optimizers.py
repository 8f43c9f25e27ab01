"""Is Adam or SGD the better way to pre-train a convolutional network?

    python -m experiments.optimizers

The paper pre-trains its ResNets with Adam, against custom, since they then transfer
better. Here a small ResNet learns clothes with one or the other, each at its own rate,
and is then fine-tuned with SGD to ten labelled images of each handwritten digit.
"accuracy" is that of digits, "pretrained" that of clothes.
"""

import sys
from dataclasses import replace

import torch
from torch import nn

from experiments.clothes import Recipe, digits, train_and_judge
from experiments.contenders import ResNet
from experiments.study import Study, Tried, study_main
from going_modular.data_setup import ImageSet
from going_modular.optimization import build_optimizer, decay_groups
from going_modular.transfer.few_shot import choose_shots

SHOTS = 10


def momentum(model: nn.Module, rate: float, weight_decay: float) -> torch.optim.SGD:
    """SGD with momentum 0.9; its decay is a part of the gradient."""
    return torch.optim.SGD(decay_groups(model, weight_decay), rate, momentum=0.9)


OPTIMIZERS = {"Adam": build_optimizer, "SGD": momentum}
# A decay that is part of the gradient is far stronger than one beside Adam's quotient.
DECAY = {"Adam": 0.1, "SGD": 1e-4}


def few_digits(seed: int) -> dict[str, ImageSet]:
    """Ten of each to train on; those left over choose, others judge."""
    train, test = digits()
    few = choose_shots(train.labels, SHOTS, seed)
    left = torch.ones(len(train), dtype=torch.bool)
    left[few] = False
    rest = torch.nonzero(left).flatten()  # (n - 10 K,)
    return {"train": train.subset(few), "val": train.subset(rest), "test": test}


def run(
    seed: int, judge: str, optimizer: str, learning_rate: float, tuning_rate: float
) -> dict[str, float]:
    """Pre-train on clothes, then fine-tune on digits."""
    recipe = Recipe(
        learning_rate=learning_rate,
        weight_decay=DECAY[optimizer],
        optimizer=OPTIMIZERS[optimizer],
    )
    model, before = train_and_judge(ResNet, recipe, seed, judge)
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    tuning = replace(
        Recipe(epochs=60, batch_size=25, weight_decay=0.0, optimizer=momentum),
        learning_rate=tuning_rate,
    )
    _, after = train_and_judge(lambda: model, tuning, seed, judge, few_digits(seed))
    return after | {"pretrained": before["accuracy"]}


STUDY = Study(
    name="optimizers",
    question="Does a network transfer better if Adam has pre-trained it, or SGD?",
    source="Table 7",
    run=run,
    settings={
        "Adam": dict(
            optimizer="Adam",
            learning_rate=Tried(3e-4, 1e-3, 3e-3),
            tuning_rate=Tried(0.003, 0.03),
        ),
        "SGD": dict(
            optimizer="SGD",
            learning_rate=Tried(0.01, 0.03, 0.1),
            tuning_rate=Tried(0.003, 0.03),
        ),
    },
)

if __name__ == "__main__":
    sys.exit(study_main(STUDY))
