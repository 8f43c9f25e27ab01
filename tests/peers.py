"""Vision Transformers of other libraries, in two toy sizes, as oracles of the tests.

No parameter of theirs is zero or one, so that each can matter; those of the embedding
are small, so that the first LayerNorm's epsilon can.
"""

import contextlib
import os

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("timm", reason="pip install -e .[peers]")
pytest.importorskip("transformers", reason="pip install -e .[peers]")

import transformers
from transformers import ViTForImageClassification, ViTModel

from benchmarks import contenders
from benchmarks.contenders import transformers_config
from going_modular.config import ViTConfig
from going_modular.vit import ViT

transformers.logging.disable_progress_bar()

# All numbers differ, so that swapped axes cannot go unnoticed.
WIDE = ViTConfig(
    image_size=40,
    patch_size=8,
    embedding_dim=44,
    num_heads=4,
    mlp_size=176,
    depth=3,
    num_classes=10,
)
DEEP = ViTConfig(
    image_size=42,
    patch_size=7,
    embedding_dim=60,
    num_heads=5,
    mlp_size=180,
    depth=2,
    num_classes=13,
)
SIZES = pytest.mark.parametrize("c", [WIDE, DEEP], ids=["P8-D44", "P7-D60"])


def images_for(config: ViTConfig) -> Tensor:
    shape = (2, config.in_channels, *config.image_shape)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def noise(shape, seed: int, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).standard_normal(shape)


