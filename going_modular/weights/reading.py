"""Reading weights of any kind into our names and forms."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from going_modular.checkpoint import read_notes
from going_modular.config import ViTConfig
from going_modular.errors import InputError
from going_modular.system.text import printable
from going_modular.weights.conversion import (
    check_flax_heads,
    check_layer_scale,
    fold_layer_scale,
    from_theirs,
)
from going_modular.weights.files import unwrap
from going_modular.weights.formats import Format
from going_modular.weights.recognition import (
    as_tensor,
    find_names,
    recognise,
    strip_prefixes,
    take_out_extras,
)
from going_modular.weights.sizes import (
    check_shapes,
    infer_config,
    infer_grid,
    read_hints,
)
from going_modular.weights.sources import read_source

__all__ = ["Entry", "Pretrained", "Report", "read_pretrained"]


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
        counts = Counter(entry.action for entry in self)
        lines = [", ".join(f"{count} {action}" for action, count in counts.items())]
        plain = ("taken", "joined", "transposed", "folded")
        lines += [f"{k} {a}: {d}" for k, a, d in self if a not in plain]
        return "\n".join(map(printable, lines))

    def __str__(self) -> str:
        width = max((len(entry.key) for entry in self), default=0)
        lines = [f"{k:<{width}}  {a:<10}  {d}".rstrip() for k, a, d in self]
        return "\n".join(map(printable, lines))


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


def read_pretrained(
    source, num_heads: int | None = None, grid_shape: tuple[int, int] | None = None
) -> Pretrained:
    """Read weights of any kind into our names and forms.

    Args:
        source: A file, a folder, a name as in `weights.sources`, or a state dictionary.
        num_heads: Heads in each block, where the source does not tell.
        grid_shape: Patches in a column and in a row, where the source does not tell
            and the grid is no square.

    Raises:
        InputError: The source is missing, damaged, or no model that ours can be.
    """
    if isinstance(source, Pretrained):
        return source
    from_memory = isinstance(source, Mapping)
    state, about = (unwrap(source), {}) if from_memory else read_source(source)
    if "vit" in about:
        return read_own(state, about["vit"])
    originals = strip_prefixes(state)
    bare = {key: as_tensor(state[name]) for key, name in originals.items()}
    found = read_foreign(bare, about, num_heads, grid_shape)
    found.report.rename(originals)
    found.names = {
        ours: [originals[key] for key in theirs] for ours, theirs in found.names.items()
    }
    return found


def read_own(state: dict[str, Tensor], notes: dict) -> Pretrained:
    """Read a file of `save_model`, which describes itself."""
    try:
        config, class_names = read_notes(notes)
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
) -> Pretrained:
    """Read another library's weights."""
    report = Report()
    for key, reason in take_out_extras(state).items():
        report.note(key, "left out", reason)
    form, depth = recognise(state)
    check_layer_scale(state, depth)
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
    (key,) = names["patch_embedding.projection.weight"]
    kernel = state[key].shape[::-1] if form.flax else state[key].shape  # (D, C, P, P)
    if len(kernel) != 4 or kernel[2] != kernel[3]:
        raise InputError(f"{key}: shape {tuple(state[key].shape)}, no square patches")
    if form.flax:
        hints["num_heads"] = check_flax_heads(state)
    hints.setdefault("num_heads", num_heads)
    name = "patch_embedding.position_embedding"
    (key,) = names[name]
    hints["grid_shape"], extended = infer_grid(
        key, weights[name].shape, form, hints.get("grid_shape"), grid_shape
    )
    if extended:
        weights[name] = F.pad(weights[name], (0, 0, 1, 0))  # (1, T, D)
        report.change(key, "extended", "zeros added for the class token")
    config = infer_config(weights, kernel, depth, hints)
    if "head.weight" not in weights or len(class_names or ()) != config.num_classes:
        class_names = None
    weights, names = number_head_layers(weights), number_head_layers(names)
    check_shapes(weights, config, names)
    return Pretrained(weights, config, report, names, class_names)


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
