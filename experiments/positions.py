"""Does it matter how a Vision Transformer is told where its patches lie?

    python -m experiments.positions

No positions, one for each place in the sequence, one for each row and column, or one
for each distance between two patches; given once at the start, or to every layer, each
with its own or all with the same. Patches are 4 x 4 pixels, 49 of an image.
"""

import sys
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.clothes import SMALL, Recipe, train_and_judge
from experiments.study import Study, Tried, study_main
from going_modular.config import ViTConfig
from going_modular.multihead_self_attention import MultiheadSelfAttention
from going_modular.vit import ViT

CONFIG = replace(SMALL, patch_size=4)
STD = 0.02  # of all position embeddings at the start, as in the official code


class OneDimensional(nn.Module):
    """An embedding for each place in the sequence, as in Equation 1."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        shape = 1, config.num_tokens, config.embedding_dim
        self.places = nn.Parameter(STD * torch.randn(shape))

    def forward(self) -> Tensor:
        """(1, T, D) positions."""
        return self.places


class TwoDimensional(nn.Module):
    """Half of each embedding tells the column, half the row (appendix D.4)."""

    def __init__(self, config: ViTConfig):
        super().__init__()
        rows, columns = config.grid_shape
        half = config.embedding_dim // 2
        self.class_place = nn.Parameter(STD * torch.randn(1, 1, 2 * half))
        self.columns = nn.Parameter(STD * torch.randn(1, columns, half))
        self.rows = nn.Parameter(STD * torch.randn(rows, 1, half))

    def forward(self) -> Tensor:
        """(1, T, D) positions."""
        shape = len(self.rows), self.columns.shape[1], -1
        both = [self.columns.expand(shape), self.rows.expand(shape)]
        patches = torch.cat(both, dim=-1).flatten(0, 1)  # (N, D)
        return torch.cat([self.class_place, patches[None]], dim=1)  # (1, T, D)


class RelativeAttention(MultiheadSelfAttention):
    """Attention whose scores also depend on how far two patches are from each other.

    Every distance in the sequence, from -(N - 1) to N - 1, has an embedding. A query
    meets it as it meets a key, and what comes of it is added to the score. The class
    token is no place, so all pairs with it share one more embedding.

    Source: ViT paper, appendix D.4, "relative positional embeddings".
    """

    def __init__(self, config: ViTConfig):
        super().__init__(config)
        N = config.num_patches
        head_dim = config.embedding_dim // config.num_heads
        self.distances = nn.Parameter(STD * torch.randn(2 * N, head_dim))
        places = torch.arange(N)
        between = torch.zeros(N + 1, N + 1, dtype=torch.long)  # (T, T)
        between[1:, 1:] = places[:, None] - places + N  # 1 to 2 N - 1; 0 is the token's
        self.register_buffer("between", between)

    def forward(self, z: Tensor) -> Tensor:
        """Mix (B, T, D) tokens."""
        qkv = self.qkv(z).unflatten(-1, (3, self.num_heads, -1))  # (B, T, 3, nh, dh)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, nh, T, dh)
        each = q @ self.distances.T / q.shape[-1] ** 0.5  # (B, nh, T, 2 N)
        bias = each.gather(-1, self.between.expand(*q.shape[:3], -1))  # (B, nh, T, T)
        sa = F.scaled_dot_product_attention(q, k, v, bias)
        return self.out(sa.transpose(1, 2).flatten(2))  # (B, T, D)


KINDS = {"1-D": OneDimensional, "2-D": TwoDimensional}


class PositionedViT(ViT):
    """A `ViT` that is told of places in another way.

    Args:
        config: Its sizes.
        kind: "none", "1-D", "2-D" or "relative".
        given: To the "stem", to "every layer", or to every layer the same: "shared".
    """

    def __init__(self, config: ViTConfig, kind: str, given: str = "stem"):
        super().__init__(config)
        embedding = self.patch_embedding
        del embedding.position_embedding  # its place is taken by nothing
        embedding.register_buffer("position_embedding", torch.zeros(1, 1, 1))
        self.positions, self.given = nn.ModuleList(), given
        if kind == "relative":
            for block in self.encoder.blocks:
                block.msa_block.msa = RelativeAttention(config)
        elif kind != "none":
            count = config.depth if given == "every layer" else 1
            self.positions.extend(KINDS[kind](config) for _ in range(count))

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, D) y of Equation 4."""
        z = self.patch_embedding(x)  # (B, T, D)
        for layer, block in enumerate(self.encoder.blocks):
            if self.positions and (layer == 0 or self.given != "stem"):
                place = layer if self.given == "every layer" else 0
                z = z + self.positions[place]()
            z = block(z)
        return self.layer_norm(z[:, 0])  # (B, D)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) logits."""
        return self.head(self.forward_features(x))


def run(
    seed: int, judge: str, kind: str, given: str = "stem", **recipe
) -> dict[str, float]:
    """Train a model that is told of places in one way."""
    return train_and_judge(
        lambda: PositionedViT(CONFIG, kind, given), Recipe(**recipe), seed, judge
    )[1]


RATES = Tried(1e-3, 3e-3)
STUDY = Study(
    name="positions",
    question="Does it matter how a model is told where its patches lie?",
    source="Table 8",
    run=run,
    settings={"none": dict(kind="none", learning_rate=RATES)}
    | {
        f"{kind}, {given}": dict(kind=kind, given=given, learning_rate=RATES)
        for kind in KINDS
        for given in ("stem", "every layer", "shared")
    }
    | {"relative": dict(kind="relative", learning_rate=RATES)},
)

if __name__ == "__main__":
    sys.exit(study_main(STUDY))
