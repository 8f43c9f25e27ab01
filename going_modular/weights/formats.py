"""The names and forms that other libraries give to a Vision Transformer's tensors.

A format is a table from our names to theirs. `#` stands for the number of a block,
`*` for weight and bias, and `{query,key,value}` for three tensors that we keep as one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["BLOCK", "FORMATS", "READ_ONLY", "Format", "expand"]

BLOCK = "encoder.blocks.#."
OUR_BLOCK = (
    "msa_block.layer_norm.*",
    "msa_block.msa.qkv.*",
    "msa_block.msa.out.*",
    "mlp_block.layer_norm.*",
    "mlp_block.mlp.linear_1.*",
    "mlp_block.mlp.linear_2.*",
)
IMAGENET = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
HALF = dict(mean=(0.5,), std=(0.5,))


@dataclass(frozen=True)
class Format:
    """How a library names its tensors, and what it computes with them.

    Attributes:
        title: What it is called in messages.
        names: From our names to theirs.
        numerics: Fields of `ViTConfig` that its models have.
        flax: Matrices are stored transposed, and heads on an axis of their own.
    """

    title: str
    names: dict[str, str]
    numerics: dict = field(default_factory=dict)
    flax: bool = False


def table(outside: tuple[str, ...], block: str, inside: tuple[str, ...]) -> dict:
    """Pair our names, in a fixed order, with theirs."""
    ours = (
        "patch_embedding.class_token",
        "patch_embedding.position_embedding",
        "patch_embedding.projection.*",
        "layer_norm.*",
        "head.*",
        "pre_logits.*",
    )
    pairs = dict(zip(ours, outside, strict=False))
    for name, theirs in zip(OUR_BLOCK, inside, strict=True):
        pairs[BLOCK + name] = block + theirs
    return pairs


OFFICIAL_OUTSIDE = (
    "cls",
    "Transformer/posembed_input/pos_embedding",
    "embedding/*",
    "Transformer/encoder_norm/*",
    "head/*",
    "pre_logits/*",
)


HUGGING_FACE_OUTSIDE = (
    "embeddings.cls_token",
    "embeddings.position_embeddings",
    "embeddings.patch_embeddings.projection.*",
    "layernorm.*",
    "classifier.*",
)


def flax_inside(attention: str, norm_2: str, mlp: str) -> tuple[str, ...]:
    return (
        "LayerNorm_0/*",
        attention + "/{query,key,value}/*",
        attention + "/out/*",
        norm_2 + "/*",
        mlp + "/Dense_0/*",
        mlp + "/Dense_1/*",
    )


FORMATS = {
    "torchvision": Format(
        "torchvision",
        table(
            (
                "class_token", "encoder.pos_embedding", "conv_proj.*", "encoder.ln.*",
                "heads.head.*", "heads.pre_logits.*",
            ),
            "encoder.layers.encoder_layer_#.",
            (
                "ln_1.*", "self_attention.in_proj_*", "self_attention.out_proj.*",
                "ln_2.*", "mlp.0.*", "mlp.3.*",
            ),
        ),
        dict(gelu="erf", layer_norm_eps=1e-6, **IMAGENET),
    ),
    "timm": Format(
        "timm",
        table(
            ("cls_token", "pos_embed", "patch_embed.proj.*", "norm.*", "head.*"),
            "blocks.#.",
            (
                "norm1.*", "attn.qkv.*", "attn.proj.*",
                "norm2.*", "mlp.fc1.*", "mlp.fc2.*",
            ),
        ),
        dict(gelu="erf", layer_norm_eps=1e-6, **HALF),
    ),
    "transformers": Format(
        "Hugging Face transformers",
        table(
            HUGGING_FACE_OUTSIDE,
            "encoder.layer.#.",
            (
                "layernorm_before.*", "attention.attention.{query,key,value}.*",
                "attention.output.dense.*", "layernorm_after.*",
                "intermediate.dense.*", "output.dense.*",
            ),
        ),
        dict(gelu="erf", layer_norm_eps=1e-12, **HALF),
    ),
    "transformers 5": Format(
        "Hugging Face transformers 5, in memory",
        table(
            HUGGING_FACE_OUTSIDE,
            "layers.#.",
            (
                "layernorm_before.*", "attention.{q,k,v}_proj.*", "attention.o_proj.*",
                "layernorm_after.*", "mlp.fc1.*", "mlp.fc2.*",
            ),
        ),
        dict(gelu="erf", layer_norm_eps=1e-12, **HALF),
    ),
    "official": Format(
        "official vision_transformer",
        table(
            OFFICIAL_OUTSIDE,
            "Transformer/encoderblock_#/",
            flax_inside("MultiHeadDotProductAttention_1", "LayerNorm_2", "MlpBlock_3"),
        ),
        dict(gelu="tanh", layer_norm_eps=1e-6, **HALF),
        flax=True,
    ),
    "big_vision": Format(
        "big_vision",
        table(
            ("cls", "pos_embedding", *OFFICIAL_OUTSIDE[2:]),
            "Transformer/encoderblock_#/",
            flax_inside("MultiHeadDotProductAttention_0", "LayerNorm_1", "MlpBlock_0"),
        ),
        dict(gelu="tanh", layer_norm_eps=1e-6, **HALF),
        flax=True,
    ),
}  # fmt: skip


# This project's own names, as `state_dict()` gives them without a word on the model.
OWN = Format(
    "this project's",
    {name: name for name in FORMATS["timm"].names},
    FORMATS["timm"].numerics,
)


OWN_WITH_TANH = Format(
    OWN.title,
    {**OWN.names, "head.*": "head.2.*", "pre_logits.*": "head.0.*"},
    OWN.numerics,
)


# timm's before version 0.6, where a head could have a tanh layer.
TIMM_WITH_TANH = Format(
    "timm",
    {**FORMATS["timm"].names, "pre_logits.*": "pre_logits.fc.*"},
    FORMATS["timm"].numerics,
)


# DINOv2 in Hugging Face's names. It has LayerScale, which is folded into the weights.
DINOV2 = Format(
    "Hugging Face DINOv2",
    table(
        HUGGING_FACE_OUTSIDE,
        "encoder.layer.#.",
        (
            "norm1.*", "attention.attention.{query,key,value}.*",
            "attention.output.dense.*", "norm2.*", "mlp.fc1.*", "mlp.fc2.*",
        ),
    ),
    dict(gelu="erf", layer_norm_eps=1e-6, **IMAGENET),
)  # fmt: skip
DINOV2_IN_MEMORY = Format(
    "Hugging Face DINOv2, in memory",
    table(
        HUGGING_FACE_OUTSIDE,
        "encoder.layer.#.",
        (
            "norm1.*", "attention.{q,k,v}_proj.*", "attention.o_proj.*",
            "norm2.*", "mlp.fc1.*", "mlp.fc2.*",
        ),
    ),
    DINOV2.numerics,
)  # fmt: skip
# What is read, and not written.
READ_ONLY = (OWN, OWN_WITH_TANH, TIMM_WITH_TANH, DINOV2, DINOV2_IN_MEMORY)


def expand(form: Format, depth: int) -> Iterator[tuple[str, list[str]]]:
    """List our name and theirs, one or three, of every tensor in a model."""
    for ours, theirs in form.names.items():
        for layer in range(depth) if "#" in ours else (0,):
            for suffix in ("weight", "bias") if "*" in ours else ("",):
                their_suffix = suffix
                if form.flax and suffix == "weight":
                    their_suffix = "scale" if "layer_norm" in ours else "kernel"
                name = theirs.replace("#", str(layer)).replace("*", their_suffix)
                choice = re.search(r"\{(.*)\}", name)
                parts = choice.group(1).split(",") if choice else ()
                names = [name.replace(choice.group(0), part) for part in parts]
                yield (
                    ours.replace("#", str(layer)).replace("*", suffix),
                    names or [name],
                )
