"""Reading weights from files of any kind. No file can run code or fill the memory."""

import json
import pickle
import pickletools
import re
import sys
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from going_modular.errors import InputError
from going_modular.system.files import real
from going_modular.system.reading import open_regular, read_json

__all__ = ["first_line", "read_weights", "weight_files"]

# Names of a pickle that stand for plain values: options, paths, dates, numbers.
HARMLESS = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|_codecs\.encode"
    r"|(pathlib|pathlib\._local|datetime|decimal|fractions|uuid|collections)\.\w+"
    r"|numpy\.(dtype|ndarray|dtypes\.\w+)|numpy\._?core\.multiarray\.(scalar|_reconstruct)"
    r"|(builtins|__builtin__)\.(set|frozenset|slice|complex|range|object|bytearray)"
    r"|(builtins|__builtin__)\.(int|float|bool|str|bytes|list|dict|tuple)"
    r"|copy_?reg\._reconstructor"
)
# How other files begin that may be taken for weights.
OTHERS = {
    b"\x89HDF": "HDF5, of Keras or TensorFlow: convert it to safetensors",
    b"GGUF": "GGUF, quantised weights of language models",
    b"version https://git-lfs": "a pointer of Git LFS, no weights: run git lfs pull",
    b"<!DOCTYPE": "a web page, no weights: download the file itself",
    b"<html": "a web page, no weights: download the file itself",
}
# Of these a config.json about a model has at least one.
MODEL_NOTES = {"architecture", "architectures", "model_type", "hidden_size"}
# What their kind may be called, if it is one that our model can be.
KINDS = re.compile(r"vi_?t|deit|dino|beit|mae|ijepa|eva|clip|timm", re.I)
# Files beside a model's, of its training.
NO_MODEL = re.compile(r"optim|sched|scaler|rng_state|random_states|training_args")
UNKNOWN = (
    "no weights of a known kind (.safetensors, .npz, or what torch.save writes): "
    "convert it, or fetch it again"
)
UNPACKED = 2**28  # bytes that a small archive may hold, and four times its own size


class Inert:
    """Stands in for an object of any class: it takes all values, and does nothing."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state) -> None:
        pass

    def __setitem__(self, key, value) -> None:
        pass

    def append(self, value) -> None:
        pass

    def extend(self, values) -> None:
        pass


class InertDict(Inert):
    """Stands in for a dictionary of any class: torch fills none that is not plain."""

    def __new__(cls, *args, **kwargs):
        return {}


def read_weights(path: str | Path) -> tuple[dict[str, Tensor | np.ndarray], dict]:
    """Read what a weights file holds, and what is said about its model.

    Args:
        path: A `.safetensors`, `.npz` or PyTorch file (`.pth`, `.pt`, `.bin`), or a
            folder with one such file, or its shards, and the `config.json` of
            transformers or timm. A `config.json` beside a file is read, too.

    Returns:
        The tensors by name, nested as in the file, and a dictionary: "vit" holds this
        project's own notes, "config" a `config.json`, "preprocessor" a
        `preprocessor_config.json`.

    Raises:
        InputError: There is no such file, it is damaged or of no known kind, or it
            could run code.
    """
    path = Path(path)
    if path.is_dir():
        return read_folder(path)
    if not path.exists():
        raise InputError(f"no weights file {path}")
    if re.search(r"-\d+-of-\d+\.", path.name):
        raise InputError(
            f"{path} is one part of several: give the folder {path.parent}, with the "
            "index of all parts in it"
        )
    state, about = read_file(path)
    return state, about or read_about_beside(path)


def read_file(path: Path) -> tuple[dict, dict]:
    """Read one file; a dictionary with this project's own notes comes with it."""
    try:
        with open_regular(path) as file:
            begin = file.read(200)
        if not begin:
            raise InputError(f"{path} is empty: fetch or copy it again")
        if what := next((w for mark, w in OTHERS.items() if mark in begin), None):
            raise InputError(f"{path} is {what}")
        if path.suffix == ".safetensors" or begin[8:9] == b"{":
            return read_safetensors(path)
        if zipfile.is_zipfile(path):
            check_unpacked_size(path)
            if path.suffix != ".npz":
                check_archive(path)
        elif path.suffix != ".npz" and begin[:1] not in b"\x80P":  # pickle, half a zip
            raise InputError(f"{path} is refused: it is damaged, or {UNKNOWN}")
        if is_numpy_archive(path):
            return read_numpy(path), {}
        return read_torch(path), {}
    except InputError:
        raise
    except Exception as error:  # damaged files raise many kinds
        if "Unsupported operand" in str(error):
            raise InputError(
                f"{path} is refused: it is damaged, or pickled in a way that is not "
                "read: save it again with torch.save alone, or as safetensors"
            ) from None
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
    # torch and NumPy advise to load it without protection: not repeated here
    if unsupported := re.search(r"Unsupported .*?(?= was not|$)", str(error), re.M):
        return unsupported.group()
    if isinstance(error, KeyError):  # the number of an unknown instruction
        return "of no known format"
    lines = str(error).strip().splitlines() or [""]
    line = re.sub(r"\W+(when|unless|if) .*allow_pickle.*", "", lines[0])
    return f"{type(error).__name__} {line[:150]}".strip()


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict]:
    with safe_open(path, framework="pt") as file:
        notes = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return tensors, {"vit": json.loads(notes["vit"])} if "vit" in notes else {}


