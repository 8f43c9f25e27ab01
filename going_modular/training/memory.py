"""How much memory a run will need, counted from its shapes before any is taken."""

from dataclasses import dataclass

import psutil
import torch

from going_modular.config import ViTConfig, count_parameters
from going_modular.errors import InputError
from going_modular.training.settings import TrainingSettings

__all__ = [
    "MemoryNeeds",
    "activation_bytes",
    "check_fits",
    "free_bytes",
    "model_bytes",
    "pass_bytes",
]

FULL = 4  # bytes of a number in fp32
STATES = {"adamw": 2, "sgd": 1}  # numbers that an optimiser keeps for each parameter


def model_bytes(c: ViTConfig, dtype: torch.dtype, states: int = 2) -> int:
    """Weights, gradients and the optimiser's averages, and copies of the weights.

    Copies in `dtype` are kept where the gradient of a layer's input needs them: in all
    linear layers but the first.

    Args:
        c: The model.
        dtype: Number format of the forward pass.
        states: Numbers that the optimiser keeps for each parameter; AdamW has two.
    """
    D, M = c.embedding_dim, c.mlp_size
    copied = c.depth * (4 * D * D + 2 * D * M) + D * c.num_classes
    copies = copied * dtype.itemsize if dtype != torch.float32 else 0
    return (2 + states) * FULL * sum(count_parameters(c).values()) + copies


def activation_bytes(c: ViTConfig, dtype: torch.dtype) -> int:
    """What the forward pass of one image keeps for the backward pass.

    Linear layers keep their input, LayerNorm its input with mean and deviation of each
    token, GELU its input, fused attention q, k, v, its output and a number for each
    query and head, the loss log-probabilities and label. Residuals and LayerNorm stay
    in fp32. From its attention on, the last block works for the class token alone.
    """
    T, D, M, low = c.num_tokens, c.embedding_dim, c.mlp_size, dtype.itemsize
    norm = D * FULL + 2 * FULL  # of a token
    attention = norm + 5 * D * low + c.num_heads * FULL  # input, q, k, v, output
    mlp = norm + (D + 2 * M) * low
    patches = c.num_patches * c.patch_dim * low
    head = norm + D * low + c.num_classes * FULL + 8
    last = T * (norm + 4 * D * low) + D * low + c.num_heads * FULL + mlp
    return patches + (c.depth - 1) * T * (attention + mlp) + last + head


def pass_bytes(c: ViTConfig) -> int:
    """What a forward pass of one image holds at once, where nothing is kept.

    The most is held in an MLP: its input with the residual, and its hidden layer before
    and after GELU.
    """
    return FULL * c.num_tokens * (3 * c.embedding_dim + 2 * c.mlp_size)


@dataclass
class MemoryNeeds:
    """Bytes that a run will hold at its peak, part by part.

    Attributes:
        used: What the process holds already: Python, torch and the photos.
        weights: The model with all that grows with its parameters.
        image: What each image of a step adds.
        batch: Images in a step, or in a part of one with --accumulate.
        testing: What evaluating holds at once.
    """

    used: int
    weights: int
    image: int
    batch: int
    testing: int

    @classmethod
    def count(
        cls,
        config: ViTConfig,
        settings: TrainingSettings,
        test_batch: int,
        states: int = 2,
        copies: int = 0,
        frozen: bool = False,
        used: int | None = None,
    ) -> "MemoryNeeds":
        """Count what a run needs.

        Args:
            config: The model.
            settings: Decide batch, parts, number format and running average.
            test_batch: Images that are evaluated at once.
            states: Numbers that the optimiser keeps for each parameter.
            copies: Copies of the weights that are kept, such as the best epoch's.
            frozen: Only a head is trained, on features computed beforehand.
            used: Bytes in use already; None asks the system.
        """
        parameters = sum(count_parameters(config).values()) * FULL
        if frozen:
            weights, image = parameters, 0
        else:
            copies += settings.average > 0
            weights = model_bytes(config, settings.dtype, states) + copies * parameters
            pixels = FULL * config.in_channels * config.image_shape[0]
            pixels *= config.image_shape[1]
            image = activation_bytes(config, settings.dtype) + 2 * pixels
        used = psutil.Process().memory_info().rss if used is None else used
        batch = -(-settings.batch_size // settings.accumulate)
        return cls(used, weights, image, batch, test_batch * pass_bytes(config))

    @property
    def total(self) -> int:
        """Bytes at the peak; steps and evaluation take turns."""
        return self.used + self.weights + max(self.image * self.batch, self.testing)

    def fitting_batch(self, free: int) -> int:
        """The most images in a step for which `free` more bytes suffice."""
        left = free - self.weights
        return max(0, left // self.image) if self.image else 0

    def __str__(self) -> str:
        parts = {"in use": self.used, "weights": self.weights}
        if self.image:
            parts[f"a step of {self.batch} images"] = self.image * self.batch
        else:
            parts["features"] = self.testing
        listed = ", ".join(f"{name} {gigabytes(size)}" for name, size in parts.items())
        return f"about {gigabytes(self.total)} GB at most ({listed})"


def gigabytes(size: float) -> str:
    return f"{size / 1e9:.1f}" if size >= 5e7 else f"{size / 1e9:.2f}"


def free_bytes(device: torch.device) -> int | None:
    """Memory that the device can still give; None where it does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available if device.type == "cpu" else None


def check_fits(needs: MemoryNeeds, free: int | None, accumulate: int = 1) -> None:
    """Refuse a run that would not fit, and say what would.

    Args:
        needs: Of the run.
        free: Bytes that are free; None if nobody knows.
        accumulate: Parts that a batch is cut into already.

    Raises:
        InputError: It would not fit.
    """
    if free is None or needs.total - needs.used <= free:
        return
    fitting = needs.fitting_batch(free)
    if fitting and needs.testing + needs.weights <= free:
        parts = accumulate * -(-needs.batch // fitting)
        what = f"--accumulate {parts} fits, and computes the same"
    else:
        what = "choose a smaller --image-size or a smaller model"
    raise InputError(
        f"the run would need {needs}, and only {gigabytes(free)} GB more are free: "
        f"{what}"
    )
