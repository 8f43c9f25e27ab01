"""One Vision Transformer six times: ours twice, and those of four other libraries.

"ours" is what the scripts train, on its fast path; "plain" the model as it is taught.

torchvision, timm and transformers compute the same function, so they get our weights.
vit-pytorch's model is a near relative: two more LayerNorms before Equation 1, and no
bias in the queries, keys and values.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from going_modular.config import ViTConfig, count_parameters
from going_modular.errors import InputError
from going_modular.pretrained import export_state_dict
from going_modular.training.fast_path import FastPath
from going_modular.vit import ViT

__all__ = ["PEERS", "build_contenders", "greatest_difference"]


def torchvision_vit(c: ViTConfig) -> nn.Module:
    from torchvision.models import VisionTransformer

    sizes = (c.image_size, c.patch_size, c.depth, c.num_heads, c.embedding_dim)
    head = dict(num_classes=c.num_classes, representation_size=c.representation_size)
    return VisionTransformer(*sizes, c.mlp_size, **head)


def timm_vit(c: ViTConfig, **options) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer

    options = {"num_classes": c.num_classes, **options}
    return VisionTransformer(
        img_size=c.image_size,
        patch_size=c.patch_size,
        in_chans=c.in_channels,
        embed_dim=c.embedding_dim,
        depth=c.depth,
        num_heads=c.num_heads,
        mlp_ratio=c.mlp_size / c.embedding_dim,
        **options,
    )


def transformers_config(c: ViTConfig, **options):
    import transformers

    return transformers.ViTConfig(
        image_size=c.image_size,
        patch_size=c.patch_size,
        num_channels=c.in_channels,
        hidden_size=c.embedding_dim,
        num_hidden_layers=c.depth,
        num_attention_heads=c.num_heads,
        intermediate_size=c.mlp_size,
        id2label={i: f"class {i}" for i in range(c.num_classes)},
        **options,
    )


def transformers_vit(c: ViTConfig) -> nn.Module:
    from transformers import ViTForImageClassification

    config = transformers_config(c, layer_norm_eps=c.layer_norm_eps)
    return ViTForImageClassification(config)


def vit_pytorch_vit(c: ViTConfig) -> nn.Module:
    from vit_pytorch import ViT as TheirViT

    return TheirViT(
        image_size=c.image_size,
        patch_size=c.patch_size,
        num_classes=c.num_classes,
        dim=c.embedding_dim,
        depth=c.depth,
        heads=c.num_heads,
        dim_head=c.head_dim,
        mlp_dim=c.mlp_size,
    )


PEERS: dict[str, Callable[[ViTConfig], nn.Module]] = {
    "torchvision": torchvision_vit,
    "timm": timm_vit,
    "transformers": transformers_vit,
    "vit-pytorch": vit_pytorch_vit,
}


class LogitsOnly(nn.Module):
    """A model of transformers that gives a tensor, as the others do."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).logits  # (B, K)


def build_contenders(config: ViTConfig, peers: list[str]) -> dict[str, nn.Module]:
    """Build our model, both ways, and its peers, all with the same weights if possible.

    Args:
        config: The model of all of them.
        peers: Names out of `PEERS`.

    Raises:
        InputError: A library is not installed.
    """
    ours = ViT(config)
    # A head of zeros would give equal logits whatever comes before it.
    nn.init.normal_(ours.head.weight, std=0.02)
    contenders = {"ours": FastPath(ours), "plain": ours}
    for name in peers:
        try:
            model = PEERS[name](config)
        except ImportError:
            raise InputError(f"{name} is missing: pip install -e .[peers]") from None
        if name == "vit-pytorch":
            check_vit_pytorch(model, config)
        elif name == "transformers":
            model.load_state_dict(export_state_dict(ours, "transformers 5"))
            model = LogitsOnly(model)
        else:
            model.load_state_dict(export_state_dict(ours, name))
        contenders[name] = model
    return contenders


def check_vit_pytorch(model: nn.Module, c: ViTConfig) -> None:
    """Assert that only the LayerNorms and biases named above make a difference."""
    theirs = sum(parameter.numel() for parameter in model.parameters())
    norms, biases = 2 * (c.patch_dim + c.embedding_dim), 3 * c.embedding_dim * c.depth
    assert theirs == sum(count_parameters(c).values()) + norms - biases


@torch.inference_mode()
def greatest_difference(contenders: dict[str, nn.Module], x: Tensor) -> float:
    """Greatest difference of a logit from ours, among those with our weights.

    Raises:
        RuntimeError: It is more than rounding.
    """
    logits = {
        name: model.eval()(x)
        for name, model in contenders.items()
        if name != "vit-pytorch"
    }
    ours = logits.pop("ours")  # (B, K)
    greatest = 0.0
    for name, theirs in logits.items():
        difference = (theirs - ours).abs().max().item()
        if not difference < 1e-4 * ours.abs().max().item():
            raise RuntimeError(f"{name}'s logits differ from ours by {difference:.1e}")
        greatest = max(greatest, difference)
    return greatest
