"""Telling whose weights these are, and whether our model has a place for all."""

import re
from collections.abc import Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from going_modular.errors import InputError
from going_modular.weights.formats import FORMATS, READ_ONLY, Format, expand

__all__ = [
    "as_tensor",
    "find_names",
    "leave_out_extras",
    "name_head",
    "recognise",
    "refuse_other_designs",
    "take_registers",
]

# Parts that the paper's model has no place for. These can go:
LEFT_OUT = {
    r"mask_token|embeddings\.mask_token": "used in masked pre-training only",
    r"pooler\..*": "a tanh layer after y; the linear head reads y itself",
    r"head\.(mlp|last_layer)\..*": "DINO's projection head, used in pre-training only",
    r"(dino|ibot)_?(head|loss).*": "a projection head, used in pre-training only",
    r"opt/.*": "state of the optimiser",
    r"(\w+\.)?decoder.*|mask_.*": "a decoder, used in pre-training only",
    r".*(criterion|loss|predictor|projector|projection_?head)\..*": "for training only",
}
# Without these the model would compute something else:
REFUSED = {
    r"visual\..*|class_embedding|(vision_model\.)?(embeddings\.class_embedding"
    r"|pre_layrnorm\..*)": "CLIP's numerics (a LayerNorm before the blocks, QuickGELU)",
    r"vision_model\..*|head\.(probe|attention\..*)|embeddings\.position_embedding\..*":
        "SigLIP's numerics (a head that attends, no class token)",
    r"dist_token|head_dist\..*|.*distillation.*": "a distillation token (DeiT)",
    r"fc_norm\..*|attn_pool\..*|MAPHead_0/.*": "a head on all patches, no class token",
    r"norm_pre\..*|.*\.attn\.[qk]_norm\..*": "LayerNorms that the paper's model lacks",
    r".*\.mlp\.(w12|w3|fc1_g|weights_in|weights_out)\b.*": "a gated MLP (SwiGLU)",
    r".*rel_pos.*|.*relative_position.*": "relative position embeddings",
    r".*\brope\b.*|storage_tokens": "rotating position embeddings (DINOv3)",
    r"Transformer/encoderblock/.*": "blocks stacked in one tensor (big_vision's scan)",
    r".*\.(lora_[AB]|base_layer)\..*": "adapters (LoRA): merge them into the weights",
    r".*\.(SCB|absmax|quant_state|qweight|qzeros)\b.*": "quantised weights",
    r".*[._](weight|input)_scales?(_inv)?": "quantised weights, of 8 bits",
    r"(conv_root|gn_root|block\d+/unit\d+)/.*": "parts of a ResNet before its patches",
    r"patch_embed\.backbone\..*|.*patch_embeddings\.backbone\..*":
        "a network before its patches that is no ResNet of the paper",
}  # fmt: skip


def find_reason(key: str, reasons: Mapping[str, str]) -> str | None:
    return next((why for what, why in reasons.items() if re.fullmatch(what, key)), None)


def as_tensor(value) -> Tensor | None:
    """A tensor, floats as float32, also out of an array; None for anything else.

    Raises:
        InputError: It is sparse, quantised, complex, or larger than its memory.
    """
    if isinstance(value, np.ndarray):
        value = value.astype(value.dtype.newbyteorder("="), copy=False)
        if value.dtype == "V2":  # how NumPy stores bfloat16
            value = torch.from_numpy(value.view(np.int16)).view(torch.bfloat16)
        elif value.dtype.kind in "fiuc":
            value = torch.from_numpy(value)
    if not isinstance(value, Tensor):
        return None
    if hasattr(value, "full_tensor"):
        raise InputError(
            "is one process's part of a tensor (DTensor): gather the whole state "
            "before it is saved"
        )
    value = value.detach()
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        raise InputError("is sparse, quantised or without numbers")
    if value.is_complex():
        raise InputError("holds complex numbers")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        raise InputError(f"repeats few numbers as {tuple(value.shape)}")
    return value.float() if value.is_floating_point() else value


def refuse_other_designs(keys: Collection[str]) -> None:
    """Raise an InputError where a model has a part that ours lacks."""
    for key in keys:
        if reason := find_reason(key, REFUSED):
            raise InputError(f"{key}: these weights belong to a model with {reason}")


# What a single linear layer may be called that is a head.
HEAD = re.compile(
    r"(heads?|classifier|fc|linear)([./].*)?[./](weight|bias|kernel|scale|running_mean|running_var)"
)


