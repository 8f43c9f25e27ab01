"""Settings of a training run."""

import math
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

import torch

from going_modular.config import ViTConfig, require_positive_integer
from going_modular.errors import InputError
from going_modular.variants.conv_stem import ViTWithConvStem, stem_widths
from going_modular.vit import ViT

__all__ = [
    "CHOICES",
    "MODEL_FIELDS",
    "PRECISIONS",
    "Plan",
    "STEMS",
    "TRAINING_FIELDS",
    "TrainingSettings",
    "check_types",
]


PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
CHOICES = {
    "decay": ("cosine", "linear", "constant"),
    "augment": ("crop", "crop-only", "none"),
    "precision": ("auto", "fp32", "bf16"),
    "compile": ("auto", "yes", "no"),
}
STEMS = ("patches", "conv")


@dataclass(frozen=True)
class TrainingSettings:
    """What decides a training run, beside the data and the model.

    Attributes:
        epochs: Times that every training image is seen.
        batch_size: Images in a step, over all processes.
        learning_rate: Highest learning rate, reached at the end of warm-up.
        weight_decay: Decoupled decay of the weight matrices.
        warmup: Share of all steps in which the rate grows, 0 to 1.
        decay: "cosine", "linear" or "constant" after warm-up.
        clip_norm: Greatest global norm of the gradient.
        label_smoothing: Share of the target spread over all classes.
        augment: "crop" (random crops, half of them mirrored), "crop-only" or "none".
        crop_area: Least share of the image's area that a crop shows.
        randaugment: Strength of RandAugment, 1 to 30; 0 for none.
        mixup: Alpha of mixup, which lays two images over each other; 0 for none.
        cutmix: Alpha of CutMix, which pastes a part of one into another; 0 for none.
        repeats: How often a batch has each of its images, changed in different ways.
        seed: Decides start weights, order and augmentation.
        precision: "auto", "fp32" or "bf16"; auto takes bf16 where the hardware
            computes in it.
        compile: "auto", "yes" or "no": torch.compile; auto takes it on GPUs, for runs
            of at least 2,000 steps.
        accumulate: Parts that a batch is cut into, to need less memory.
        average: Share that a step keeps of the running average of the weights, such as
            the 0.9999 of Table 2's caption; 0 for no average.
        patience: Epochs without a better test accuracy before the run stops; 0 for
            no early stop.

    Raises:
        ValueError: A value is out of range; the message names it.
    """

    epochs: int = 30
    batch_size: int = 100
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    warmup: float = 0.1
    decay: str = "cosine"
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    augment: str = "crop"
    crop_area: float = 0.8
    randaugment: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0
    repeats: int = 1
    seed: int = 0
    precision: str = "auto"
    compile: str = "auto"
    accumulate: int = 1
    average: float = 0.0
    patience: int = 0

    def __post_init__(self):
        check_types(self)
        require_positive_integer("epochs", self.epochs)
        require_positive_integer("batch_size", self.batch_size)
        require_positive_integer("accumulate", self.accumulate)
        most = self.repeats <= self.batch_size
        self.require("repeats", most, f"at most batch_size {self.batch_size}")
        self.require("batch_size", self.batch_size < 2**63, "below 2^63")
        most = self.accumulate <= self.batch_size
        self.require("accumulate", most, f"at most batch_size {self.batch_size}")
        self.require("average", 0 <= self.average < 1, "in [0, 1)")
        self.require("patience", self.patience >= 0, "0 or more")
        self.require("clip_norm", self.clip_norm > 0, "positive")
        rate, decay = self.learning_rate, self.weight_decay
        self.require("learning_rate", 0 < rate < math.inf, "positive")
        self.require("weight_decay", 0 <= decay < math.inf, "0 or more")
        self.require("warmup", 0 <= self.warmup < 1, "in [0, 1)")
        self.require("label_smoothing", 0 <= self.label_smoothing < 1, "in [0, 1)")
        self.require("crop_area", 0 < self.crop_area <= 1, "in (0, 1]")
        self.require("randaugment", 0 <= self.randaugment <= 30, "0 to 30")
        for name in ("mixup", "cutmix"):
            self.require(name, 0 <= getattr(self, name) < math.inf, "0 or more")
        require_positive_integer("repeats", self.repeats)
        self.require("seed", 0 <= self.seed < 2**64, "0 or more, and below 2^64")
        for name, choices in CHOICES.items():
            self.require(name, getattr(self, name) in choices, " or ".join(choices))

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the forward pass."""
        return PRECISIONS.get(self.precision, torch.float32)

    @property
    def crops(self) -> dict:
        """The arguments of `FastBatches` that say how its images are changed."""
        changes = {"randaugment": self.randaugment, "repeats": self.repeats}
        if self.augment == "none":
            return changes
        return changes | {"crop_area": self.crop_area, "flip": self.augment == "crop"}

    @property
    def changes_images(self) -> bool:
        """Whether a training image looks different each time it is seen."""
        mixed = self.mixup or self.cutmix
        return bool(self.augment != "none" or self.randaugment or mixed)

    def require(self, name: str, holds: bool, wanted: str) -> None:
        if not holds:
            raise ValueError(f"{name} must be {wanted}, not {getattr(self, name)!r}")


def check_types(settings: object) -> None:
    """Refuse values of another type than a dataclass says; they may come from a file.

    Raises:
        ValueError: Names the field and the value.
    """
    for field in fields(settings):
        value = getattr(settings, field.name)
        kinds = (int, float) if field.type is float else (field.type,)
        if type(value) not in kinds:
            raise ValueError(
                f"{field.name} must be of type {field.type.__name__}, not {value!r}"
            )


MODEL_FIELDS = tuple(field.name for field in fields(ViTConfig))


TRAINING_FIELDS = tuple(field.name for field in fields(TrainingSettings))


@dataclass(frozen=True)
class Plan:
    """Everything that decides a run's results.

    Attributes:
        data: A name of `datasets.sources.SOURCES`, or the folder of the photos.
        model: Sizes of the model.
        training: How it is trained.
        stem: What the model makes tokens of: "patches" of pixels, as in the paper's
            Equation 1, or places of a feature map of a few convolutions, "conv".
    """

    data: str
    model: ViTConfig
    training: TrainingSettings
    stem: str = "patches"

    advice: ClassVar[str] = (
        "--stem conv, milder crops (--crop-area 0.8), another --learning-rate, or "
        "fine-tuning (train_transferlearning.py)"
    )

    def __post_init__(self):
        check_types(self)
        if self.stem not in STEMS:
            raise ValueError(f"stem must be {' or '.join(STEMS)}, not {self.stem!r}")
        if self.stem == "conv":
            stem_widths(self.model.patch_size)

    def build(self) -> ViT:
        """The model, not yet trained."""
        return ViTWithConvStem(self.model) if self.stem == "conv" else ViT(self.model)

    @classmethod
    def from_settings(cls, settings: dict) -> "Plan":
        """Build it from one flat dictionary, as `settings()` gives it."""
        model = {k: settings[k] for k in MODEL_FIELDS if k in settings}
        training = {k: settings[k] for k in TRAINING_FIELDS if k in settings}
        variant = settings.get("variant")
        try:
            config = (
                ViTConfig.from_variant(variant, **model)
                if variant
                else ViTConfig(**model)
            )
            stem = settings.get("stem", "patches")
            return cls(settings["data"], config, TrainingSettings(**training), stem)
        except ValueError as error:
            raise InputError(str(error)) from None

    def settings(self) -> dict:
        about = {"data": self.data, "stem": self.stem}
        return {**about, **asdict(self.model), **asdict(self.training)}
