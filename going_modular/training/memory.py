"""How much memory training takes, counted from the shapes of the model and the batches.

Autograd's share, the activations, is counted to the byte; a test compares it with what
PyTorch saves.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch

from going_modular.config import ViTConfig, count_parameters
from going_modular.data_setup import ImageSet
from going_modular.hybrid import GROUPS, ROOT_WIDTH
from going_modular.training.fast_path import takes_explicit_attention
from going_modular.training.settings import TrainingSettings
from going_modular.variants.conv_stem import stem_widths

__all__ = [
    "MemoryNeeds",
    "Workload",
    "activation_bytes",
    "forward_bytes",
    "memory_needs",
    "model_bytes",
    "stem_bytes",
    "evaluation_batch_size",
]

FULL = 4  # bytes of a number in fp32
# What evaluation may take: so little that training takes more, and batches that are
# still large enough for the device.
TEST_BYTES = {"cpu": 2**26, "cuda": 2**30, "mps": 2**28}
TEST_BATCH = 500  # images at most
# What comes in while a run goes on: threads, kernels, the libraries that draw.
LATER = 96 * 2**20
REPORT_BYTES = 1e9  # of attention, above which the report goes without it


def copies_bytes(c: ViTConfig, dtype: torch.dtype) -> int:
    """Copies of the weights in a lower precision, which autocast keeps for a step.

    They are kept where the gradient of a layer's input needs them: in all linear layers
    but the first.
    """
    if dtype == torch.float32:
        return 0
    D, M = c.embedding_dim, c.mlp_size
    copied = c.depth * (4 * D * D + 2 * D * M) + D * c.num_classes
    return copied * dtype.itemsize


def model_bytes(c: ViTConfig, dtype: torch.dtype) -> int:
    """Weights, gradients and AdamW's averages, and copies of the weights in `dtype`."""
    return 4 * FULL * sum(count_parameters(c).values()) + copies_bytes(c, dtype)


def activation_bytes(c: ViTConfig, dtype: torch.dtype, explicit: bool = False) -> int:
    """What the forward pass of one image keeps for the backward pass.

    Linear layers keep their input, LayerNorm its input with mean and deviation of each
    token, GELU its input, fused attention q, k, v, its output and a number for each
    query and head, the loss log-probabilities and label. Residuals and LayerNorm stay
    in fp32. From its attention on, the last block works for the class token alone.

    Args:
        c: The model, with patches of pixels; `stem_bytes` come on top of it.
        dtype: That of the matrix products.
        explicit: Whether attention is computed as plain products, which keep the
            weights A: see `fast_path.takes_explicit_attention`.
    """
    T, D, M, low = c.num_tokens, c.embedding_dim, c.mlp_size, dtype.itemsize
    norm = D * FULL + 2 * FULL  # of a token
    row = c.num_heads * (T * low if explicit else FULL)  # of A, or its log-sum
    attention = norm + 5 * D * low + row  # input, q, k, v, output
    mlp = norm + (D + 2 * M) * low
    patches = c.num_patches * c.patch_dim * low
    head = norm + D * low + c.num_classes * FULL + 8
    # The input, k and v of all tokens. The fused function keeps all queries, too.
    last = T * (norm + 3 * D * low) + (1 if explicit else T) * D * low
    last += D * low + row + mlp  # output
    masks = 0
    if c.dropout:
        dropped = (c.depth - 1) * T + 1  # tokens, in all blocks together
        masks = dropped * (2 * D + M) * low + T * D * FULL
    return patches + (c.depth - 1) * T * (attention + mlp) + last + head + masks


def conv_stem_bytes(c: ViTConfig, dtype: torch.dtype) -> int:
    """What a convolutional stem keeps of one image, beside `activation_bytes`.

    Each of its stages keeps the output of the convolution, what ReLU leaves of it, and
    of the maxima their values and, in eight bytes, their places.
    """
    low, places, kept = dtype.itemsize, math.prod(c.image_shape), 0
    for width in stem_widths(c.patch_size):
        kept += 2 * width * places * low
        places //= 4
        kept += width * places * (low + 8)
    return kept


