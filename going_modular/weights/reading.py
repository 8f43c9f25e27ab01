"""Reading weights of any kind into our names and forms."""

import math
import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from going_modular.checkpoint import read_notes
from going_modular.config import ViTConfig
from going_modular.errors import InputError
from going_modular.system.text import printable
from going_modular.variants.building import build_vit, describe_stem
from going_modular.variants.registers import REGISTERS
from going_modular.vit import ViT
from going_modular.weights.choosing import choose_model
from going_modular.weights.conversion import (
    check_flax_heads,
    check_layer_scale,
    fold_layer_scale,
    from_theirs,
    layer_scales,
)
from going_modular.weights.formats import Format, expand
from going_modular.weights.recognition import (
    as_tensor,
    find_names,
    leave_out_extras,
    name_head,
    recognise,
    refuse_other_designs,
    take_registers,
)
from going_modular.weights.resnets import ResNet, take_resnet
from going_modular.weights.sizes import (
    check_claims,
    check_shapes,
    grid_of,
    infer_config,
    infer_grid,
    kernel_shape,
    read_hints,
)
from going_modular.weights.sources import read_source

__all__ = ["Entry", "Pretrained", "Report", "read_pretrained"]


# Assumptions that a script's flags can replace.
FLAGS = ("image_size", "num_heads", "mean", "std")


class Entry(NamedTuple):
    """What became of one tensor, and why."""

    key: str
    action: str
    detail: str = ""


class Report(list):
    """What became of every tensor of a source: a list of `Entry`."""

    def note(self, key: str, action: str, detail: str = "") -> None:
        self.append(Entry(key, action, detail))

    def change(self, key: str, action: str, detail: str) -> None:
        """Put another word in place of the one on this key."""
        places = [i for i, entry in enumerate(self) if entry.key == key]
        for i in places:
            before = f"{self[i].detail}; " if self[i].action == "extended" else ""
            self[i] = Entry(key, action, before + detail)

    def rename(self, names: Mapping[str, str]) -> None:
        self[:] = [e._replace(key=names.get(e.key, e.key)) for e in self]

    def summary(self) -> str:
        """How many tensors met with what, and a line for each that needs a word."""
        told = [e for e in self if e.action not in ("assumed", "chosen")]
        counts = Counter(entry.action for entry in told)
        line = ", ".join(f"{count} {action}" for action, count in counts.items())
        return "\n".join([line, *self.remarks()])

    def remarks(self) -> list[str]:
        """The lines of the summary but the first, to be printed."""
        plain = ("taken", "joined", "transposed", "folded", "chosen", "assumed")
        lines = merged([entry for entry in self if entry.action not in plain])
        return [printable(line) for line in lines + self.assumptions()]

    def assumptions(self) -> list[str]:
        """Lines on what was chosen or assumed, and how to say otherwise."""
        lines = [
            f"chosen: {detail}" for _, action, detail in self if action == "chosen"
        ]
        assumed = [entry for entry in self if entry.action == "assumed"]
        for why in dict.fromkeys(entry.detail.partition(": ")[2] for entry in assumed):
            values = [
                f"{key} {value}"
                for key, _, detail in assumed
                for value, reason in [detail.split(": ", 1)]
                if reason == why
            ]
            lines.append(f"assumed, {why}: {', '.join(values)}")
        flags = [f for f in FLAGS if f in {entry.key for entry in assumed}]
        if flags:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in flags)
            lines.append(f"where that is wrong: {names}")
        return lines

    def __str__(self) -> str:
        width = max((len(entry.key) for entry in self), default=0)
        lines = [f"{k:<{width}}  {a:<10}  {d}".rstrip() for k, a, d in self]
        return "\n".join(map(printable, lines))


def merged(entries: list[Entry]) -> list[str]:
    """A line for each entry, but one for all tensors of a part that are left out."""
    lines, parts = [], {}
    for key, action, detail in entries:
        if action == "left out":
            part = re.split(r"[./]", key)[0]
            parts.setdefault((part, detail), []).append(key)
        else:
            lines.append(f"{key} {action}: {detail}")
    for (part, detail), keys in parts.items():
        name = keys[0] if len(keys) == 1 else f"{part} ({len(keys)} tensors)"
        lines.append(f"{name} left out: {detail}")
    return lines


@dataclass
class Pretrained:
    """Weights by our names, and the model that they were made for.

    Attributes:
        weights: Tensors by the names of `ViT.state_dict()`.
        config: The model.
        report: What became of every tensor of the source.
        names: The source's names, one or three, by ours.
        class_names: Names of the head's classes, where the source tells them.
    """

    weights: dict[str, Tensor]
    config: ViTConfig
    report: Report
    names: dict[str, list[str]]
    class_names: tuple[str, ...] | None = None

    def build(self, config: ViTConfig) -> ViT:
        """A new model of this kind: with what the weights have beside the plain one."""
        return build_vit(config, self.weights)

    def check_kind(self, model: ViT) -> None:
        """Refuse a model with another stem, or not as many registers, than these."""
        theirs, ours = map(describe_stem, (self.weights, model.state_dict()))
        if theirs != ours:
            raise InputError(
                f"the weights have {theirs}, the model has {ours}: build it with "
                "from_pretrained"
            )
        none = torch.empty(1, 0, 0)
        theirs = self.weights.get(REGISTERS, none).shape[1]
        ours = model.state_dict().get(REGISTERS, none).shape[1]
        if theirs != ours:
            raise InputError(
                f"the weights have {theirs} registers, the model has {ours}: build it "
                "with from_pretrained"
            )


