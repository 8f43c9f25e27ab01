"""Reading weights from files of any kind. No file can run code."""

import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from going_modular.utils import InputError

__all__ = ["read_weights"]


def read_weights(path: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Read the tensors of a weights file, and what it says about its model.

    Args:
        path: A `.safetensors`, `.npz` or PyTorch file (`.pth`, `.pt`, `.bin`), or a
            folder with one such file and the `config.json` of transformers or timm.

    Returns:
        The tensors by name, and a dictionary: "vit" holds this project's own notes,
        "config" the folder's `config.json`, "preprocessor" its
        `preprocessor_config.json`.

    Raises:
        InputError: There is no such file, it is damaged or of no known kind, or it
            could run code.
    """
    path = Path(path)
    if path.is_dir():
        return read_folder(path)
    if not path.is_file():
        raise InputError(f"no weights file {path}")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty: fetch or copy it again")
    try:
        if path.suffix == ".safetensors":
            return read_safetensors(path)
        if path.suffix == ".npz" or is_numpy_archive(path):
            return read_numpy(path), {}
        return read_torch(path), {}
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is refused, since it holds more than tensors and could run code "
            f"({first_line(error)}): give a file of tensors alone, .safetensors at best"
        ) from None
    except InputError:
        raise
    except Exception as error:  # damaged files raise many kinds
        raise InputError(
            f"{path} is damaged or no weights file ({first_line(error)}): fetch or "
            "copy it again"
        ) from None


def first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    # torch advises to load it without this protection: not repeated here
    named = [line.strip() for line in lines if "GLOBAL" in line or "global" in line]
    return (named or lines or [type(error).__name__])[0][:150]


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    with safe_open(path, framework="pt") as file:
        notes = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return tensors, {"vit": json.loads(notes["vit"])} if "vit" in notes else {}


def is_numpy_archive(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith(".npy") for name in archive.namelist())


def read_numpy(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return {
        name: torch.from_numpy(array)
        for name, array in arrays.items()
        if array.dtype.kind in "fiu"
    }


def read_torch(path: Path) -> dict[str, Tensor]:
    """Read a PyTorch file; take the weights out of a training checkpoint."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    for name in ("teacher", "state_dict", "model"):  # DINO, timm, DeiT
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}, no state dictionary")
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def read_folder(folder: Path) -> tuple[dict[str, Tensor], dict]:
    """Read a folder as `save_pretrained` of transformers, or a timm repository."""
    names = ("model.safetensors", "pytorch_model.bin")
    path = next((folder / name for name in names if (folder / name).exists()), None)
    if path is None:
        raise InputError(
            f"folder {folder} holds no weights: none of {', '.join(names)}"
        )
    tensors, about = read_weights(path)
    for key, name in (("config", "config"), ("preprocessor", "preprocessor_config")):
        file = folder / f"{name}.json"
        if file.exists():
            try:
                about[key] = json.loads(file.read_text())
            except ValueError as error:
                raise InputError(f"{file} is no JSON file ({error})") from None
    return tensors, about
