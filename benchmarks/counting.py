"""What training a model needs: operations counted, and bytes as autograd saves them.

The bytes are counted in `going_modular.training.memory`, and held against these here.
"""

from unittest.mock import patch

import torch
import torch.nn.functional as F

from benchmarks.measuring import multiply_adds
from going_modular.config import ViTConfig
from going_modular.training import fast_path
from going_modular.vit import ViT

__all__ = [
    "saved_bytes",
    "saved_per_image",
    "step_flops",
]


def step_flops(c: ViTConfig) -> int:
    """Operations of a training step on one image: backward takes twice forward's."""
    return 3 * 2 * multiply_adds(c, class_only=True)


def saved_bytes(
    model: ViT, batch: int, dtype: torch.dtype, explicit: bool = False
) -> int:
    """Bytes that autograd saves for a batch, each storage once, without the weights.

    Args:
        model: In training mode.
        batch: Images.
        dtype: Of the matrix products.
        explicit: Take plain products for attention, as the fast path does in bf16 on
            some CPUs, and not the fused function, which it takes on GPUs.
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
        patch.object(fast_path, "takes_explicit_attention", lambda q: explicit),
    ):
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = fast_path.FastPath(model)(x)  # (B, K)
        loss = F.cross_entropy(logits.float(), torch.zeros(batch, dtype=torch.long))
    assert loss.requires_grad
    return sum(s.nbytes() for address, s in storages.items() if address not in weights)


def saved_per_image(model: ViT, dtype: torch.dtype, explicit: bool = False) -> float:
    """Bytes that one more image makes autograd save."""
    four, two = (saved_bytes(model, batch, dtype, explicit) for batch in (4, 2))
    return (four - two) / 2