def leave_out_extras(
    state: dict[str, Tensor | None], form: Format, depth: int
) -> dict[str, str]:
    """Remove what can go from `state`, and say why, by name."""
    headless = not heads_of(form) & set(state)
    expected = {name for _, theirs in expand(form, depth) for name in theirs}
    core = {name.split("#")[0].split("*")[0] for name in form.names.values()}
    core |= {name.split(".")[0] + "." for name in core if "." in name}
    reasons = {}
    for key, value in state.items():
        if key in expected and value is None:
            raise InputError(f"{key} is no tensor: save it as one, and then give that")
        if value is None:
            reasons[key] = "no numbers"
        elif key in expected:
            continue
        elif reason := find_reason(key, LEFT_OUT):
            reasons[key] = reason
        elif not value.dim() and not (
            value.is_floating_point() and key.startswith(tuple(core))
        ):
            reasons[key] = "a number alone"
        elif headless and HEAD.fullmatch(key):
            continue  # `name_head` looks at it
        elif not key.startswith(tuple(core)) and not re.search(
            "norm|embed|token|pos|ln_|prompt", key.rpartition(".")[0] or key
        ):
            reasons[key] = "no part of the paper's model"
    for key in reasons:
        del state[key]
    return reasons


REGISTERS = ("reg_token", "register_tokens", "embeddings.register_tokens")


def take_registers(state: dict[str, Tensor | None]) -> tuple[str, Tensor] | None:
    """Take the (1, R, D) registers out of `state`, with their name, if there are any.

    Raises:
        InputError: They have another shape.
    """
    for key in REGISTERS:
        if key in state:
            registers = state.pop(key)
            if registers is None or registers.dim() != 3 or len(registers) != 1:
                raise InputError(f"{key}: no registers of shape (1, R, D)")
            return (key, registers) if registers.shape[1] else None
    return None


def name_head(
    state: dict[str, Tensor | None], form: Format
) -> tuple[dict[str, str], dict[str, str]]:
    """Give a head of another form the names that this format has for it.

    A single linear layer is a head, whatever its name. Anything else is taken out.

    Returns:
        Why tensors were taken out, and what others are called now, by name.
    """
    names = heads_of(form)
    stem = form.names["head.*"].rstrip("*")
    tensors = {
        key: value
        for key, value in state.items()
        if HEAD.fullmatch(key) and value is not None and value.dim()
    }
    matrices = [key for key, value in tensors.items() if value.dim() == 2]
    width = state[norm_of(form)].numel() if norm_of(form) in state else 0
    if len(matrices) == 1 and state[matrices[0]].shape[1] == 2 * width > 0:
        for key in tensors:
            del state[key]
        why = "a head on the class token and the mean of the patches, as DINOv2's"
        return dict.fromkeys(tensors, why), {}
    if not tensors or set(tensors) <= names:
        return {}, {}
    stems = {re.split(r"[./]\w+$", key)[0] for key in tensors}
    if len(matrices) != 1 or len(stems) != 1:
        for key in tensors:
            del state[key]
        why = "a head of several layers, no single linear one"
        return dict.fromkeys(tensors, why), {}
    renamed = {}
    for key in tensors:
        name = stem + re.split(r"[./]", key)[-1]
        state[name] = state.pop(key)
        renamed[key] = name
    return {}, renamed


def norm_of(form: Format) -> str:
    """The name that a format has for the weight of the last LayerNorm."""
    return form.names["layer_norm.*"].replace("*", "scale" if form.flax else "weight")


def heads_of(form: Format) -> set[str]:
    """The names that a format has for the tensors of a head."""
    return {
        theirs
        for ours, (theirs, *_) in expand(form, 1)
        if ours.partition(".")[0] in ("head", "pre_logits")
    }


MOST_MISSING = 0.5  # of a format's names


def count_blocks(keys: Collection[str], form: Format) -> int:
    """How many blocks are there, whatever their numbers: a file may name any."""
    name = form.names["encoder.blocks.#.msa_block.layer_norm.*"]
    before, after = name.split("#")
    number = re.compile(re.escape(before) + r"(\d+)" + re.escape(after[0]))
    return len({match.group(1) for key in keys if (match := number.match(key))})


def recognise(keys: Collection[str]) -> tuple[Format, int]:
    """The format that has most of these names, and the number of blocks.

    Raises:
        InputError: Less than half of a format's names are there.
    """
    forms, counts = [*FORMATS.values(), *READ_ONLY], []
    for form in forms:
        names = {
            name
            for _, theirs in expand(form, count_blocks(keys, form))
            for name in theirs
        }
        counts.append(len(names & set(keys)))
    form = forms[counts.index(max(counts))]
    depth = count_blocks(keys, form)
    if max(counts) < MOST_MISSING * len(list(expand(form, depth))) or depth == 0:
        some = ", ".join(sorted(keys)[:3]) or "nothing"
        raise InputError(
            f"these are no weights of a Vision Transformer as {', '.join(FORMATS)} "
            f"name them: they hold {some}, ..."
        )
    return form, depth


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
