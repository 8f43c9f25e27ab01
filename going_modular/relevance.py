"""Which patches speak for a class: attention weighted by its gradient."""

import torch
from torch import Tensor

from going_modular.utils import InputError
from going_modular.vit import ViT

__all__ = ["attention_gradients", "relevance"]


def attention_gradients(
    model: ViT, x: Tensor, classes: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Attention, and how a class's logit changes with each weight of it.

    Args:
        model: The model; none of its parameters gets a gradient.
        x: (B, C, H, W) images.
        classes: (B,) the class of each image whose logit counts; the predicted if None.

    Returns:
        Attention and its gradients, each (L, B, nh, T, T).

    Raises:
        InputError: There is no such class.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()  # so that frozen models have gradients too
        logits, seen = model(x, return_intermediates=True)
        if classes is None:
            classes = logits.argmax(1)
        K = logits.shape[1]
        for c in classes.tolist():
            if c not in range(K):
                raise InputError(f"no class {c}: this model has classes 0 to {K - 1}")
        attention = [seen[f"attention_{i + 1}"] for i in range(model.config.depth)]
        chosen = logits.gather(1, classes.to(logits.device)[:, None]).sum()
        gradients = torch.autograd.grad(chosen, attention)
    return torch.stack(attention).detach(), torch.stack(gradients)


def relevance(model: ViT, x: Tensor, classes: Tensor | None = None) -> Tensor:
    """Rollout of attention weighted by its gradient: a map for one class.

    Of each weight times its gradient the positive part is kept and averaged over
    heads. From layer to layer, what that passes on is added to what is there.

    Args:
        model, x, classes: As for `attention_gradients`.

    Returns:
        (B, T, T) relevance of each token (column) for each token at the top (row);
        row 0 is the class token's.

    Source: Chefer et al., arXiv 2103.15679, Equations 5 and 6.
    """
    attention, gradients = attention_gradients(model, x, classes)
    weighted = (gradients * attention).clamp(min=0).mean(2)  # (L, B, T, T)
    R = torch.eye(weighted.shape[-1], device=x.device).expand_as(weighted[0])
    for layer in weighted:
        R = R + layer @ R
    return R
