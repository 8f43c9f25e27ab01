"""Files of a training run: written beside and renamed, so none is ever half there."""

import errno
import json
import math
import os
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from going_modular.config import ViTConfig
from going_modular.errors import InputError
from going_modular.system.files import (
    bring_to_place,
    cannot_write,
    new_beside,
    sync_folder,
    write_file,
)
from going_modular.system.reading import check_regular
from going_modular.utils import is_out_of_memory
from going_modular.variants.building import build_vit, holds_as_many
from going_modular.vit import ViT

__all__ = [
    "load_checkpoint",
    "load_model",
    "previous",
    "read_notes",
    "save_checkpoint",
    "save_model",
]


def previous(path: Path) -> Path:
    """Where the checkpoint before the newest one is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def save_checkpoint(path: Path, state: dict) -> None:
    """Save everything that a run needs to go on; keep the checkpoint before it.

    Raises:
        InputError: It cannot be written. The newest that is whole is still there.
    """
    beside = None
    try:
        beside = new_beside(path)
        with open(beside, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            os.replace(path, previous(path))
        bring_to_place(beside, path)
        sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch has its own for a full disk
        kept = path.exists() or previous(path).exists()
        then = "go on with --resume from the last one" if kept else "start again"
        raise InputError(
            f"{cannot_write(path, error)}: mend that, then {then}"
        ) from None
    finally:  # also after a second Ctrl-C
        if beside is not None:
            with suppress(OSError):
                beside.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict:
    """Read a checkpoint of `save_checkpoint`; code in the file is never run.

    Where the newest one is damaged or gone, the one before is taken, and said so; it
    also takes the newest's place, so that a damaged file never replaces it.

    Raises:
        InputError: There is none, or none that can be read.
    """
    problems = []
    for file in (path, previous(path)):
        try:
            state = read_checkpoint(file)
        except FileNotFoundError:
            problems.append(f"{file.name} is not there")
        except Exception as error:  # torch raises many kinds for a damaged file
            if may_be_whole(error):
                why = getattr(error, "strerror", None) or "not enough memory"
                raise InputError(
                    f"cannot read {file} ({why}): mend that, then go on with --resume"
                ) from None
            problems.append(f"{file.name} is damaged ({type(error).__name__})")
        else:
            if problems:
                print(f"{problems[0]}: going on from {file.name}")
                with suppress(OSError):
                    os.replace(file, path)
            return state
    if not path.exists() and not previous(path).exists():
        raise InputError(f"no checkpoint {path}: start without --resume")
    raise InputError(
        f"no checkpoint in {path.parent} can be read ({', '.join(problems)}): remove "
        "the folder and start without --resume"
    )


def may_be_whole(error: Exception) -> bool:
    """Whether it is disk or memory that fails, and not what the file holds."""
    if isinstance(error, OSError):
        return error.errno != errno.EINVAL  # a place before the file's beginning
    return isinstance(error, MemoryError)


def read_checkpoint(path: Path) -> dict:
    """Read one file, after comparing every byte of it with its check sums.

    Raises:
        MemoryError: There is too little. Any other error means a damaged file.
    """
    check_regular(path)
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
        folders = [x.filename for x in archive.infolist() if x.external_attr]
    if damaged is not None or folders:  # torch reads nothing from folders
        raise ValueError("a check sum is wrong")
    try:
        with warnings.catch_warnings(action="ignore"):  # about foreign pickles
            state = torch.load(path, map_location="cpu", weights_only=True)
    except RuntimeError as error:
        raise MemoryError if is_out_of_memory(error) else error from None
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}")
    return state


def save_model(path: Path, model: ViT, class_names: tuple[str, ...]) -> None:
    """Save weights, configuration and class names as one safetensors file."""
    about = {"config": vars(model.config), "class_names": class_names}
    notes = {"vit": json.dumps(about)}  # one entry: the order of several is random
    weights = {
        name: w.detach().cpu().contiguous() for name, w in model.state_dict().items()
    }
    write_file(path, lambda beside: save_file(weights, beside, metadata=notes))


def load_model(path: str | Path) -> tuple[ViT, tuple[str, ...]]:
    """Read a model of `save_model`.

    Returns:
        The model, in evaluation mode, and its class names.

    Raises:
        InputError: The file is missing, damaged or no model of this project.
    """
    try:
        check_regular(path)
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["vit"])
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config, class_names = read_notes(about)
        if not holds_as_many(weights, config):  # before it takes memory
            raise ValueError("its notes tell of another model than its numbers")
        model = build_vit(config, weights)
        model.load_state_dict(weights)
    except FileNotFoundError:
        raise InputError(f"no weights file {path}") from None
    except Exception as error:  # a damaged file raises many kinds
        why = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} holds no model of this project ({why}): give the "
            "model.safetensors that train.py wrote"
        ) from None
    return model.eval(), class_names


def read_notes(notes: dict) -> tuple[ViTConfig, tuple[str, ...]]:
    """Configuration and class names from what `save_model` noted in a file."""
    config = notes["config"]
    # JSON knows no tuples.
    config = {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    for name in ("mean", "std", "dropout", "layer_norm_eps"):
        values = config.get(name, 0.0)
        for value in values if isinstance(values, tuple) else (values,):
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise ValueError(f"{name} {value!r} is no finite number")
    names = tuple(notes["class_names"])
    if not all(isinstance(name, str) for name in names):
        raise TypeError("class_names are no texts")
    return ViTConfig(**config), names
