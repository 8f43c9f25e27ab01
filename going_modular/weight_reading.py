"""Reading weights of any kind into our names and forms."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from going_modular.checkpoint import read_notes
from going_modular.config import ViTConfig
from going_modular.utils import InputError
from going_modular.vit import ViT
from going_modular.weight_conversion import fold_layer_scale, from_theirs
from going_modular.weight_formats import Format, expand
from going_modular.weight_hints import add_class_slot, infer_config, read_hints
from going_modular.weight_recognition import (
    recognise,
    strip_prefixes,
    take_out_extras,
)
from going_modular.weight_report import Entry, Report
from going_modular.weight_sources import read_source

__all__ = ["Pretrained", "read_pretrained"]


@dataclass
class Pretrained:
    """Weights by our names, and the model that they were made for.

    Attributes:
        weights: Tensors by the names of `ViT.state_dict()`.
        config: The model.
        report: What became of every tensor of the source.
        class_names: Names of the head's classes, where the source tells them.
    """

    weights: dict[str, Tensor]
    config: ViTConfig
    report: Report
    class_names: tuple[str, ...] | None = None


def read_pretrained(
    source, num_heads: int | None = None, grid_shape: tuple[int, int] | None = None
) -> Pretrained:
    """Read weights of any kind into our names and forms.

    Args:
        source: A file, a folder, a name as in `weight_sources`, or a state dictionary.
        num_heads: Heads in each block, where the source does not tell.
        grid_shape: Patches in a column and in a row, where the source does not tell
            and the grid is no square.

    Raises:
        InputError: The source is missing, damaged, or no model that ours can be.
    """
    if isinstance(source, Pretrained):
        return source
    from_memory = isinstance(source, Mapping)
    state, about = (dict(source), {}) if from_memory else read_source(source)
    if "vit" in about:
        return read_own(state, about["vit"])
    return read_foreign(strip_prefixes(state), about, num_heads, grid_shape)


def read_own(state: dict[str, Tensor], notes: dict) -> Pretrained:
    """Read a file of `save_model`, which describes itself."""
    config, class_names = read_notes(notes)
    report = Report(Entry(key, "taken") for key in state)
    weights = {key: value.float() for key, value in state.items()}
    check_shapes(weights, config, {key: [key] for key in weights})
    return Pretrained(weights, config, report, class_names)


def read_foreign(
    state: dict[str, Tensor],
    about: dict,
    num_heads: int | None,
    grid_shape: tuple[int, int] | None,
) -> Pretrained:
    """Read another library's weights."""
    report = Report()
    for key, reason in take_out_extras(state).items():
        report.note(key, "left out", reason)
    form, depth = recognise(state)
    state, gammas = fold_layer_scale(state)
    for key in gammas:
        report.note(key, "folded", "LayerScale, into the linear layer before it")
    names = find_names(state, form, depth)
    weights = {
        ours: convert(ours, theirs, state, form, report)
        for ours, theirs in names.items()
    }
    hints = read_hints(about, form, headless="head.weight" not in weights)
    class_names = hints.pop("class_names", None)
    kernel = state[names["patch_embedding.projection.weight"][0]].shape
    if form.flax:
        kernel = kernel[::-1]  # (D, C, P, P)
        query = state[names["encoder.blocks.0.msa_block.msa.qkv.weight"][0]]
        hints["num_heads"] = query.shape[1]  # (D, nh, dh)
    if add_class_slot(weights, form):
        (key,) = names["patch_embedding.position_embedding"]
        report.note(key, "extended", "zeros added for the class token")
    hints.setdefault("num_heads", num_heads)
    hints.setdefault("grid_shape", grid_shape)
    config = infer_config(weights, kernel, depth, hints)
    weights, names = number_head_layers(weights), number_head_layers(names)
    check_shapes(weights, config, names)
    return Pretrained(weights, config, report, class_names)


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


def convert(
    ours: str,
    theirs: list[str],
    state: Mapping[str, Tensor],
    form: Format,
    report: Report,
) -> Tensor:
    """Bring one of our tensors out of one or three of theirs."""
    parts = [state[key].float() for key in theirs]
    try:
        tensor = from_theirs(ours, parts, form.flax)
    except (IndexError, RuntimeError, ValueError):
        shapes = ", ".join(str(tuple(part.shape)) for part in parts)
        raise InputError(
            f"{', '.join(theirs)} cannot become {ours}: wrong shape {shapes}"
        ) from None
    changed = tensor.shape != parts[0].shape or not tensor.is_contiguous()
    action = "joined" if len(parts) > 1 else "transposed" if changed else "taken"
    for key in theirs:
        report.note(key, action, f"as {ours}")
    return tensor.contiguous()


def check_shapes(
    weights: Mapping[str, Tensor], config: ViTConfig, names: Mapping[str, list[str]]
) -> None:
    """Hold all names and shapes against the model's own."""
    with torch.device("meta"):
        expected = ViT(config).state_dict()
    for ours, tensor in weights.items():
        if ours not in expected:
            raise InputError(f"{ours} has no place in the model")
        if tensor.shape != expected[ours].shape:
            raise InputError(
                f"{', '.join(names[ours])}: shape {tuple(tensor.shape)} as {ours}, "
                f"where the other tensors need {tuple(expected[ours].shape)}"
            )
    missing = [n for n in expected if n not in weights and not n.startswith("head")]
    if missing:
        raise InputError(f"the weights lack {', '.join(missing[:3])}")


def number_head_layers(by_name: Mapping[str, object]) -> dict[str, object]:
    """With a pre-training head, its two layers are head.0 and head.2 in our model."""
    if "pre_logits.weight" not in by_name:
        return dict(by_name)
    places = {"head": "head.2", "pre_logits": "head.0"}
    renamed = {}
    for name, value in by_name.items():
        part, _, rest = name.partition(".")
        renamed[f"{places[part]}.{rest}" if part in places else name] = value
    return renamed
