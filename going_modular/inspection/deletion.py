"""How far a map may be trusted: take away what it points at, and see."""

from dataclasses import dataclass

import torch
from torch import Tensor

from going_modular.patch_embedding import patchify
from going_modular.vit import ViT

__all__ = ["DeletionCurves", "curve_area", "deletion_test", "probability_without"]


@torch.no_grad()
def probability_without(
    model: ViT, x: Tensor, removed: Tensor, classes: Tensor, fill: float | None = None
) -> Tensor:
    """Probability of a class when some patches are not there.

    Args:
        model: In evaluation mode.
        x: (B, C, H, W) images.
        removed: (B, n) patches to remove, numbered row by row from 0.
        classes: (B,) the class of each image.
        fill: A pixel value, as the model sees it, to paint the patches with. If None,
            their tokens are left out of the sequence, so that the model sees less
            and nothing else.

    Returns:
        (B,) probabilities.

    Raises:
        ValueError: A shape is wrong, or a patch is named twice.
    """
    embedding = model.patch_embedding
    if tuple(x.shape[1:]) != embedding.input_shape:
        expected = ", ".join(map(str, embedding.input_shape))
        raise ValueError(
            f"expected images of shape (B, {expected}), got {tuple(x.shape)}"
        )
    if not len(removed) == len(classes) == len(x):
        raise ValueError("each image needs its class and its patches to remove")
    x_p = patchify(x, model.config.patch_size)  # (B, N, P*P*C)
    gone = torch.zeros(x_p.shape[:2], dtype=torch.bool, device=x.device)
    gone.scatter_(1, removed.to(x.device), True)
    if (gone.sum(1) != removed.shape[1]).any():
        raise ValueError("a patch can be removed only once")
    if fill is not None:
        z = embedding.embed(x_p.masked_fill(gone[..., None], fill))  # (B, T, D)
    else:
        z = embedding.embed(x_p)  # (B, T, D)
        others = gone.new_ones(len(x), z.shape[1] - gone.shape[1])  # no patches: stay
        kept = torch.cat([others, ~gone], dim=1)  # (B, T)
        z = z[kept].view(len(x), -1, z.shape[-1])  # (B, T - n, D)
    y = model.layer_norm(model.encoder(z)[:, 0])  # (B, D)
    probabilities = model.head(y).float().softmax(dim=1)  # (B, K)
    return probabilities.gather(1, classes.to(x.device)[:, None])[:, 0]  # (B,)


@dataclass(frozen=True, eq=False)
class DeletionCurves:
    """Probability of the class as more and more patches are removed.

    Attributes:
        shares: (S,) share of the patches that are gone, from 0 to 1.
        highest: (S, B) probability when those that the map ranks highest go first.
        lowest: (S, B) when the lowest go first.
        random: (S, B) when they go in random order.
    """

    shares: Tensor
    highest: Tensor
    lowest: Tensor
    random: Tensor

    @property
    def area(self) -> float:
        """Between lowest and highest first: 0 if the map tells nothing, at most 1."""
        return curve_area(self.shares, (self.lowest - self.highest).mean(1))

    @property
    def area_over_highest(self) -> float:
        """Between random and highest first: what the map finds that chance does not."""
        return curve_area(self.shares, (self.random - self.highest).mean(1))


def curve_area(shares: Tensor, heights: Tensor) -> float:
    """Area under a curve of straight lines."""
    return torch.trapezoid(heights.cpu().double(), shares.cpu().double()).item()


def deletion_test(
    model: ViT,
    x: Tensor,
    scores: Tensor,
    classes: Tensor | None = None,
    steps: int = 10,
    fill: float | None = None,
    generator: torch.Generator | None = None,
) -> DeletionCurves:
    """Remove patches step by step: the highest first, the lowest first, at random.

    Args:
        model: In evaluation mode.
        x: (B, C, H, W) images.
        scores: (B, N) or (B, H/P, W/P), what the map gives each patch.
        classes: (B,) the classes to watch; those that the model predicts if None.
        steps: Steps from all patches to none.
        fill: As for `probability_without`.
        generator: Of the random order.

    Raises:
        ValueError: A shape is wrong, or a score is not finite.

    Source: Samek et al., arXiv 1509.06321 (patches removed by rank, area between
    the curves); Chefer et al., arXiv 2103.15679, section 4 (for Transformers).
    """
    scores = scores.flatten(1).cpu()  # (B, N)
    B, N = len(x), model.config.num_patches
    if tuple(scores.shape) != (B, N) or not scores.isfinite().all():
        raise ValueError(f"expected {B} x {N} finite scores, one a patch and image")
    if classes is None:
        with torch.no_grad():
            classes = model(x).argmax(1)
    counts = [round(N * step / steps) for step in range(steps + 1)]
    orders = {
        "highest": scores.argsort(dim=1, descending=True, stable=True),
        "lowest": scores.argsort(dim=1, stable=True),
        "random": torch.rand(B, N, generator=generator).argsort(dim=1),
    }
    curves = {
        name: torch.stack(
            [probability_without(model, x, order[:, :n], classes, fill) for n in counts]
        ).cpu()
        for name, order in orders.items()
    }
    return DeletionCurves(torch.tensor(counts) / N, **curves)
