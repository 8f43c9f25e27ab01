"""Must the class token be read, or does the average of all tokens do as well?

    python -m experiments.readout

The paper's first attempt with the average failed, and not because of the average: it
needed another learning rate. So each way of reading chooses its own here, and the
average is trained at the class token's rate, too.
"""

import sys

import torch
from torch import Tensor, nn

from experiments.clothes import SMALL, Recipe, train_and_judge
from experiments.study import Study, Tried, study_main
from going_modular.config import ViTConfig
from going_modular.vit import ViT


class AveragingViT(ViT):
    """A `ViT` without a class token: the head reads the mean of the patches' tokens.

    Source: ViT paper, appendix D.3 (GAP, global average pooling).
    """

    def __init__(self, config: ViTConfig):
        super().__init__(config)
        embedding = self.patch_embedding
        del embedding.class_token
        places = embedding.position_embedding[:, 1:]  # (1, N, D)
        embedding.position_embedding = nn.Parameter(places.detach().clone())
        none = torch.zeros(1, 0, config.embedding_dim)
        embedding.register_buffer("class_token", none)

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, D): LayerNorm of each token, then their mean."""
        z = self.encoder(self.patch_embedding(x))  # (B, N, D)
        return self.layer_norm(z).mean(dim=1)  # (B, D)

    def forward(self, x: Tensor) -> Tensor:
        """(B, K) logits."""
        return self.head(self.forward_features(x))


KINDS = {"class token": ViT, "average": AveragingViT}
RATES = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3)


def run(seed: int, judge: str, read: str, **recipe) -> dict[str, float]:
    """Train a model whose head reads one or the other."""
    kind = KINDS[read]
    return train_and_judge(lambda: kind(SMALL), Recipe(**recipe), seed, judge)[1]


STUDY = Study(
    name="readout",
    question="Must the class token be read, or does the average do as well?",
    source="figure 9",
    run=run,
    settings={name: dict(read=name, learning_rate=Tried(*RATES)) for name in KINDS}
    | {
        f"{name}, rate {rate:g}": dict(read=name, learning_rate=rate)
        for rate in (5e-4, 8e-3)
        for name in KINDS
    },
)

if __name__ == "__main__":
    sys.exit(study_main(STUDY))
