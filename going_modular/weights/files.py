"""Reading weights from files of any kind. No file can run code."""

import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from going_modular.errors import InputError

__all__ = ["read_weights", "unwrap", "weight_files"]


def read_weights(path: str | Path) -> tuple[dict[str, Tensor | np.ndarray], dict]:
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
        if is_numpy_archive(path):
            return read_numpy(path), {}
        return read_torch(path), {}
    except InputError:
        raise
    except Exception as error:  # damaged files raise many kinds
        if isinstance(error, pickle.UnpicklingError) or "pickle" in str(error):
            raise InputError(
                f"{path} is refused: it holds more than tensors, which could run code, "
                f"or is damaged ({first_line(error)}): give a whole file of tensors "
                "alone, .safetensors at best"
            ) from None
        raise InputError(
            f"{path} is damaged or no weights file ({first_line(error)}): fetch or "
            "copy it again"
        ) from None


def first_line(error: Exception) -> str:
    # torch advises to load it without this protection: not repeated here
    if unsupported := re.search(r"Unsupported .*?(?= was not|$)", str(error), re.M):
        return unsupported.group()
    if isinstance(error, KeyError):  # the number of an unknown instruction
        return "of no known format"
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__} {lines[0][:150]}".strip()


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    with safe_open(path, framework="pt") as file:
        notes = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return tensors, {"vit": json.loads(notes["vit"])} if "vit" in notes else {}


def is_numpy_archive(path: Path) -> bool:
    names = []
    if zipfile.is_zipfile(path):  # torch's are, too
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    told = any(name.endswith(".npy") for name in names)
    return told or (not names and path.suffix == ".npz")


def read_numpy(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def read_torch(path: Path) -> dict[str, Tensor]:
    """Read a PyTorch file; take the weights out of a training checkpoint."""
    with warnings.catch_warnings(action="ignore"):  # about foreign pickles
        state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError(f"it holds a {type(state).__name__}, no state dictionary")
    return unwrap(state)


def unwrap(state: Mapping) -> dict:
    """Take the weights out of a training checkpoint."""
    for name in ("teacher", "state_dict", "model"):  # DINO, timm, DeiT
        if isinstance(state.get(name), Mapping):
            state = state[name]
    return dict(state)


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
                about[key] = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise InputError(f"{file} is no JSON file ({error})") from None
            if not isinstance(about[key], dict):
                raise InputError(f"{file} holds no JSON object")
    return tensors, about


WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".npz")


def weight_files(weights: str) -> set[Path]:
    """The files that such weights are read from, resolved; a name has none."""
    place = Path(weights).resolve()
    if not place.is_dir():
        return {place}
    files = {path.resolve() for path in place.iterdir() if path.suffix in WEIGHTS}
    return {place, place / "config.json", *files}