def read_pretrained(
    source,
    num_heads: int | None = None,
    grid_shape: tuple[int, int] | None = None,
    raw: bool = False,
    **told,
) -> Pretrained:
    """Read weights of any kind into our names and forms.

    Args:
        source: A file, a folder, a name as in `weights.sources`, or a state dictionary.
        num_heads: Heads in each block, where the source does not tell.
        grid_shape: Patches in a column and in a row, where the source does not tell
            and the grid is no square.
        raw: Where weights lie beside their running average, take these.
        told: Fields of `ViTConfig` to be taken instead of what is assumed: `mean`,
            `std`, `image_size`.

    Raises:
        InputError: The source is missing, damaged, or no model that ours can be.
    """
    if isinstance(source, Pretrained):
        return source
    from_memory = isinstance(source, Mapping)
    if not isinstance(source, Mapping | str | os.PathLike):
        hint = ", its .state_dict()" if hasattr(source, "state_dict") else ""
        raise InputError(
            f"weights are a file, a folder, a name or a dictionary of tensors{hint}, "
            f"no {type(source).__name__}"
        )
    state, about = (source, {}) if from_memory else read_source(source)
    told = {name: value for name, value in told.items() if value is not None}
    if "vit" in about:
        return read_own(state, about["vit"], told)
    chosen = choose_model(state, raw)
    for bare, value in chosen.items():
        try:
            chosen[bare] = as_tensor(value)
        except InputError as error:
            raise InputError(f"{chosen.originals[bare]} {error}") from None
    report = Report()
    if chosen.said:
        report.note("model", "chosen", chosen.said)
    found = read_foreign(chosen, about, num_heads, grid_shape, told, report)
    for key, why in chosen.left_out.items():
        report.note(key, "left out", why)
    report.rename(chosen.originals)
    found.names = {
        ours: [chosen.originals.get(key, key) for key in theirs]
        for ours, theirs in found.names.items()
    }
    return found


def read_own(state: dict[str, Tensor], notes: dict, told: dict) -> Pretrained:
    """Read a file of `save_model`, which describes itself."""
    try:
        config, class_names = read_notes(notes)
        config = replace(config, **{k: told[k] for k in ("mean", "std") if k in told})
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"the file's own notes describe no model ({type(error).__name__} {error})"
        ) from None
    report = Report(Entry(key, "taken") for key in state)
    weights = {key: value.float() for key, value in state.items()}
    names = {key: [key] for key in weights}
    check_shapes(weights, config, names)
    return Pretrained(weights, config, report, names, class_names)


def read_foreign(
    state: dict[str, Tensor],
    about: dict,
    num_heads: int | None,
    grid_shape: tuple[int, int] | None,
    told: dict,
    report: Report,
) -> Pretrained:
    """Read another library's weights, by their bare names."""
    resnet = take_resnet(state)
    refuse_other_designs(state)
    registers = take_registers(state)
    form, depth = recognise(state)
    state, weights, names = take_weights(state, form, depth, report)
    hints, assumed = read_hints(about, form, headless="head.weight" not in weights)
    class_names, claims = hints.pop("class_names", None), hints.pop("claims", {})
    (key,) = names["patch_embedding.projection.weight"]
    if resnet is None:
        kernel = kernel_shape(key, state[key].shape, form)
    else:
        kernel = resnet.kernel_shape(key, state[key].shape, form.flax)
        add_resnet(resnet, weights, names, report)
    check_claims(claims, embedding_dim=kernel[0], depth=depth, patch_size=kernel[2])
    grid = None
    if sides := hints.pop("image_size", None):
        grid = grid_of(sides, kernel[2])
        filled = tuple(kernel[2] * patches for patches in grid)
        if filled != sides:
            why = f"since {sides[0]} x {sides[1]} has no whole number of patches"
            report.note("image_size", "assumed", f"{filled[0]} x {filled[1]}: {why}")
    if "image_size" in told:
        grid_shape = grid_of(told["image_size"], kernel[2])
    if form.flax:
        hints["num_heads"] = check_flax_heads(state)
    elif "num_heads" not in hints and num_heads is None:
        assumed["num_heads"] = "as published models of this width have"
    hints.setdefault("num_heads", num_heads)
    name = "patch_embedding.position_embedding"
    (key,) = names[name]
    if registers is not None:
        separate_registers(*registers, weights, names, grid or grid_shape, report)
    square = grid is None and grid_shape is None
    grid, extended = infer_grid(key, weights[name].shape, form, grid, grid_shape)
    hints["grid_shape"] = grid
    if square:
        assumed["image_size"] = "since the patches fill a square"
    if extended:
        weights[name] = F.pad(weights[name], (0, 0, 1, 0))  # (1, T, D)
        report.change(key, "extended", "zeros added for the class token")
    hints |= {k: tuple(told[k]) for k in ("mean", "std") if k in told}
    config = infer_config(weights, kernel, depth, hints)
    projection = state[names["patch_embedding.projection.weight"][0]]
    if projection.dim() == 2 and resnet is None:
        why = f"since a patch has {config.patch_dim} numbers"
        assumed |= dict(in_channels=why, patch_size=why)
    for name, why in assumed.items():
        if name not in told:
            value = getattr(config, name)
            report.note(name, "assumed", f"{value}: {why}")
    if form.title == "timm" and "config" not in about and "head.weight" in weights:
        report.note("global_pool", "assumed", "token: as timm weights mostly have")
    if "head.weight" not in weights or len(class_names or ()) != config.num_classes:
        class_names = None
    weights, names = number_head_layers(weights), number_head_layers(names)
    check_shapes(weights, config, names)
    return Pretrained(weights, config, report, names, class_names)


