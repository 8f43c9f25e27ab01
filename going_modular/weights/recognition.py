"""Telling whose weights these are, and whether our model has a place for all."""

import re
from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from going_modular.errors import InputError
from going_modular.weights.formats import FORMATS, Format, expand

__all__ = [
    "as_tensor",
    "find_names",
    "recognise",
    "strip_prefixes",
    "take_out_extras",
]

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


def strip_prefixes(keys: Collection[str]) -> dict[str, str]:
    """Take wrappers' prefixes off names: the names as they were, by the bare ones."""

    def strip(key: str) -> str:
        key = str(key)
        while prefix := next((p for p in PREFIXES if key.startswith(p)), None):
            key = key[len(prefix) :]
        return key

    originals = {strip(key): key for key in keys}
    if len(originals) != len(keys):
        raise InputError("the weights hold two models: give one of them")
    return originals


def as_tensor(value) -> Tensor | None:
    """A tensor or a NumPy array as float32; None for anything else."""
    if isinstance(value, np.ndarray):
        if value.dtype == "V2":  # how NumPy stores bfloat16
            value = torch.from_numpy(value.view(np.int16)).view(torch.bfloat16)
        elif value.dtype.kind in "fiu":
            value = torch.from_numpy(value)
    return value.float() if isinstance(value, Tensor) else None


def take_out_extras(state: dict[str, Tensor | None]) -> dict[str, str]:
    """Remove what can go from `state`, and say why, by name.

    Raises:
        InputError: The model has a part that ours lacks.
    """
    for key in state:
        if reason := find_reason(key, REFUSED):
            raise InputError(f"{key}: these weights belong to a model with {reason}")
    reasons = {key: find_reason(key, LEFT_OUT) for key in state}
    reasons |= {key: "no numbers" for key, value in state.items() if value is None}
    left_out = {key: reason for key, reason in reasons.items() if reason}
    for key in left_out:
        del state[key]
    return left_out


def count_blocks(keys: Collection[str], form: Format) -> int:
    """How many blocks are there, whatever their numbers: a file may name any."""
    name = form.names["encoder.blocks.#.msa_block.layer_norm.*"]
    before, after = name.split("#")
    number = re.compile(re.escape(before) + r"(\d+)" + re.escape(after[0]))
    return len({match.group(1) for key in keys if (match := number.match(key))})


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


def find_names(
    state: Mapping[str, Tensor], form: Format, depth: int
) -> dict[str, list[str]]:
    """Their names of each of our tensors; a head may be absent, nothing else."""
    names = {}
    for ours, theirs in expand(form, depth):
        part = ours.partition(".")[0]
        if part in ("head", "pre_logits"):
            stem = re.split(r"[./]\w+$", theirs[0])[0]
            if not any(key.startswith(stem) for key in state):
                continue
        names[ours] = theirs
    (class_token,) = names["patch_embedding.class_token"]
    if class_token not in state:
        raise InputError(
            f"these {form.title} weights have no class token ({class_token}), from "
            "which the paper's model predicts: choose weights that have one"
        )
    expected = {key for theirs in names.values() for key in theirs}
    problems = [
        f"{word} {', '.join(sorted(keys)[:3])}{' ...' if len(keys) > 3 else ''}"
        for word, keys in (
            ("missing", expected - set(state)),
            ("without a place", set(state) - expected),
        )
        if keys
    ]
    if problems:
        raise InputError(
            f"these {form.title} weights are not a whole model of the paper: "
            + "; ".join(problems)
        )
    return names
