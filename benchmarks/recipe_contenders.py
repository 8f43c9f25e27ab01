"""Two recipes for one model, each trained an epoch at a time."""

import torch
from torch import nn

from going_modular.data_setup import Batches
from going_modular.engine import evaluate, train_epoch
from going_modular.optimization import build_optimizer, build_schedule
from going_modular.system.signals import StopSignals
from going_modular.training.fast_path import choose_computation
from going_modular.training.settings import Plan
from going_modular.training.trainer import Trainer
from going_modular.utils import set_seeds
from going_modular.vit import ViT

__all__ = ["CommonRecipe", "PaperRecipe"]

COMMON_RATE = 3e-3  # Table 3's, as public replications take it
COMMON_DECAY = 0.3


def spoil_start(model: ViT) -> None:
    """Start a model as PyTorch's defaults and N(0, 1) embeddings would."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5
    nn.init.normal_(model.patch_embedding.class_token)
    nn.init.normal_(model.patch_embedding.position_embedding)


class PaperRecipe:
    """What train.py does."""

    def __init__(self, plan: Plan, train_batches: Batches, test_batches: Batches):
        set_seeds(plan.training.seed)
        model = ViT(plan.model)
        steps = plan.training.epochs * len(train_batches)
        settings = choose_computation(plan.training, torch.device("cpu"), steps)
        optimizer = build_optimizer(
            model, settings.learning_rate, settings.weight_decay
        )
        schedule = build_schedule(
            optimizer, steps, round(settings.warmup * steps), settings.decay
        )
        self.seconds = 0.0
        self.trainer = Trainer(
            model,
            optimizer,
            schedule,
            train_batches,
            test_batches,
            settings.epochs,
            settings.average,
            precision=settings.dtype,
            compiled=settings.compile == "yes",
            accumulate=settings.accumulate,
            clip_norm=settings.clip_norm,
            label_smoothing=settings.label_smoothing,
        )

    def train_epoch(self) -> None:
        with StopSignals() as signals:
            self.trainer.take_steps(lambda state: None, 0, signals)

    def test(self) -> float:
        self.trainer.end_epoch()
        return self.trainer.results["test_acc"][-1]


class CommonRecipe:
    """The same model, started and trained as replications often do."""

    def __init__(self, plan: Plan, train_batches: Batches, test_batches: Batches):
        set_seeds(plan.training.seed)
        self.model = ViT(plan.model)
        spoil_start(self.model)
        self.optimizer = torch.optim.Adam(
            self.model.parameters(), lr=COMMON_RATE, weight_decay=COMMON_DECAY
        )
        self.train_batches, self.test_batches = train_batches, test_batches
        self.epoch, self.seconds = 0, 0.0

    def train_epoch(self) -> None:
        self.train_batches.epoch = self.epoch
        train_epoch(self.model, self.train_batches, self.optimizer, clip_norm=None)
        self.epoch += 1

    def test(self) -> float:
        return evaluate(self.model, self.test_batches)[1]