def take_weights(
    state: dict[str, Tensor], form: Format, depth: int, report: Report
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, list[str]]]:
    """Leave out what has no place, and bring the rest into our names and forms.

    Returns:
        Their tensors that were used; ours by name; and their names by ours.
    """
    for key, why in leave_out_extras(state, form, depth).items():
        report.note(key, "left out", why)
    left_out, renamed = name_head(state, form)
    for key, why in left_out.items():
        report.note(key, "left out", why)
    scales = layer_scales(state, form, depth)
    check_layer_scale(state, scales)
    state = fold_layer_scale(state, scales)
    for key in scales:
        report.note(key, "folded", "LayerScale, into the linear layer before it")
    add_head_bias(state, form, report)
    names = find_names(state, form, depth)
    weights = {
        ours: convert(ours, theirs, state, form, report)
        for ours, theirs in names.items()
    }
    report.rename({new: old for old, new in renamed.items()})
    return state, weights, names


def add_resnet(
    resnet: ResNet,
    weights: dict[str, Tensor],
    names: dict[str, list[str]],
    report: Report,
) -> None:
    """Put a ResNet among the weights."""
    weights |= resnet.weights
    names |= resnet.names
    for ours, (theirs,) in resnet.names.items():
        report.note(theirs, "taken", f"as {ours}")


def separate_registers(
    key: str,
    registers: Tensor,
    weights: dict[str, Tensor],
    names: dict[str, list[str]],
    grid: tuple[int, int] | None,
    report: Report,
) -> None:
    """Put registers among the weights; in timm, their positions may need adding."""
    name, R = "patch_embedding.position_embedding", registers.shape[1]
    positions = weights[name]  # (1, N, D), (1, T, D) or (1, T + R, D)

    def fills_grid(count: int) -> bool:
        return count == (math.prod(grid) if grid else math.isqrt(max(count, 0)) ** 2)

    count = positions.shape[1]
    theirs = not fills_grid(count) and not fills_grid(count - 1)
    if key == "reg_token" and theirs and fills_grid(count - 1 - R):
        registers = registers + positions[:, 1 : 1 + R]  # (1, R, D)
        weights[name] = torch.cat([positions[:, :1], positions[:, 1 + R :]], dim=1)
    weights[REGISTERS], names[REGISTERS] = registers, [key]
    report.note(key, "taken", "as registers")


def add_head_bias(state: dict[str, Tensor], form: Format, report: Report) -> None:
    """Give a head without a bias one of zeros, which adds nothing."""
    for ours, (theirs, *_) in expand(form, 1):
        if ours == "head.bias" and theirs not in state:
            weight = re.sub("bias$", "kernel" if form.flax else "weight", theirs)
            if weight in state:
                count = state[weight].shape[-1 if form.flax else 0]
                state[theirs] = torch.zeros(count)
                report.note(theirs, "extended", "zeros: the head has no bias")


def convert(
    ours: str,
    theirs: list[str],
    state: Mapping[str, Tensor],
    form: Format,
    report: Report,
) -> Tensor:
    """Bring one of our tensors out of one or three of theirs."""
    parts = [state[key] for key in theirs]
    try:
        if not all(part.dim() for part in parts):
            raise ValueError("a number alone")
        if not all(part.is_floating_point() for part in parts):
            raise TypeError
        tensor = from_theirs(ours, parts, form.flax)
    except TypeError:
        raise InputError(
            f"{', '.join(theirs)}: whole numbers, as quantised weights have: give the "
            "weights as floats"
        ) from None
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
