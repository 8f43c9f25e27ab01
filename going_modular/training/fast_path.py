"""How a step is computed fastest: chosen by what the hardware has, never by timing.

The same command computes the same on the same kind of machine, whatever its load.
"""

import sys
from contextlib import nullcontext
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from going_modular.multihead_self_attention import (
    MultiheadSelfAttention,
    attention_with_weights,
)
from going_modular.training.settings import TrainingSettings
from going_modular.transformer_encoder import TransformerEncoderBlock
from going_modular.variants.conv_stem import ViTWithConvStem
from going_modular.variants.registers import ViTWithRegisters
from going_modular.vit import ViT

__all__ = [
    "FastPath",
    "choose_computation",
    "compilers_reason",
    "has_bf16",
    "is_compilers",
]

KNOWN = (ViT, ViTWithRegisters, ViTWithConvStem)  # subclasses may compute otherwise
COMPILED_FROM = 2000  # steps of a run on a GPU that pay for compiling


class FastPath(nn.Module):
    """A model's logits, by the same equations and in less time.

    Equation 4 reads the class token alone, so the last block works for no other: the
    patches give it their keys and values, and are then left out. In bfloat16 on a CPU
    attention takes the function that is quicker there.
    """

    def __init__(
        self,
        model: nn.Module,
        precision: torch.dtype = torch.float32,
        whole: bool = True,
    ):
        """Wrap a model; the parameters stay its own.

        Args:
            model: Any; one that is no `ViT` of ours is called as it is.
            precision: torch.bfloat16 trains with a forward pass in half precision.
            whole: Whether this process holds all of every parameter. If not, blocks
                must be called as they are, since that brings their parameters.
        """
        super().__init__()
        self.model, self.precision = model, precision
        self.shortened = whole and type(model) in (
            ViT,
            ViTWithRegisters,
            ViTWithConvStem,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) images to (B, K) logits, in float32."""
        half = self.training and self.precision != torch.float32
        with torch.autocast(x.device.type, self.precision) if half else nullcontext():
            logits = logits_of(self.model, x) if self.shortened else self.model(x)
        return logits.float()  # (B, K)


def logits_of(vit: ViT, x: Tensor) -> Tensor:
    """The (B, K) logits that `vit(x)` gives, up to rounding."""
    z = vit.patch_embedding(x)  # (B, T, D)
    *blocks, last = vit.encoder.blocks
    for block in blocks:
        z = tokens_after(block, z, z.shape[1])
    z = tokens_after(last, z, 1)  # (B, 1, D)
    return vit.head(vit.layer_norm(z[:, 0]))  # (B, K)


def tokens_after(block: TransformerEncoderBlock, z: Tensor, count: int) -> Tensor:
    """Equations 2 and 3 for the first `count` of T tokens: (B, count, D)."""
    msa_block = block.msa_block
    msa = mixed_tokens(msa_block.msa, msa_block.layer_norm(z), count)
    return block.mlp_block(msa_block.dropout(msa) + z[:, :count])


def mixed_tokens(msa: MultiheadSelfAttention, z: Tensor, count: int) -> Tensor:
    """Equations 5 to 8 for the first `count` of T tokens: (B, count, D)."""
    qkv = msa.qkv(z).unflatten(-1, (3, msa.num_heads, -1))  # (B, T, 3, nh, dh)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, nh, T, dh)
    q = q[:, :, :count]  # (B, nh, count, dh)
    if takes_explicit_attention(q):
        sa, _ = attention_with_weights(q, k, v)
    else:
        sa = F.scaled_dot_product_attention(q, k, v)
    return msa.out(sa.transpose(1, 2).flatten(2))  # (B, count, D)


def takes_explicit_attention(q: Tensor) -> bool:
    """Whether three plain products are quicker than the fused function.

    They are in bfloat16 on CPUs without matrix units (AMX): up to ten times, measured
    on an EPYC with AVX-512 bf16. With AMX the fused function was twice as fast.
    """
    return q.device.type == "cpu" and q.dtype == torch.bfloat16 and not has_amx()


def has_amx() -> bool:
    """Whether the processor has matrix units."""
    return getattr(torch.cpu, "_is_amx_tile_supported", bool)()


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16, and does not merely imitate it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return has_amx() or getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()
    return False


def choose_computation(
    settings: TrainingSettings, device: torch.device, steps: int
) -> TrainingSettings:
    """Replace "auto" in the settings by what suits the device.

    The choice is kept in the settings, so that a run goes on as it began.

    Args:
        settings: Those of the run.
        device: Where it computes.
        steps: Steps of the whole run.
    """
    if settings.precision == "auto":
        precision = "bf16" if has_bf16(device) else "fp32"
        settings = replace(settings, precision=precision)
    if settings.compile == "auto":
        pays = device.type == "cuda" and steps >= COMPILED_FROM
        settings = replace(settings, compile="yes" if pays else "no")
    return settings


def is_compilers(error: Exception) -> bool:
    """Whether torch.compile raised it: there may be no C++ compiler."""
    module = sys.modules.get("torch._dynamo.exc")  # slow to import
    return module is not None and isinstance(error, module.TorchDynamoException)


def compilers_reason(error: Exception) -> str:
    """What is wrong, in one line."""
    return " ".join(str(error).splitlines()[:2])
