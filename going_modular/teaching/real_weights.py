"""Figures of notebooks 11 and 12 with weights that were trained on real photos."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from going_modular import helper_functions as plots
from going_modular.attention_maps import (
    attention_from,
    attention_rollout,
    mean_attention_distance,
)
from going_modular.data_setup import PHOTOS, load_photo, normalise
from going_modular.datasets.fitting import fit_images
from going_modular.errors import InputError
from going_modular.inspection.capture import capture
from going_modular.learned_structure import filter_components, position_similarity
from going_modular.plots.attention import BRIGHTEST
from going_modular.pretrained import from_pretrained
from going_modular.relevance import relevance
from going_modular.variants.registers import REGISTERS
from going_modular.vit import ViT
from going_modular.weights.reading import read_pretrained
from going_modular.weights.sources import cached, find_torchvision

__all__ = ["SOURCES", "draw_maps", "draw_structure", "find_cached"]

SOURCES = ("vit_b_16", "timm:vit_small_patch16_224.dino")
SAMPLED = 7  # rows and columns of places whose similarity is drawn, as in the paper


def find_cached(sources: Iterable[str] = SOURCES) -> str | None:
    """The first of these weights that is on this machine; nothing is fetched."""
    for source in sources:
        owner, _, name = source.rpartition(":")
        if owner == "timm":
            found = find_spec("timm") is not None and in_hub_cache(f"timm/{name}")
        else:
            found = cached(find_torchvision(name).url).exists()
        if found:
            return source
    return None


def in_hub_cache(repository: str) -> bool:
    """Whether Hugging Face's cache holds the weights of a repository."""
    if find_spec("huggingface_hub") is None:
        return False
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(repository, "model.safetensors"), str)


def read_model(source: str | Path) -> tuple[ViT, bool]:
    """The model of these weights, and whether they have a head.

    Raises an InputError if they have registers, which have no place on the grid.
    """
    found = read_pretrained(source)
    if REGISTERS in found.weights:
        raise InputError(f"{source}: these figures are for weights without registers")
    has_head = any(name.startswith("head.") for name in found.weights)
    return from_pretrained(found, quiet=True).eval(), has_head


def photos_for(model: ViT) -> tuple[Tensor, Tensor]:
    """The package's photos as this model reads them: bytes, and normalised."""
    config = model.config
    photos = torch.stack([load_photo(name) for name in PHOTOS])
    photos = fit_images(photos, config)
    return photos, normalise(photos, config.mean, config.std)


def draw_maps(source: str | Path) -> Figure:
    """The last layer's attention, rollout and relevance of the package's photos."""
    model, has_head = read_model(source)
    photos, x = photos_for(model)
    grid = model.config.grid_shape
    attention = capture(model, x).attention  # (L, B, nh, T, T)
    columns = {
        "last layer": attention_from(attention[-1].mean(dim=1), grid),
        "rollout": attention_from(attention_rollout(attention)[-1], grid),
    }
    if has_head:
        columns["relevance"] = attention_from(relevance(model, x), grid)
    label = f"share of each map's quantile {BRIGHTEST}"
    return plots.plot_maps_of_images(photos, columns, label, PHOTOS, BRIGHTEST)


def draw_structure(source: str | Path) -> Figure:
    """The paper's figure 7: filters, positions, and distances over the photos."""
    model, _ = read_model(source)
    _, x = photos_for(model)
    grid, P = model.config.grid_shape, model.config.patch_size
    distances = torch.stack(
        [
            mean_attention_distance(layer, grid, P).mean(dim=0)  # (nh,)
            for layer in capture(model, x).attention
        ]
    )  # (L, nh)
    T = model.config.num_tokens
    uniform = mean_attention_distance(torch.ones(1, T, T), grid, P).item()
    filters, _ = filter_components(model, 25)
    sampled = sample_places(position_similarity(model))
    fig = plots.plot_figure_7(filters, sampled, distances, uniform)
    if sampled.shape[:2] != grid:
        (rows, columns), axes = sampled.shape[:2], fig.axes[1]
        axes.set(xticks=[], yticks=[], xlabel=f"{columns} of {grid[1]} patch columns")
        axes.set_ylabel(f"{rows} of {grid[0]} patch rows")
    return fig


def sample_places(similarity: Tensor) -> Tensor:
    """Every so many rows and columns of (r, c, r, c) cosines: (7, 7, r, c) at most."""
    for axis in (0, 1):
        count = similarity.shape[axis]
        places = torch.linspace(0, count - 1, min(count, SAMPLED)).round().long()
        similarity = similarity.index_select(axis, places)
    return similarity
