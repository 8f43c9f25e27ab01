"""Learning without labels: the model says how bright hidden patches were.

Source: ViT paper, section 4.6 and appendix B.1.2. The paper's patches have colours, and
it predicts the mean colour in 3 bits for each channel, 512 in all. Grey ones have 8.
"""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.clothes import MEAN, STD, Recipe
from going_modular.config import ViTConfig
from going_modular.data_setup import Batches, ImageSet, normalise
from going_modular.optimization import build_schedule
from going_modular.patch_embedding import patchify
from going_modular.utils import random_stream, set_seeds
from going_modular.vit import ViT

__all__ = [
    "LEVELS",
    "MaskedViT",
    "corruption",
    "grey_levels",
    "levels_of_neighbours",
    "masked_loss",
    "predict_masked",
    "train_masked",
]

LEVELS = 8  # 3 bits
CORRUPTED = 0.5  # share of the patches
# What a corrupted patch becomes: the mask, another patch, or, to the rest, itself.
MASK, OTHER = 0.8, 0.1


def grey_levels(images: Tensor, patch_size: int) -> Tensor:
    """The mean brightness of each patch in 3 bits.

    Args:
        images: (B, 1, H, W) uint8.
        patch_size: P.

    Returns:
        (B, N) levels from 0 to 7.
    """
    means = patchify(images.float(), patch_size).mean(dim=-1)  # (B, N)
    return (means * LEVELS / 256).long()


def corruption(count: int, patches: int, stream: torch.Generator) -> tuple[Tensor, ...]:
    """Draw which patches of some images are corrupted, and how.

    Args:
        count: B images.
        patches: N.
        stream: Where the random numbers come from.

    Returns:
        corrupted: (B, N), true for exactly half of each image's patches.
        masked: (B, N), those of them that become the mask.
        source: (B, N), which patch of the image each is taken from: mostly itself.
    """
    order = torch.rand(count, patches, generator=stream).argsort(dim=1)  # (B, N)
    corrupted = order < int(CORRUPTED * patches)
    fate = torch.rand(count, patches, generator=stream)  # (B, N)
    masked = corrupted & (fate < MASK)
    swapped = corrupted & (fate >= MASK) & (fate < MASK + OTHER)
    others = torch.randint(patches, (count, patches), generator=stream)  # (B, N)
    source = torch.where(swapped, others, torch.arange(patches))  # (B, N)
    return corrupted, masked, source


class MaskedViT(nn.Module):
    """A `ViT` that predicts the brightness of patches, with a mask in place of some.

    Args:
        config: That of the `ViT`, which is all that is kept afterwards.
    """

    def __init__(self, config: ViTConfig):
        super().__init__()
        D = config.embedding_dim
        self.vit = ViT(config)
        self.mask = nn.Parameter(0.02 * torch.randn(D))
        self.levels = nn.Linear(D, LEVELS)
        nn.init.zeros_(self.levels.weight)
        nn.init.zeros_(self.levels.bias)

    def forward(self, x: Tensor, masked: Tensor, source: Tensor) -> Tensor:
        """Predict every patch.

        Args:
            x: (B, C, H, W) images.
            masked, source: (B, N), as `corruption` draws them.

        Returns:
            (B, N, 8) logits of the levels.
        """
        vit, embedding = self.vit, self.vit.patch_embedding
        x_p = patchify(x, embedding.patch_size)  # (B, N, P*P*C)
        x_p = x_p.gather(1, source[..., None].expand_as(x_p))
        tokens = embedding.projection(x_p)  # (B, N, D)
        tokens = torch.where(masked[..., None], self.mask, tokens)
        class_token = embedding.class_token.expand(len(x), -1, -1)  # (B, 1, D)
        z = torch.cat([class_token, tokens], dim=1)  # (B, T, D)
        z = vit.encoder(z + embedding.position_embedding)
        return self.levels(vit.layer_norm(z[:, 1:]))  # (B, N, 8)


def masked_loss(logits: Tensor, levels: Tensor, corrupted: Tensor) -> Tensor:
    """Mean cross-entropy over the corrupted patches: the others are no question."""
    return F.cross_entropy(logits[corrupted], levels[corrupted])


def levels_of_neighbours(images: Tensor, patch_size: int, hidden: Tensor) -> Tensor:
    """Guess each patch by the mean brightness of those around it that can be seen.

    Args:
        images: (B, 1, H, W) uint8.
        patch_size: P.
        hidden: (B, N), true for the patches that are corrupted.

    Returns:
        (B, N) levels; -1 where none of the eight neighbours can be seen.
    """
    rows, columns = (side // patch_size for side in images.shape[2:])
    means = patchify(images.float(), patch_size).mean(dim=-1)  # (B, N)
    seen = (~hidden).float().unflatten(1, (rows, columns))  # (B, rows, columns)
    means = means.unflatten(1, (rows, columns))  # (B, rows, columns)
    around = torch.ones(1, 1, 3, 3)
    around[..., 1, 1] = 0
    total = F.conv2d((means * seen)[:, None], around, padding=1)[:, 0]
    count = F.conv2d(seen[:, None], around, padding=1)[:, 0]  # (B, rows, columns)
    levels = (total / count.clamp(min=1) * LEVELS / 256).long()
    return torch.where(count > 0, levels, -1).flatten(1)  # (B, N)


def corrupted_batches(
    data: ImageSet,
    recipe: Recipe,
    patch_size: int,
    seed: int,
    epoch: int = 0,
    shuffle: bool = False,
) -> Iterator[tuple[Tensor, ...]]:
    """Batches of images, what becomes of their patches, and their levels."""
    batches = Batches(
        data, recipe.batch_size, shuffle=shuffle, transform=lambda x: x, seed=seed
    )
    batches.epoch = epoch
    for place, (images, _) in enumerate(batches):
        stream = random_stream(seed, epoch, place)
        patches = images.shape[2] * images.shape[3] // patch_size**2
        drawn = corruption(len(images), patches, stream)
        x = normalise(images, MEAN, STD)  # (B, C, H, W)
        yield x, *drawn, grey_levels(images, patch_size)


def train_masked(
    config: ViTConfig, data: ImageSet, recipe: Recipe, seed: int
) -> MaskedViT:
    """Train a model to say how bright corrupted patches were.

    Every epoch corrupts other patches.
    """
    set_seeds(seed)
    model = MaskedViT(config).train()
    optimizer = recipe.optimizer(model, recipe.learning_rate, recipe.weight_decay)
    steps = recipe.epochs * math.ceil(len(data) / recipe.batch_size)
    schedule = build_schedule(
        optimizer, steps, round(recipe.warmup * steps), recipe.decay
    )
    for epoch in range(recipe.epochs):
        for x, corrupted, masked, source, levels in corrupted_batches(
            data, recipe, config.patch_size, seed, epoch, shuffle=True
        ):
            optimizer.zero_grad()
            masked_loss(model(x, masked, source), levels, corrupted).backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
            optimizer.step()
            schedule.step()
    return model


@torch.inference_mode()
def predict_masked(
    model: MaskedViT, data: ImageSet, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Corrupt images once, and predict all of their patches.

    Returns:
        (n, N, 8) logits, (n, N) levels, and (n, N) which patches are corrupted.
    """
    model.eval()
    P = model.vit.config.patch_size
    logits, levels, corrupted = [], [], []
    for x, hidden, masked, source, truth in corrupted_batches(
        data, Recipe(batch_size=500), P, seed
    ):
        logits.append(model(x, masked, source))
        levels.append(truth)
        corrupted.append(hidden)
    return torch.cat(logits), torch.cat(levels), torch.cat(corrupted)
