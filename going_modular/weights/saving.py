"""The way back: weights under the names of other libraries, and a folder for them."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from going_modular.errors import InputError
from going_modular.variants.building import describe_stem
from going_modular.variants.registers import REGISTERS, registers_for_timm
from going_modular.vit import ViT
from going_modular.weights.conversion import to_theirs
from going_modular.weights.folder import describe_as_timm, write_folder
from going_modular.weights.formats import FORMATS, expand

__all__ = ["export_state_dict", "save_pretrained"]


def export_state_dict(model: ViT, library: str) -> dict[str, Tensor]:
    """Name a model's weights as another library does, so that it can load them.

    Args:
        model: The model.
        library: "timm", "torchvision", "transformers" (the names in its files) or
            "transformers 5" (its names in memory).

    Raises:
        ValueError: The library is unknown, or has no place for the head's tanh layer
            for registers, or for a stem.
    """
    known = [name for name, form in FORMATS.items() if not form.flax]
    if library not in known:
        raise ValueError(f"library must be {', '.join(known)}, not {library!r}")
    form, config = FORMATS[library], model.config
    weights = dict(model.state_dict())
    if (stem := describe_stem(weights)) != "no stem":
        raise ValueError(
            f"{stem} before the patches is written in this project's own form alone"
        )
    registers = weights.pop(REGISTERS, None)
    if registers is not None:
        if library != "timm":
            raise ValueError(f"{library} has no place for registers")
        weights = registers_for_timm(weights)
    if config.representation_size is not None:
        if "pre_logits.*" not in form.names:
            raise ValueError(f"{library} has no place for the head's tanh layer")
        places = {"head.0": "pre_logits", "head.2": "head"}
        for ours, theirs in places.items():
            for kind in ("weight", "bias"):
                weights[f"{theirs}.{kind}"] = weights.pop(f"{ours}.{kind}")
    exported = {} if registers is None else {"reg_token": registers.detach()}
    for ours, theirs in expand(form, config.depth):
        if ours in weights:
            parts = to_theirs(ours, weights[ours].detach(), config, len(theirs))
            for name, part in zip(theirs, parts, strict=True):
                in_body = library.startswith("transformers") and ours[:4] != "head"
                exported[f"vit.{name}" if in_body else name] = part.contiguous()
    return exported


def save_pretrained(
    model: ViT,
    folder: str | Path,
    class_names: Sequence[str] = (),
    overwrite: bool = False,
) -> None:
    """Write a folder that timm, transformers (by way of timm) and we load.

    Args:
        model: The model.
        folder: Gets config.json, model.safetensors and a card, README.md.
        class_names: One a class; "class 0" and so on where there are none.
        overwrite: May these files be replaced?

    Raises:
        InputError: A file is there already or cannot be written, or timm has no place
            for the head's tanh layer.
        ValueError: There are more names than classes, or fewer.
    """
    K = model.config.num_classes
    names = [str(name) for name in class_names] or [f"class {i}" for i in range(K)]
    if len(names) != K:
        raise ValueError(f"{len(names)} class names for {K} classes")
    try:
        weights = export_state_dict(model, "timm")
    except ValueError as error:
        raise InputError(str(error)) from None
    weights = {name: tensor.cpu() for name, tensor in weights.items()}
    num_registers = weights["reg_token"].shape[1] if "reg_token" in weights else 0
    about = describe_as_timm(model.config, names, num_registers)
    write_folder(Path(folder), weights, about, overwrite)
