"""Fitting weights that were found to a model: sizes compared, positions, the head."""

from torch import Tensor

from going_modular.config import ViTConfig
from going_modular.errors import InputError
from going_modular.vit import make_head
from going_modular.weights.conversion import resize_positions
from going_modular.weights.reading import Pretrained, Report

__all__ = ["compare_configs", "fit_head", "fit_positions"]

# Fields that decide what the body computes, but that no tensor's shape shows.
NUMERICS = ("layer_norm_eps", "gelu", "mean", "std")
SIZES = ("patch_size", "in_channels", "embedding_dim", "depth", "num_heads", "mlp_size")


def compare_configs(ours: ViTConfig, theirs: ViTConfig, report: Report) -> None:
    """Refuse other sizes; note other numerics."""
    for name in SIZES:
        here, there = getattr(ours, name), getattr(theirs, name)
        if here != there:
            raise InputError(f"the weights have {name} {there}, the model has {here}")
    for name in NUMERICS:
        here, there = getattr(ours, name), getattr(theirs, name)
        if for_each_channel(here, ours) != for_each_channel(there, ours):
            report.note(name, "differs", f"{there} in training, {here} in the model")


def for_each_channel(value, config: ViTConfig):
    """One number for all channels is the same as one for each."""
    one = isinstance(value, tuple) and len(value) == 1
    return value * config.in_channels if one else value


def fit_positions(
    weights: dict[str, Tensor],
    config: ViTConfig,
    found: Pretrained,
    resize: str,
    report: Report,
) -> None:
    """Resize the position embeddings to a model's grid."""
    name = "patch_embedding.position_embedding"
    grids = (found.config.grid_shape, config.grid_shape)
    weights[name] = resize_positions(weights[name], *grids, resize)
    if grids[0] != grids[1]:
        detail = " to ".join(f"{rows} x {columns}" for rows, columns in grids)
        report.change(*found.names[name], "resized", f"{detail} patches, as {resize}")


def fit_head(
    weights: dict[str, Tensor],
    config: ViTConfig,
    found: Pretrained,
    new_head: bool,
    report: Report,
) -> None:
    """Replace a head that does not fit, or that should be new, by zeros."""
    head = {f"head.{name}": w for name, w in make_head(config).state_dict().items()}
    old = {name: w for name, w in weights.items() if name.startswith("head")}
    fits = {k: w.shape for k, w in old.items()} == {k: w.shape for k, w in head.items()}
    if fits and not new_head:
        return
    reason = "the weights have none"
    if old and config.num_classes != found.config.num_classes:
        reason = f"the old one was for {found.config.num_classes} classes"
    elif old and fits:
        reason = "the old one was for another task"
    elif old:
        reason = (
            f"the old one had representation_size {found.config.representation_size}"
        )
    for name in old:
        del weights[name]
        report.change(*found.names[name], "left out", "part of the old head")
    report.note("head", "new", f"zeros for {config.num_classes} classes; {reason}")
    weights |= head