def resnet_bytes(c: ViTConfig, dtype: torch.dtype, units: Sequence[int]) -> int:
    """What the ResNet of a hybrid keeps of one image, beside `activation_bytes`.

    GroupNorm keeps its input with mean and deviation of each group, ReLU its output. A
    convolution has that for an input, but where padding copies it.
    """
    C, (rows, columns) = c.in_channels, c.image_shape
    # Of the root the padded image, the two maps of 64 channels, and the last one padded
    # for the maxima, whose places take eight bytes.
    kept = C * ((rows + 5) * (columns + 5) - rows * columns)
    rows, columns = rows // 2, columns // 2
    kept += ROOT_WIDTH * (2 * rows * columns + (rows + 1) * (columns + 1))
    rows, columns = rows // 2, columns // 2
    kept += ROOT_WIDTH * rows * columns
    norms, maxima = 1, 8 * ROOT_WIDTH * rows * columns
    for stage, count in enumerate(units):
        width = ROOT_WIDTH * 2**stage
        for unit in range(count):
            first = unit == 0
            more = 1 if stage and first else 2  # rows that the padding adds
            kept += width * (2 * rows * columns + (rows + more) * (columns + more))
            if stage and first:
                rows, columns = rows // 2, columns // 2
            kept += (2 * width + (3 if first else 2) * 4 * width) * rows * columns
            norms += 4 if first else 3
    kept += 4 * width * rows * columns  # a copy for E, place by place
    return kept * dtype.itemsize + maxima + norms * 2 * GROUPS * FULL


def stem_bytes(c: ViTConfig, dtype: torch.dtype, stem: str | tuple[int, ...]) -> int:
    """What whatever precedes the patches keeps: see `Workload`."""
    if stem == "conv":
        return conv_stem_bytes(c, dtype)
    return resnet_bytes(c, dtype, stem) if stem else 0


def forward_bytes(c: ViTConfig, dtype: torch.dtype, explicit: bool = False) -> int:
    """The most that a forward pass holds at once of one image that is only predicted.

    Where the MLP works: the tokens before and after it, its input, the hidden layer
    before and after GELU. Where attention works: q, k, v and what comes of them.
    """
    T, D, M, low = c.num_tokens, c.embedding_dim, c.mlp_size, dtype.itemsize
    mlp = 2 * D * FULL + D * low + 2 * M * low
    attention = 2 * D * FULL + 5 * D * low
    if explicit:
        attention += (3 * D + 2 * c.num_heads * T) * low
    return T * max(mlp, attention)


def backward_bytes(c: ViTConfig, dtype: torch.dtype, explicit: bool = False) -> int:
    """What the backward pass of one image holds, for a moment, beside the activations.

    Those are gradients: of the hidden layer before and after GELU or, with explicit
    attention, of the weights A before and after the softmax.
    """
    T, D, M, low = c.num_tokens, c.embedding_dim, c.mlp_size, dtype.itemsize
    widest = max(2 * M, 2 * c.num_heads * T if explicit else 0)
    return T * (2 * D * FULL + widest * low)


