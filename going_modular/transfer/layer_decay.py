"""Learning rates that fall from layer to layer, to keep what was learned before."""

from collections import defaultdict

import torch

from going_modular.vit import ViT

__all__ = ["LAYER_DECAY", "build_layerwise_optimizer", "layer_of"]

LAYER_DECAY = 0.75


def layer_of(name: str, depth: int) -> int:
    """Where a parameter lies on the way from the image to the logits.

    Args:
        name: As `named_parameters` of a `ViT` gives it.
        depth: Blocks of the model, L.

    Returns:
        0 for Equation 1, 1 to L for the blocks, L + 1 for the last LayerNorm and the
        head.
    """
    if name.startswith("patch_embedding."):
        return 0
    if name.startswith("encoder.blocks."):
        return 1 + int(name.split(".")[2])
    return depth + 1


def build_layerwise_optimizer(
    model: ViT,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float = LAYER_DECAY,
) -> torch.optim.AdamW:
    """AdamW whose rate is the smaller, the nearer a layer lies to the image.

    The head is new and learns at the full rate. Each layer below has `layer_decay`
    times the rate of the one above it: the first layers see edges and textures, which
    all photos have in common, so they need to change least.

    Args:
        model: A pretrained model with a head for the new classes.
        learning_rate: The head's.
        weight_decay: Share of a weight matrix lost in a step at rate 1.
        layer_decay: From one layer to the next below; 1 gives all the same rate.

    Source: ELECTRA, arXiv 2003.10555, appendix A; for Vision Transformers BEiT, arXiv
    2106.08254, and MAE, arXiv 2111.06377, whose fine-tuning has 0.75.
    """
    depth = model.config.depth
    groups = defaultdict(list)
    for name, parameter in model.named_parameters():
        is_matrix = name.endswith("weight") and parameter.ndim >= 2  # as decay_groups
        groups[layer_of(name, depth), is_matrix].append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "lr": learning_rate * layer_decay ** (depth + 1 - layer),
                "weight_decay": weight_decay if is_matrix else 0.0,
            }
            for (layer, is_matrix), parameters in groups.items()
        ],
        betas=(0.9, 0.999),
        fused=True,
    )
