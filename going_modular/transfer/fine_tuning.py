"""Fine-tuning by Table 4: a pretrained model, a new head, momentum and a cosine."""

from dataclasses import asdict, dataclass, replace

import torch

from going_modular.config import ViTConfig
from going_modular.data_setup import ImageSet
from going_modular.datasets.fast_batches import FastBatches, normaliser
from going_modular.errors import InputError
from going_modular.system.progress import progress_of
from going_modular.training.run import FEATURES, Parts
from going_modular.training.settings import (
    TRAINING_FIELDS,
    TrainingSettings,
    check_types,
)
from going_modular.transfer.few_shot import compute_features
from going_modular.vit import ViT
from going_modular.weights.reading import Pretrained

__all__ = [
    "MODES",
    "TransferPlan",
    "build_model",
    "features_of",
    "fitted_config",
    "image_batches",
    "set_up",
]

MOMENTUM = 0.9  # Table 4
# Table 4: SGD, cosine, no weight decay, gradients clipped at 1, batches of 512, here
# smaller since there are fewer images. A head on frozen features bears higher rates.
COMMON = dict(weight_decay=0.0, label_smoothing=0.0, clip_norm=1.0, augment="none")
MODES = {
    "full": dict(epochs=30, batch_size=25, learning_rate=0.03, **COMMON),
    "linear": dict(epochs=100, batch_size=25, learning_rate=0.1, **COMMON),
}


@dataclass(frozen=True)
class TransferPlan:
    """Everything that decides a run's results.

    Attributes:
        data: A name of `datasets.sources.SOURCES`, or a folder.
        weights: As for `read_pretrained`.
        mode: "full" trains everything, "linear" a head on the frozen model.
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
    shots: int
    image_size: int
    num_heads: int
    mean: tuple
    std: tuple
    raw: bool
    resize: str
    training: TrainingSettings

    def __post_init__(self):
        check_types(self)
        for name in ("shots", "image_size", "num_heads"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)}")
        if self.mode == "linear" and self.training.augment != "none":
            raise ValueError(
                "mode linear computes features once, so it needs augment none"
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
    """Table 4's fine-tuning of all weights, or of a head on features.

    In mode "linear" the features are computed here, once, in the precision of the plan:
    an epoch then takes the time of one matrix product.
    """
    settings, trained = plan.training, model
    transform = normaliser(model.config.mean, model.config.std)
    if plan.mode == "linear":
        trained, transform = model.head, torch.Tensor.float
        count = sum(map(len, sets.values()))
        with progress_of(f"features of {count:,} images", count, FEATURES) as shown:
            for name, data in sets.items():
                images = shown.over(image_batches(model, data, device))
                features, _ = compute_features(model, images, settings.dtype)
                sets = sets | {name: replace(data, images=features)}
    batches = {
        f"{name}_batches": FastBatches(data, 250, transform=transform, device=device)
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
    optimizer = torch.optim.SGD(
        trained.parameters(),
        settings.learning_rate,
        MOMENTUM,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    return Parts(trained, optimizer, **batches)


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
    return FastBatches(data, 250, transform=transform, device=device)