def evaluation_batch_size(c: ViTConfig, device: torch.device) -> int:
    """Images that are predicted at once, so that evaluation is not a run's peak.

    Args:
        c: The model.
        device: Where it computes.
    """
    most = TEST_BYTES.get(device.type, TEST_BYTES["cpu"])
    return max(1, min(TEST_BATCH, most // forward_bytes(c, torch.float32)))


@dataclass(frozen=True)
class Workload:
    """What decides how much memory a run takes.

    Attributes:
        config: The model's.
        parameters: How many numbers it learns, stem and registers included.
        training: How it is trained; the precision is chosen, not "auto".
        moments: Averages that the optimiser keeps of each gradient: AdamW two, SGD
            with momentum one.
        device: Where it computes.
        sets: The images, by the names of their sets; none while they are not read.
        on_disk: Whether they are in a file of `--cache`, and not in memory.
        stem: What precedes the patches: nothing, "conv", or the units of a ResNet.
        head_only: Whether a head is trained alone, on features computed once.
        tries_rates: Whether copies of the model try learning rates first.
        processes: How many train together.
        sharded: Whether they share the model out.
    """

    config: ViTConfig
    parameters: int
    training: TrainingSettings
    moments: int
    device: torch.device
    sets: Mapping[str, ImageSet] = field(default_factory=dict)
    on_disk: bool = False
    stem: str | tuple[int, ...] = ""
    head_only: bool = False
    tries_rates: bool = False
    processes: int = 1
    sharded: bool = False

    def with_config(self, config: ViTConfig) -> "Workload":
        """The same run of another model of this kind."""
        before, after = (
            sum(count_parameters(c).values()) for c in (self.config, config)
        )
        parameters = self.parameters - before + after
        return replace(self, config=config, parameters=parameters)

    @property
    def weight_bytes(self) -> int:
        """The whole model's, in fp32."""
        return FULL * self.parameters

    @property
    def image_bytes(self) -> int:
        """One image's, a byte a number."""
        return self.config.in_channels * math.prod(self.config.image_shape)

    @property
    def images(self) -> int:
        """How many there are in all sets."""
        return sum(map(len, self.sets.values()))

    @property
    def batch(self) -> int:
        """Images of a step in one process."""
        return math.ceil(self.training.batch_size / self.processes)

    @property
    def test_batch(self) -> int:
        """Images that are predicted at once: no more than the largest set has."""
        predicted = [
            len(data)
            for name, data in self.sets.items()
            if self.head_only or name != "train"
        ]
        most = max(predicted, default=TEST_BATCH)
        return min(evaluation_batch_size(self.config, self.device), most)

    @property
    def explicit(self) -> bool:
        """Whether attention is computed as plain products."""
        q = torch.empty(0, dtype=self.training.dtype)
        return self.device.type == "cpu" and takes_explicit_attention(q)


@dataclass(frozen=True)
class MemoryNeeds:
    """Bytes that a run takes, where it takes most.

    Attributes:
        held: What the process has taken when it is asked: Python, the libraries and
            the photos.
        mapped: Photos in a file of the cache. The system holds as many of them in
            memory as it likes, so they never keep a run from fitting.
        model: Weights, averages of the optimiser and copies of the weights.
        batches: Images of the batches, as bytes and as floats.
        features: What takes the images' place where a head alone is trained.
        step: What a training step takes for a moment, activations and gradients, or
            the report and saving in the end, if that is more.
        test: What evaluation takes for a moment. It comes on top, since what a step
            gave back lies in pieces, where large tensors find no room.
        later: What comes in while the run goes on: threads, kernels, libraries.
    """

    held: int
    mapped: int
    model: int
    batches: int
    features: int
    step: int
    test: int
    later: int = LATER

    @property
    def total(self) -> int:
        return sum(vars(self).values())


def memory_needs(work: Workload, held: int) -> MemoryNeeds:
    """Count what a run will take.

    Args:
        work: The run.
        held: Bytes that are taken already, before the model is built.
    """
    c = work.config
    images = work.test_batch + (0 if work.head_only else work.batch)
    # Put together from the features of each batch: for a moment they are there twice.
    features = 2 * FULL * work.images * c.embedding_dim
    return MemoryNeeds(
        held=held,
        mapped=work.images * work.image_bytes if work.on_disk else 0,
        model=kept_bytes(work),
        batches=images * work.image_bytes * (1 + FULL),
        features=features if work.head_only else 0,
        step=max(0 if work.head_only else step_bytes(work), ending_bytes(work)),
        test=work.test_batch * forward_bytes(c, work.training.dtype, work.explicit),
    )


def kept_bytes(work: Workload) -> int:
    """The weights, and what is kept of their size from step to step."""
    if work.head_only:
        return work.weight_bytes
    # A copy of the weights, which validation images choose or which tries rates before.
    copied = "val" in work.sets or work.tries_rates
    copies = 1 + work.moments + bool(work.training.average) + copied
    return copies * gradient_bytes(work)


def gradient_bytes(work: Workload) -> int:
    """The gradients, or what a process has of them: as much as of the weights."""
    return work.weight_bytes // (work.processes if work.sharded else 1)


def step_bytes(work: Workload) -> int:
    """What a training step takes while the backward pass begins, or when it ends."""
    c, dtype, explicit = work.config, work.training.dtype, work.explicit
    image = activation_bytes(c, dtype, explicit) + backward_bytes(c, dtype, explicit)
    image += stem_bytes(c, dtype, work.stem)
    part = math.ceil(work.batch / work.training.accumulate)
    activations = part * image + copies_bytes(c, dtype)
    if work.sharded:  # the weights and gradients of the block at work are whole
        activations += 2 * work.weight_bytes // c.depth
    if work.training.accumulate > 1:  # those of the parts before are there already
        return activations + gradient_bytes(work)
    return max(activations, gradient_bytes(work))  # these come as those go


def ending_bytes(work: Workload) -> int:
    """What is taken when the run ends, while the last step's gradients are there.

    Those are copies of the weights to predict with or to write, or the attention that
    the report shows. What is written lies in main memory: it does not count for a GPU.
    """
    c = work.config
    largest = copies_bytes(c, work.training.dtype)
    if work.device.type == "cpu":
        attention = FULL * c.depth * c.num_heads * c.num_tokens**2  # of an image
        looked_at = attention if attention <= REPORT_BYTES else 0
        largest = max(largest, looked_at, work.weight_bytes)
    return largest + (0 if work.head_only else gradient_bytes(work))
