"""When do warm-up and clipping matter?

    python -m experiments.stability

In a shallow model at a moderate rate neither is missed. So the model here has twelve
blocks, and the rate is about the highest that it bears. It is trained as the paper's
is, with LayerNorm before each layer, and as the first Transformers were, with LayerNorm
after each sum. Each then goes without one of the two, or both.
"""

import sys
from dataclasses import replace

from torch import Tensor

from experiments.clothes import SMALL, Recipe, train_and_judge
from experiments.study import Study, study_main
from going_modular.config import ViTConfig
from going_modular.transformer_encoder import TransformerEncoderBlock
from going_modular.vit import ViT

DEPTH = 12
WITHOUT = {
    "with both": {},
    "no warm-up": dict(warmup=0.0),
    "no clipping": dict(clip_norm=None),
    "neither": dict(warmup=0.0, clip_norm=None),
}
EPOCHS = 4
RATES = {"before": 8e-3, "after": 1e-3}
GENTLE = 3e-4  # a rate at which no accident is to be expected


class PostNormBlock(TransformerEncoderBlock):
    """z' = LN(MSA(z) + z), then LN(MLP(z') + z').

    Source: Vaswani et al., Attention Is All You Need, section 3.1.
    """

    def forward(self, z: Tensor) -> Tensor:
        """Map (B, T, D) tokens to the next layer's."""
        msa, mlp = self.msa_block, self.mlp_block
        z = msa.layer_norm(msa.msa(z) + z)
        return mlp.layer_norm(mlp.mlp(z) + z)


class PostNormViT(ViT):
    """A `ViT` of such blocks."""

    def __init__(self, config: ViTConfig):
        super().__init__(config)
        for block in self.encoder.blocks:
            block.__class__ = PostNormBlock  # with the same weights


def run(
    seed: int, judge: str, norm: str, learning_rate: float | None = None, **recipe
) -> dict[str, float]:
    """Train a deep model, with LayerNorm before or after."""
    config = replace(SMALL, depth=DEPTH)
    kind = PostNormViT if norm == "after" else ViT
    rate = learning_rate or RATES[norm]
    recipe = Recipe(**recipe, epochs=EPOCHS, learning_rate=rate)
    return train_and_judge(lambda: kind(config), recipe, seed, judge)[1]


STUDY = Study(
    name="stability",
    question="When do warm-up and clipping matter?",
    source="Table 3, section 3.1",
    run=run,
    settings={
        f"LayerNorm {norm}, {name}": dict(norm=norm, **part)
        for norm in RATES
        for name, part in WITHOUT.items()
    }
    | {
        f"LayerNorm after, rate {GENTLE:g}, {name}": dict(
            norm="after", learning_rate=GENTLE, **WITHOUT[name]
        )
        for name in ("with both", "neither")
    },
)

if __name__ == "__main__":
    sys.exit(study_main(STUDY))
