"""Weights of every common kind, loaded into the model of Equations 1 to 4."""

from dataclasses import replace

from torch import Tensor

from going_modular.config import ViTConfig
from going_modular.utils import InputError
from going_modular.vit import ViT, make_head
from going_modular.weight_conversion import resize_positions, to_theirs
from going_modular.weight_formats import FORMATS, expand
from going_modular.weight_reading import Pretrained, read_pretrained
from going_modular.weight_report import Report

__all__ = ["build_pretrained", "export_state_dict", "load_pretrained"]


def load_pretrained(
    model: ViT,
    source,
    resize: str = "official",
    new_head: bool = False,
    quiet: bool = False,
) -> Report:
    """Load weights of any kind into a model.

    Position embeddings are resized to the model's grid. A head for other classes is
    replaced by zeros (section 3.2). All else has to fit.

    Args:
        model: The model; its weights are replaced.
        source: As for `read_pretrained`.
        resize: How positions are interpolated: "official", "timm" or "torchvision".
        new_head: Start the head at zero even if the old one would fit.
        quiet: Do not print the report's summary.

    Returns:
        What became of every tensor.

    Raises:
        InputError: The weights do not fit; the model is left as it was.
    """
    config = model.config
    found = read_pretrained(source, config.num_heads, config.grid_shape)
    return put_in(model, found, resize, new_head, quiet)


def build_pretrained(
    source,
    num_heads: int | None = None,
    resize: str = "official",
    quiet: bool = False,
    **changes,
) -> ViT:
    """Build the model that weights were made for, and load them.

    Args:
        source, num_heads: As for `read_pretrained`.
        resize, quiet: As for `load_pretrained`.
        changes: Other values of `ViTConfig` fields: `image_size`, `num_classes`,
            `dropout`.
    """
    found = read_pretrained(source, num_heads)
    if changes.get("num_classes", found.config.num_classes) != found.config.num_classes:
        changes.setdefault("representation_size", None)
    model = ViT(replace(found.config, **changes))
    put_in(model, found, resize, new_head=False, quiet=quiet)
    return model


# Fields that decide what the body computes, but that no tensor's shape shows.
NUMERICS = ("layer_norm_eps", "gelu", "mean", "std")
SIZES = ("patch_size", "in_channels", "embedding_dim", "depth", "num_heads", "mlp_size")


def put_in(
    model: ViT, found: Pretrained, resize: str, new_head: bool, quiet: bool
) -> Report:
    """Fit what was found to a model and load it."""
    ours, theirs, report = model.config, found.config, Report(found.report)
    for name in SIZES:
        if getattr(ours, name) != getattr(theirs, name):
            raise InputError(
                f"the weights have {name} {getattr(theirs, name)}, the model has "
                f"{getattr(ours, name)}"
            )
    for name in NUMERICS:
        here, there = getattr(ours, name), getattr(theirs, name)
        if spread(here, ours) != spread(there, ours):
            report.note(name, "differs", f"{there} in training, {here} in the model")
    weights = dict(found.weights)
    name = "patch_embedding.position_embedding"
    grids = (theirs.grid_shape, ours.grid_shape)
    weights[name] = resize_positions(weights[name], *grids, resize)
    if ours.grid_shape != theirs.grid_shape:
        detail = " to ".join(f"{rows} x {columns}" for rows, columns in grids)
        report.change(*found.names[name], "resized", f"{detail} patches, as {resize}")
    head = make_head(ours).state_dict()
    head = {f"head.{name}": value for name, value in head.items()}
    old = {name: value for name, value in weights.items() if name.startswith("head")}
    fits = {k: v.shape for k, v in old.items()} == {k: v.shape for k, v in head.items()}
    if new_head or not fits:
        reason = "the weights have none"
        if old and ours.num_classes != theirs.num_classes:
            reason = f"the old one was for {theirs.num_classes} classes"
        elif old and fits:
            reason = "the old one was for another task"
        elif old:
            reason = f"the old one had representation_size {theirs.representation_size}"
        for name in old:
            report.change(*found.names[name], "left out", "part of the old head")
        report.note("head", "new", f"zeros for {ours.num_classes} classes; {reason}")
        weights = {name: v for name, v in weights.items() if name not in old} | head
    model.load_state_dict(weights)
    if not quiet:
        print(report.summary())
    return report


def spread(value, config: ViTConfig):
    """One number for all channels is the same as one for each."""
    one = isinstance(value, tuple) and len(value) == 1
    return value * config.in_channels if one else value


def export_state_dict(model: ViT, library: str) -> dict[str, Tensor]:
    """Name a model's weights as another library does, so that it can load them.

    Args:
        model: The model.
        library: "timm", "torchvision", "transformers" (the names in its files) or
            "transformers 5" (its names in memory).

    Raises:
        ValueError: The library is unknown, or has no place for the head's tanh layer.
    """
    known = [name for name, form in FORMATS.items() if not form.flax]
    if library not in known:
        raise ValueError(f"library must be {', '.join(known)}, not {library!r}")
    form, config = FORMATS[library], model.config
    weights = dict(model.state_dict())
    if config.representation_size is not None:
        if "pre_logits.*" not in form.names:
            raise ValueError(f"{library} has no place for the head's tanh layer")
        places = {"head.0": "pre_logits", "head.2": "head"}
        for ours, theirs in places.items():
            for kind in ("weight", "bias"):
                weights[f"{theirs}.{kind}"] = weights.pop(f"{ours}.{kind}")
    exported = {}
    for ours, theirs in expand(form, config.depth):
        if ours in weights:
            parts = to_theirs(ours, weights[ours].detach(), config, len(theirs))
            for name, part in zip(theirs, parts, strict=True):
                in_body = library.startswith("transformers") and ours[:4] != "head"
                exported[f"vit.{name}" if in_body else name] = part.contiguous()
    return exported