def check_unpacked_size(path: Path) -> None:
    """Refuse an archive that unpacks to far more than it is."""
    with zipfile.ZipFile(path) as archive:
        held = sum(member.file_size for member in archive.infolist())
    size = path.stat().st_size
    if held > UNPACKED + 4 * size:
        raise InputError(
            f"{path} has {size:,} bytes and would unpack to {held:,}: no weights do"
        )


def check_archive(path: Path) -> None:
    """Refuse an archive that is neither PyTorch's nor NumPy's, or holds a program."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any("/code/" in name and name.endswith(".py") for name in names):
        raise InputError(
            f"{path} is TorchScript, a program: load it with torch.jit.load and save "
            "the state_dict() of what comes out"
        )
    if not any(name.endswith(("data.pkl", ".npy")) for name in names):
        raise InputError(
            f"{path} is an archive, but none of PyTorch's or NumPy's: unpack it, and "
            "give the weights that are in it"
        )


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


def read_torch(path: Path) -> dict:
    """Read a PyTorch file; what it holds beside tensors is kept out or made inert."""
    with warnings.catch_warnings(action="ignore"), placeholders(path):
        state = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(state, Inert):
        raise InputError(
            f"{path} is refused: it holds a whole {type(state).__name__} as a pickle, "
            "which could run code: give a whole file of tensors alone, as "
            "torch.save(model.state_dict(), ...) writes it"
        )
    if not isinstance(state, dict):
        raise InputError(
            f"{path}: it holds a {type(state).__name__}, no state dictionary: save "
            "model.state_dict()"
        )
    return state


@contextmanager
def placeholders(path: Path) -> Iterator[None]:
    """Let torch read a file that names harmless classes, without importing any.

    Where it names them, an `Inert` is made. Anything else that it names stays refused.
    """
    try:
        if zipfile.is_zipfile(path):
            names = get_unsafe_globals_in_checkpoint(path)
        else:
            names = names_in_old_format(path)
    except Exception:  # a damaged file: `torch.load` will say
        names = []
    inert = []
    for name in filter(is_harmless, names):
        last = name.rpartition(".")[2]
        base = InertDict if last.lower().endswith("dict") else Inert
        inert.append((type(last, (base,), {}), name))
    with safe_globals(inert):
        yield


def names_in_old_format(path: Path) -> list[str]:
    """What the pickles of a file in torch's format before version 1.6 name.

    The first three say of which format it is, the fourth is what was saved.
    """
    names = []
    with open_regular(path) as file:
        for _ in range(4):
            for instruction, argument, _ in pickletools.genops(file):
                if instruction.name == "GLOBAL":
                    module, name = argument.split(" ")
                    module, name = NAME_MAPPING.get(
                        (module, name), (IMPORT_MAPPING.get(module, module), name)
                    )  # from Python 2's names, which torch writes
                    names.append(f"{module}.{name}")
    return [name for name in dict.fromkeys(names) if not name.startswith("torch.")]


def is_harmless(name: str) -> bool:
    """Whether a name of a pickle stands for a value, as far as its name tells."""
    if HARMLESS.fullmatch(name):
        return True
    package, last = name.partition(".")[0], name.rpartition(".")[2]
    known = package in sys.stdlib_module_names or package == "__builtin__"
    own = package == "__main__" or not known
    return own and last.lstrip("_")[:1].isupper()  # a class, of anybody's


def read_about(folder: Path) -> dict:
    """What `config.json` and `preprocessor_config.json` in a folder say, if anything.

    Raises:
        InputError: One is there and holds no JSON object.
    """
    about = {}
    for key, name in (("config", "config"), ("preprocessor", "preprocessor_config")):
        file = folder / f"{name}.json"
        try:
            about[key] = read_json(file)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InputError(f"cannot read {file} ({error.strerror})") from None
        if not isinstance(about[key], dict):
            raise InputError(f"{file} holds no JSON object")
    return about


def read_about_beside(path: Path) -> dict:
    """The same of the folder that a lone file is in, if it is about a model."""
    try:
        about = read_about(path.parent)
    except InputError:
        return {}
    config = about.get("config", {})
    kind = config.get("architecture") or config.get("model_type") or "vit"
    known = MODEL_NOTES & config.keys() and KINDS.search(str(kind))
    return about if known else {}


def read_folder(folder: Path) -> tuple[dict, dict]:
    """Read a folder as `save_pretrained` of transformers, or a timm repository."""
    names = ("model.safetensors", "pytorch_model.bin")
    for name in names:
        if (folder / name).exists():
            state, about = read_file(folder / name)
            return state, about if "vit" in about else read_about(folder)
        if (folder / f"{name}.index.json").exists():
            return read_shards(folder, f"{name}.index.json"), read_about(folder)
    others = sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix in WEIGHTS and not NO_MODEL.match(path.name)
    )
    if len(others) == 1:
        state, about = read_file(folder / others[0])
        return state, about if "vit" in about else read_about(folder)
    if others:
        raise InputError(
            f"folder {folder} holds {', '.join(others[:5])}: give one of these files"
        )
    raise InputError(f"folder {folder} holds no weights: none of {', '.join(names)}")


def read_shards(folder: Path, name: str) -> dict:
    """Read weights that lie in several files, as their index tells."""
    index = read_json(folder / name)
    files = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(files, dict) or not all(
        isinstance(f, str) and f == Path(f).name for f in files.values()
    ):
        raise InputError(f"{folder / name} names no files of this folder")
    state = {}
    for file in sorted(set(files.values())):
        if not (folder / file).exists():
            raise InputError(f"{folder / file} is missing, which {name} names")
        state |= read_file(folder / file)[0]
    if missing := sorted(set(files) - set(state)):
        raise InputError(f"the files of {folder} lack {', '.join(missing[:3])}")
    return state


WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".tar", ".npz")


def weight_files(weights: str) -> set[Path]:
    """The files that such weights are read from, resolved; a name has none."""
    place = real(Path(weights))
    if not place.is_dir():
        return {place, place.parent / "config.json"}
    files = {real(path) for path in place.iterdir() if path.suffix in WEIGHTS}
    notes = {place / "config.json", place / "preprocessor_config.json"}
    return {place, *notes, *files}
