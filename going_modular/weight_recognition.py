"""Telling whose weights these are, and whether our model has a place for all."""

import re
from collections.abc import Collection, Mapping

from torch import Tensor

from going_modular.utils import InputError
from going_modular.weight_formats import FORMATS, Format, expand

__all__ = ["recognise", "strip_prefixes", "take_out_extras"]

# What training scripts and wrappers put before the names.
PREFIXES = (
    "module.", "_orig_mod.", "backbone.", "model.", "opt/target/", "params/", "vit.",
)  # fmt: skip

# Parts that the paper's model has no place for. These can go:
LEFT_OUT = {
    r"mask_token|embeddings\.mask_token": "used in masked pre-training only",
    r"pooler\.dense\..*": "a tanh layer after y; the linear head reads y itself",
    r"head\.(mlp|last_layer)\..*": "DINO's projection head, used in pre-training only",
    r"opt/.*": "state of the optimiser",
}
# Without these the model would compute something else:
REFUSED = {
    r"reg_token|.*register_tokens": "register tokens, more tokens than Equation 1 has",
    r"dist_token|head_dist\..*|.*distillation.*": "a distillation token (DeiT)",
    r"fc_norm\..*|attn_pool\..*|MAPHead_0/.*": "a head on all patches, no class token",
    r"norm_pre\..*|.*\.attn\.[qk]_norm\..*": "LayerNorms that the paper's model lacks",
    r".*\.mlp\.(w12|w3|fc1_g)\..*": "a gated MLP (SwiGLU)",
    r".*rel_pos.*|.*relative_position.*": "relative position embeddings",
    r"Transformer/encoderblock/.*": "blocks stacked in one tensor (big_vision's scan)",
}


def find_reason(key: str, reasons: Mapping[str, str]) -> str | None:
    return next((why for what, why in reasons.items() if re.fullmatch(what, key)), None)


def strip_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take wrappers' prefixes off the names."""

    def strip(key: str) -> str:
        while prefix := next((p for p in PREFIXES if key.startswith(p)), None):
            key = key[len(prefix) :]
        return key

    stripped = {strip(key): value for key, value in state.items()}
    if len(stripped) != len(state):
        raise InputError("the weights hold two models: give one of them")
    return stripped


def take_out_extras(state: dict[str, Tensor]) -> dict[str, str]:
    """Remove tensors that can go from `state`, and say why, by name.

    Raises:
        InputError: The model has a part that ours lacks.
    """
    for key in state:
        if reason := find_reason(key, REFUSED):
            raise InputError(f"{key}: these weights belong to a model with {reason}")
    reasons = {key: find_reason(key, LEFT_OUT) for key in state}
    left_out = {key: reason for key, reason in reasons.items() if reason}
    for key in left_out:
        del state[key]
    return left_out


def count_blocks(keys: Collection[str], form: Format) -> int:
    """One more than the greatest number of a block."""
    name = form.names["encoder.blocks.#.msa_block.layer_norm.*"]
    before, after = name.split("#")
    number = re.compile(re.escape(before) + r"(\d+)" + re.escape(after[0]))
    found = [int(match.group(1)) for key in keys if (match := number.match(key))]
    return max(found, default=-1) + 1


def recognise(keys: Collection[str]) -> tuple[Format, int]:
    """The format that has most of these names, and the number of blocks.

    Raises:
        InputError: No format has half of them.
    """
    shares = {}
    for title, form in FORMATS.items():
        depth = count_blocks(keys, form)
        names = {name for _, theirs in expand(form, depth) for name in theirs}
        shares[title] = len(names & set(keys)) / max(1, len(keys))
    title = max(shares, key=shares.get)
    depth = count_blocks(keys, FORMATS[title])
    if shares[title] < 0.5 or depth == 0:
        some = ", ".join(sorted(keys)[:3]) or "nothing"
        raise InputError(
            f"these are no weights of a Vision Transformer as {', '.join(FORMATS)} "
            f"name them: they hold {some}, ..."
        )
    return FORMATS[title], depth
