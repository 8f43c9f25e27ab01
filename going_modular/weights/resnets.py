"""The ResNet that hybrids have before their patches, by the names of others."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from going_modular.errors import InputError
from going_modular.hybrid import NUMERICS
from going_modular.variants.building import resnet_of
from going_modular.variants.feature_map import STEM

__all__ = ["ResNet", "take_resnet"]

# Their names, as regular expressions, and ours of the same tensors; a stage and a unit
# are counted from 0 in ours and in timm's, from 1 in the official ones.
OFFICIAL = (
    (r"conv_root/", "root."),
    (r"gn_root/", "root_norm."),
    (r"block(\d{1,4})/unit(\d{1,4})/conv_proj/", "stages.{}.{}.conv_shortcut."),
    (r"block(\d{1,4})/unit(\d{1,4})/gn_proj/", "stages.{}.{}.norm_shortcut."),
    (r"block(\d{1,4})/unit(\d{1,4})/conv([123])/", "stages.{}.{}.conv_{}."),
    (r"block(\d{1,4})/unit(\d{1,4})/gn([123])/", "stages.{}.{}.norm_{}."),
)
UNIT = r"stages\.(\d{1,4})\.blocks\.(\d{1,4})\."
TIMM = (
    (r"stem\.conv\.", "root."),
    (r"stem\.norm\.", "root_norm."),
    (UNIT + r"downsample\.conv\.", "stages.{}.{}.conv_shortcut."),
    (UNIT + r"downsample\.norm\.", "stages.{}.{}.norm_shortcut."),
    (UNIT + r"conv([123])\.", "stages.{}.{}.conv_{}."),
    (UNIT + r"norm([123])\.", "stages.{}.{}.norm_{}."),
)
TIMM = tuple((r"patch_embed\.backbone\." + theirs, ours) for theirs, ours in TIMM)
OWN = ((re.escape(STEM), ""),)
# Tables, the number of the first stage and unit, and the numerics.
TABLES = ((OFFICIAL, 1, "official"), (TIMM, 0, "timm"), (OWN, 0, None))
KINDS = {"kernel": "weight", "scale": "weight"}


@dataclass(frozen=True)
class ResNet:
    """What was found of one.

    Attributes:
        weights: By our names, in our forms.
        names: Theirs, by ours.
        patch_size: How many pixels a place of its map stands for.
        in_channels: Of the images.
        width: Features of a place.
    """

    weights: dict[str, Tensor]
    names: dict[str, list[str]]
    patch_size: int
    in_channels: int
    width: int

    def kernel_shape(self, key: str, shape: torch.Size, flax: bool) -> tuple[int, ...]:
        """(D, C, P, P): the shape that E would have without it.

        Args:
            key: The name of E.
            shape: (D, width), (D, width, 1, 1), or in Flax (1, 1, width, D).
            flax: Whether it is Flax's.

        Raises:
            InputError: E reads something else than single places of the map.
        """
        sizes = tuple(reversed(shape)) if flax else tuple(shape)
        if len(sizes) < 2 or sizes[1] != self.width or set(sizes[2:]) - {1}:
            raise InputError(
                f"{key}: shape {tuple(shape)}, where patches are to be single places "
                f"of a feature map of {self.width} channels"
            )
        return sizes[0], self.in_channels, self.patch_size, self.patch_size


def pairs(keys: list[str], table: tuple, first: int) -> Iterator[tuple[str, str]]:
    """Their names among keys, and ours."""
    for key in keys:
        for theirs, ours in table:
            if found := re.match(theirs, key):
                rest = key[found.end() :]
                stage_unit = [str(int(n) - first) for n in found.groups()[:2]]
                name = ours.format(*stage_unit, *found.groups()[2:])
                yield key, STEM + name + KINDS.get(rest, rest)
                break


def take_resnet(state: dict[str, Tensor | None]) -> ResNet | None:
    """Take the tensors of a ResNet out of `state`, if it has one before its patches.

    Raises:
        InputError: They are of none that ours can be.
    """
    for table, first, numerics in TABLES:
        names = dict(pairs(list(state), table, first))
        if STEM + "root.weight" in names.values():
            return take_named(state, names, table is OFFICIAL, numerics)
    return None


def take_named(
    state: dict[str, Tensor | None],
    names: dict[str, str],
    flax: bool,
    numerics: str | None,
) -> ResNet:
    """Take the tensors that have our names as well as theirs."""
    weights = {}
    for theirs, ours in names.items():
        tensor = state.pop(theirs)
        if tensor is None or not tensor.is_floating_point():
            raise InputError(f"{theirs}: no weights of a ResNet")
        weights[ours] = to_ours(tensor) if flax else tensor
    sources = {ours: [theirs] for theirs, ours in names.items()}
    if numerics:
        name = STEM + "numerics"
        weights[name] = torch.tensor([float(list(NUMERICS).index(numerics))])
        sources[name] = [f"{numerics} numerics"]
    try:
        units, _ = resnet_of(weights)
    except ValueError as error:
        raise InputError(f"the weights have {error}") from None
    root = weights[STEM + "root.weight"]
    last = weights.get(STEM + f"stages.{len(units) - 1}.0.conv_3.weight")
    if last is None or not last.dim() == root.dim() == 4:
        raise InputError("the weights lack parts of the ResNet before their patches")
    patch_size = 2 ** (len(units) + 1)
    return ResNet(weights, sources, patch_size, root.shape[1], last.shape[0])


def to_ours(tensor: Tensor) -> Tensor:
    """Flax's filter as (out, in, rows, columns), its vector as (C,)."""
    if tensor.dim() == 4 and tensor.shape[:3] != (1, 1, 1):
        return tensor.permute(3, 2, 0, 1).contiguous()  # (out, in, rows, columns)
    return tensor.flatten()  # (C,), in some files (1, 1, 1, C)
