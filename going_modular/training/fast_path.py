"""How a step is computed fastest: chosen by what the hardware has, never by timing.

The same command computes the same on the same kind of machine, whatever its load.
"""

import copy
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from going_modular.config import ViTConfig
from going_modular.hybrid import HybridViT
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
    "cast_matrices",
    "choose_computation",
    "choose_precision",
    "compilers_reason",
    "for_prediction",
    "has_bf16",
    "is_compilers",
]

# Their subclasses may compute otherwise.
KNOWN = (ViT, ViTWithRegisters, ViTWithConvStem, HybridViT)
COMPILED_FROM = 2000  # steps of a run on a GPU that pay for compiling


class FastPath(nn.Module):
    """A model's logits, by the same equations and in less time.

    Equation 4 reads the class token alone, so the last block works for no other: the
    patches give it their keys and values, and are then left out. In bfloat16 on a CPU
    attention takes the function that is quicker there.

    In bfloat16 the matrix products are rounded; LayerNorm and the sums of the residual
    connections stay in float32. So does the head, unless the model trains: it is one
    small product, and ties between classes would come from nothing but rounding.
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
            precision: torch.bfloat16 computes a `ViT` in half precision, and any model
                while it trains.
            whole: Whether this process holds all of every parameter. If not, blocks
                must be called as they are, since that brings their parameters.
        """
        super().__init__()
        self.model, self.precision = model, precision
        self.shortened = whole and type(model) in KNOWN

    @property
    def config(self) -> ViTConfig:
        """That of the `ViT`."""
        return self.model.config

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) images to (B, K) logits, in float32."""
        if self.training:
            with self.half(x):
                if self.shortened:
                    logits = self.model.head(representation(self.model, x))  # (B, K)
                else:
                    logits = self.model(x)  # (B, K)
            return logits.float()  # (B, K)
        if self.shortened:
            return self.model.head(self.forward_features(x))  # (B, K)
        return self.model(x).float()  # (B, K)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) images to y of Equation 4, (B, D), in float32."""
        with self.half(x):
            y = representation(self.model, x)  # (B, D)
        return y.float()  # (B, D)

    def half(self, x: Tensor) -> AbstractContextManager:
        """A context in which matrix products are of the precision asked for."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(x.device.type, self.precision)


def for_prediction(
    model: nn.Module, precision: torch.dtype, whole: bool = True
) -> FastPath:
    """A model as it predicts: in half precision, its matrices are rounded only once.

    They would be anew in each pass, and with matrix units (AMX) that is what takes
    long. What comes back goes on with the weights that the model has now; drop it
    before they change. In float32 it holds no copy.

    Args:
        model, precision, whole: As for `FastPath`.

    Returns:
        It, in evaluation mode. Its logits are the same bits as without the copy.
    """
    fast = FastPath(model, precision, whole)
    if fast.shortened and precision != torch.float32:
        fast.model = cast_matrices(model, precision)
    return fast.eval()


def cast_matrices(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A copy for prediction whose linear layers, but for the head, are of a dtype.

    Only they take memory: everything else is the model's own.
    """
    shared = (*model.parameters(), *model.buffers())
    copies = {id(tensor): tensor for tensor in shared}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and not name.startswith("head"):
            for parameter in module.parameters(recurse=False):
                cast = nn.Parameter(parameter.detach().to(dtype), requires_grad=False)
                copies[id(parameter)] = cast
    return copy.deepcopy(model, memo=copies)  # which copies nothing that it finds there


def representation(vit: ViT, x: Tensor) -> Tensor:
    """The (B, D) y of Equation 4 that `vit.forward_features(x)` gives, up to rounding.

    In autocast, what a product gives is rounded, and what it is added to is not.
    """
    z = vit.patch_embedding(x)  # (B, T, D)
    *blocks, last = vit.encoder.blocks
    for block in blocks:
        z = tokens_after(block, z, z.shape[1])
    z = tokens_after(last, z, 1)  # (B, 1, D)
    return vit.layer_norm(z[:, 0])  # (B, D)


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


def choose_precision(name: str, device: torch.device) -> str:
    """Replace "auto" by the precision that suits the device: "fp32" or "bf16"."""
    if name != "auto":
        return name
    return "bf16" if has_bf16(device) else "fp32"


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
    precision = choose_precision(settings.precision, device)
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