def add_noise(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
            stem = ("embed", "conv_proj", "class_token", "cls_token")
            if any(word in name for word in stem):
                parameter *= 0.02
    return model.eval()


def noisy_vit(config: ViTConfig) -> ViT:
    return add_noise(ViT(config))


def torchvision_vit(c: ViTConfig) -> nn.Module:
    return add_noise(contenders.torchvision_vit(c))


def timm_vit(c: ViTConfig, **options) -> nn.Module:
    return add_noise(contenders.timm_vit(c, **options))


def transformers_vit(c: ViTConfig, **options) -> nn.Module:
    return add_noise(ViTForImageClassification(transformers_config(c, **options)))


def transformers_backbone(c: ViTConfig, **options) -> nn.Module:
    return add_noise(ViTModel(transformers_config(c, **options)))


def save_pretrained(model: nn.Module, folder) -> str:
    with open(os.devnull, "w") as null, contextlib.redirect_stderr(null):
        model.save_pretrained(folder)
    return str(folder)


def official_arrays(c: ViTConfig, big_vision: bool = False) -> dict[str, np.ndarray]:
    """Random weights in exactly the layout of the official .npz files."""
    P, C, D, F = c.patch_size, c.in_channels, c.embedding_dim, c.mlp_size
    nh, dh = c.num_heads, c.head_dim
    attention, norm_2, mlp = official_names(big_vision)
    positions = "pos_embedding" if big_vision else "Transformer/posembed_input/"
    positions = positions if big_vision else positions + "pos_embedding"
    shapes = {
        "cls": (1, 1, D),
        "embedding/kernel": (P, P, C, D),
        "embedding/bias": (D,),
        positions: (1, c.num_patches + (not big_vision), D),
        "Transformer/encoder_norm/scale": (D,),
        "Transformer/encoder_norm/bias": (D,),
        "head/kernel": (c.representation_size or D, c.num_classes),
        "head/bias": (c.num_classes,),
    }
    if c.representation_size:
        shapes["pre_logits/kernel"] = (D, c.representation_size)
        shapes["pre_logits/bias"] = (c.representation_size,)
    for layer in range(c.depth):
        inside = {
            "LayerNorm_0/scale": (D,),
            "LayerNorm_0/bias": (D,),
            f"{norm_2}/scale": (D,),
            f"{norm_2}/bias": (D,),
            f"{attention}/out/kernel": (nh, dh, D),
            f"{attention}/out/bias": (D,),
            f"{mlp}/Dense_0/kernel": (D, F),
            f"{mlp}/Dense_0/bias": (F,),
            f"{mlp}/Dense_1/kernel": (F, D),
            f"{mlp}/Dense_1/bias": (D,),
        }
        for part in ("query", "key", "value"):
            inside[f"{attention}/{part}/kernel"] = (D, nh, dh)
            inside[f"{attention}/{part}/bias"] = (nh, dh)
        for name, shape in inside.items():
            shapes[f"Transformer/encoderblock_{layer}/{name}"] = shape
    arrays = {}
    for seed, (name, shape) in enumerate(shapes.items()):
        stem = name.startswith(("cls", "embedding")) or "pos_embedding" in name
        array = noise(shape, seed, 0.002 if stem else 0.15) + name.endswith("scale")
        arrays[name] = array.astype(np.float32)
    return arrays


def official_names(big_vision: bool) -> tuple[str, str, str]:
    if big_vision:
        return "MultiHeadDotProductAttention_0", "LayerNorm_1", "MlpBlock_0"
    return "MultiHeadDotProductAttention_1", "LayerNorm_2", "MlpBlock_3"


def official_forward(
    arrays: dict[str, np.ndarray], images: Tensor, big_vision: bool = False
) -> np.ndarray:
    """The official forward pass in NumPy: y, or logits where there is a head.

    Source: vit_jax/models_vit.py of google-research/vision_transformer and
    models/vit.py of google-research/big_vision (pool_type "tok").
    """
    a = {name: array.astype(np.float64) for name, array in arrays.items()}
    attention, norm_2, mlp = official_names(big_vision)

    def layer_norm(x, name):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        x = (x - mean) / np.sqrt(variance + 1e-6)
        return x * a[f"{name}/scale"] + a[f"{name}/bias"]

    def dense(x, name):
        return x @ a[f"{name}/kernel"] + a[f"{name}/bias"]

    def gelu(x):
        return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    def attend(x, name):
        q, k, v = (
            np.einsum("btd,dhc->bthc", x, a[f"{name}/{part}/kernel"])
            + a[f"{name}/{part}/bias"]
            for part in ("query", "key", "value")
        )
        scores = np.einsum("bqhc,bkhc->bhqk", q, k) / np.sqrt(q.shape[-1])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        weights = scores / scores.sum(-1, keepdims=True)
        heads = np.einsum("bhqk,bkhc->bqhc", weights, v)
        out = np.einsum("bqhc,hcd->bqd", heads, a[f"{name}/out/kernel"])
        return out + a[f"{name}/out/bias"]

    x = images.numpy().astype(np.float64).transpose(0, 2, 3, 1)  # NHWC
    kernel = a["embedding/kernel"]
    P = len(kernel)
    rows = []
    for top in range(0, x.shape[1], P):
        for left in range(0, x.shape[2], P):
            patch = x[:, top : top + P, left : left + P]
            rows.append(np.einsum("bpqc,pqcd->bd", patch, kernel))
    x = np.stack(rows, axis=1) + a["embedding/bias"]
    cls = np.broadcast_to(a["cls"], (len(x), 1, x.shape[-1]))
    if big_vision:
        x = np.concatenate([cls, x + a["pos_embedding"]], axis=1)
    else:
        x = np.concatenate([cls, x], axis=1)
        x = x + a["Transformer/posembed_input/pos_embedding"]
    depth = sum(name.endswith("LayerNorm_0/scale") for name in a)
    for layer in range(depth):
        block = f"Transformer/encoderblock_{layer}"
        x = x + attend(layer_norm(x, f"{block}/LayerNorm_0"), f"{block}/{attention}")
        y = dense(layer_norm(x, f"{block}/{norm_2}"), f"{block}/{mlp}/Dense_0")
        x = x + dense(gelu(y), f"{block}/{mlp}/Dense_1")
    y = layer_norm(x, "Transformer/encoder_norm")[:, 0]
    if "pre_logits/kernel" in a:
        y = np.tanh(dense(y, "pre_logits"))
    return dense(y, "head") if "head/kernel" in a else y
