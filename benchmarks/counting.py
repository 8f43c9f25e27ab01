"""What training a model needs, counted from its shapes: numbers, bytes, operations.

For autocast to `dtype`, AdamW and no dropout.
"""

from unittest.mock import patch

import torch
import torch.nn.functional as F

from benchmarks.measuring import multiply_adds
from going_modular.config import ViTConfig, count_parameters
from going_modular.training import fast_path
from going_modular.vit import ViT

__all__ = [
    "activation_bytes",
    "model_bytes",
    "saved_bytes",
    "saved_per_image",
    "step_flops",
]

FULL = 4  # bytes of a number in fp32


def model_bytes(c: ViTConfig, dtype: torch.dtype) -> int:
    """Weights, gradients and AdamW's averages, and copies of the weights in `dtype`.

    Copies are kept where the gradient of a layer's input needs them: in all linear
    layers but the first.
    """
    D, M = c.embedding_dim, c.mlp_size
    copied = c.depth * (4 * D * D + 2 * D * M) + D * c.num_classes
    copies = copied * dtype.itemsize if dtype != torch.float32 else 0
    return 4 * FULL * sum(count_parameters(c).values()) + copies


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


def step_flops(c: ViTConfig) -> int:
    """Operations of a training step on one image: backward takes twice forward's."""
    return 3 * 2 * multiply_adds(c, class_only=True)


def saved_bytes(model: ViT, batch: int, dtype: torch.dtype) -> int:
    """Bytes that autograd saves for a batch, each storage once, without the weights.

    On some CPUs the fast path takes explicit attention in bf16, which keeps more; here
    it takes the fused one, as on GPUs.
    """
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    storages = {}  # held, so that no address is used twice

    def note(tensor):
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage
        return tensor

    c = model.config
    x = torch.randn(batch, c.in_channels, *c.image_shape)
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        patch.object(fast_path, "takes_explicit_attention", lambda q: False),
    ):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = fast_path.FastPath(model)(x)  # (B, K)
        loss = F.cross_entropy(logits.float(), torch.zeros(batch, dtype=torch.long))
    assert loss.requires_grad
    return sum(s.nbytes() for address, s in storages.items() if address not in weights)


def saved_per_image(model: ViT, dtype: torch.dtype) -> float:
    """Bytes that one more image makes autograd save."""
    return (saved_bytes(model, 4, dtype) - saved_bytes(model, 2, dtype)) / 2
