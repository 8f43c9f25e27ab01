"""Fine-tuning: what a pretrained model is adapted with, whole or by its head alone."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor, nn

from going_modular.config import ViTConfig
from going_modular.data_setup import ImageSet
from going_modular.datasets.fast_batches import FastBatches, normaliser
from going_modular.errors import InputError
from going_modular.system.progress import progress_of
from going_modular.training.memory import evaluation_batch_size
from going_modular.training.run import FEATURES, Parts
from going_modular.training.settings import (
    TRAINING_FIELDS,
    TrainingSettings,
    check_types,
)
from going_modular.transfer.few_shot import compute_features
from going_modular.transfer.layer_decay import build_layerwise_optimizer
from going_modular.transfer.recipes import MODES, RECIPES
from going_modular.vit import ViT
from going_modular.weights.reading import Pretrained

__all__ = [
    "TransferPlan",
    "build_model",
    "features_of",
    "features_of_all",
    "fitted_config",
    "head_parts",
    "image_batches",
    "model_parts",
    "set_up",
    "usual_size",
]

MOMENTUM = 0.9  # Table 4
USUAL = 224  # pixels, as in most pre-training


@dataclass(frozen=True)
class TransferPlan:
    """Everything that decides a run's results.

    Attributes:
        data: A name of `datasets.sources.SOURCES`, or a folder.
        weights: As for `read_pretrained`.
        mode: "full" trains everything, "linear" a head on the frozen model.
        recipe: "paper" trains as Table 4 does, "auto" as `transfer.recipes` says.
        shots: Labelled images of each class; 0 takes all.
        image_size: Side of the images in pixels; 0 takes that of the weights.
        num_heads: Where the weights do not tell; 0 elsewhere.
        mean, std: The same of the normalisation; empty elsewhere.
        raw: Take raw weights that lie beside their running average.
        resize: How position embeddings are interpolated.
        training: The optimiser's side.
    """

    data: str
    weights: str
    mode: str
    recipe: str
    shots: int
    image_size: int
    num_heads: int
    mean: tuple
    std: tuple
    raw: bool
    resize: str
    training: TrainingSettings

    advice: ClassVar[str] = (
        "--mode linear, --learning-rate auto, milder crops (--crop-area 0.8) or other "
        "--weights"
    )

    def __post_init__(self):
        check_types(self)
        for name in ("shots", "image_size", "num_heads"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        for name, choices in (("mode", MODES), ("recipe", RECIPES)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be {' or '.join(choices)}")
        if self.mode == "linear" and self.training.changes_images:
            raise ValueError(
                "mode linear computes features once, so it needs augment none, and no "
                "randaugment, mixup or cutmix"
            )

    def told(self) -> dict:
        """What `read_pretrained` is told of the weights."""
        told = {name: getattr(self, name) or None for name in ("mean", "std")}
        return dict(num_heads=self.num_heads or None, raw=self.raw, **told)

    @classmethod
    def from_settings(cls, settings: dict) -> "TransferPlan":
        """Build it from one flat dictionary, as `settings()` gives it."""
        own = {k: v for k, v in settings.items() if k not in TRAINING_FIELDS}
        training = {k: v for k, v in settings.items() if k in TRAINING_FIELDS}
        try:
            return cls(training=TrainingSettings(**training), **own)
        except ValueError as error:
            raise InputError(str(error)) from None

    def settings(self) -> dict:
        own = {k: v for k, v in vars(self).items() if k != "training"}
        return {**own, **asdict(self.training)}


def usual_size(config: ViTConfig) -> int:
    """The side of the images where nobody says it: at most 224 pixels.

    Many weights were made for images of 384 or 518 pixels, which take several
    times as long.

    Returns:
        The greatest multiple of the patch side up to 224; 0, which takes the weights'
        own size, where that is no larger.
    """
    if max(config.image_shape) <= USUAL:
        return 0
    return USUAL // config.patch_size * config.patch_size


def fitted_config(plan: TransferPlan, found: Pretrained, classes: int) -> ViTConfig:
    """The pretrained model, for the size of image and the classes asked for."""
    try:
        return replace(
            found.config,
            image_size=plan.image_size or found.config.image_size,
            num_classes=classes,
            representation_size=None,
        )
    except ValueError as error:
        raise InputError(str(error)) from None


def build_model(plan: TransferPlan, found: Pretrained, classes: int) -> ViT:
    """A model to fine-tune, not yet with the weights."""
    return found.build(fitted_config(plan, found, classes))


def set_up(
    plan: TransferPlan,
    model: ViT,
    sets: dict[str, ImageSet],
    device: torch.device,
) -> Parts:
    """What takes part in fine-tuning all weights, or a head on features.

    In mode "linear" the features are computed here, once, in the precision of the plan:
    an epoch then takes the time of one matrix product.
    """
    if plan.mode == "full":
        return model_parts(plan, model, sets, device)
    features = features_of_all(plan, model, sets, device)
    return head_parts(plan.training, model.head, features, device)


def model_parts(
    plan: TransferPlan, model: ViT, sets: dict[str, ImageSet], device: torch.device
) -> Parts:
    """What takes part in training the whole model on images."""
    settings = plan.training
    transform = normaliser(model.config.mean, model.config.std)
    optimizer = (
        momentum_optimizer(model, settings)
        if plan.recipe == "paper"
        else build_layerwise_optimizer(
            model, settings.learning_rate, settings.weight_decay
        )
    )
    at_once = evaluation_batch_size(model.config, device)
    batches = make_batches(settings, sets, transform, device, at_once)
    return Parts(model, optimizer, **batches)


def head_parts(
    settings: TrainingSettings,
    head: nn.Linear,
    features: dict[str, ImageSet],
    device: torch.device,
) -> Parts:
    """What takes part in training a head on the features of `features_of_all`."""
    batches = make_batches(settings, features, torch.Tensor.float, device)
    return Parts(head, momentum_optimizer(head, settings), **batches)


def make_batches(
    settings: TrainingSettings,
    sets: dict[str, ImageSet],
    transform: Callable[[Tensor], Tensor],
    device: torch.device,
    test_batch: int = 500,
) -> dict[str, FastBatches]:
    """Batches of each set, as `Parts` names them, of `test_batch` images to test."""
    batches = {
        f"{name}_batches": FastBatches(
            data, test_batch, transform=transform, device=device
        )
        for name, data in sets.items()
    }
    batches["train_batches"] = FastBatches(
        sets["train"],
        settings.batch_size,
        shuffle=True,
        **settings.crops,
        transform=transform,
        seed=settings.seed,
        device=device,
    )
    return batches


def momentum_optimizer(
    model: nn.Module, settings: TrainingSettings
) -> torch.optim.Optimizer:
    """SGD as in Table 4."""
    return torch.optim.SGD(
        model.parameters(),
        settings.learning_rate,
        MOMENTUM,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def features_of_all(
    plan: TransferPlan, model: ViT, sets: dict[str, ImageSet], device: torch.device
) -> dict[str, ImageSet]:
    """The sets with features in the place of images, in the precision of the plan."""
    count = sum(map(len, sets.values()))
    with progress_of(f"features of {count:,} images", count, FEATURES) as shown:
        for name, data in sets.items():
            images = shown.over(image_batches(model, data, device))
            features, _ = compute_features(model, images, plan.training.dtype)
            sets = sets | {name: replace(data, images=features)}
    return sets


def features_of(
    model: ViT,
    data: ImageSet,
    device: torch.device,
    precision: torch.dtype = torch.float32,
) -> torch.Tensor:
    """(n, D) features y of a set's images, computed in a precision."""
    return compute_features(model, image_batches(model, data, device), precision)[0]


def image_batches(model: ViT, data: ImageSet, device: torch.device) -> FastBatches:
    """A set's images in order, normalised as the model wants them."""
    transform = normaliser(model.config.mean, model.config.std)
    at_once = evaluation_batch_size(model.config, device)
    return FastBatches(data, at_once, transform=transform, device=device)
