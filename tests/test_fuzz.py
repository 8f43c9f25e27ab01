"""Inputs that nobody has thought of: a script ends with its work or with one sentence.

The ordinary suite tries a few, always the same. `make test-slow` draws more for ten
minutes, others with SEED=1. Each is tried by a process of a gigabyte and a minute.
"""

import io
import itertools
import json
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from bounded import SMALL, TINY, call, photo, unfinished_run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peers import official_arrays, timm_vit, torchvision_vit, transformers_vit
from PIL import Image
from safetensors.torch import save_file

from going_modular.checkpoint import save_model
from going_modular.vit import ViT

SLOW = "SLOW" in os.environ
SECONDS = 125 if SLOW else 0  # of each of the five tests
SEED = int(os.environ.get("SEED", 0))


def explore(folder: Path, try_one: Callable[[st.DataObject], None]) -> None:
    """Try drawn examples, each in an empty folder, until the time is over."""
    end = time.monotonic() + SECONDS

    def in_an_empty_folder(data: st.DataObject) -> None:
        shutil.rmtree(folder)
        folder.mkdir()
        try_one(data)

    for number in itertools.count(1000 * SEED):
        rounds = settings(
            max_examples=25 if SLOW else 8,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        )(given(st.data())(in_an_empty_folder))
        hypothesis.seed(number)(rounds)()
        if time.monotonic() > end:
            return


def ends_well(script: str, *arguments, folder: Path) -> int:
    """Hold a script to its word: 0 without complaint, or 2 and one line that says why.

    Returns:
        The exit status.
    """
    status, said, complained = call(script, *arguments, folder=folder)
    assert status in (0, 2), (arguments, status, complained[-3000:])
    lines = complained.splitlines()
    assert len(lines) == (status == 2), (arguments, complained[-3000:])
    for line in [*lines, *said.splitlines()]:
        assert line.isprintable(), line
    return status


NUMBERS = st.sampled_from(
    [-1, 0, 1, 2, 3, 17, 2**31, 2**63, 10**30, 0.5, -0.0, 1e-30, 1e30]
    + [float("nan"), float("inf")]
)
WORDS = st.sampled_from(["", "a", "vit", "1", "Käse", "\x1b[2J", "x" * 300, "../a"])
SHAPES = st.lists(st.integers(0, 20), max_size=4)
DTYPES = st.sampled_from([torch.float32, torch.float16, torch.int8, torch.bool])


@st.composite
def tensors(draw) -> torch.Tensor:
    value = draw(st.sampled_from([0, 1, float("nan"), float("inf")]))
    dtype = draw(DTYPES)
    return torch.full(draw(SHAPES), value if dtype.is_floating_point else 1).to(dtype)


def values() -> st.SearchStrategy:
    """Whatever a file can hold."""
    alone = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS, tensors())
    return st.recursive(
        alone,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)
        ),
        max_leaves=4,
    )


def bytes_changed(draw, content: bytes) -> bytes:
    """Some bytes flipped, cut off, or put in; the beginning is met most."""
    content = bytearray(content)
    for _ in range(draw(st.integers(0, 4))):
        end = min(len(content), draw(st.sampled_from([64, 1024, 10**6])))
        place = draw(st.integers(0, max(0, end - 1)))
        how = draw(st.sampled_from(["flip", "flip", "cut", "insert"]))
        if how == "flip" and content:
            content[place] = draw(st.integers(0, 255))
        elif how == "cut":
            del content[place:]
        else:
            content[place:place] = draw(st.binary(max_size=5))
    return bytes(content)


# Weights

PREFIXES = ["module.", "backbone.", "teacher.", "student.", "model_ema.", "a.b.", "/"]
FORMS = {
    "timm": lambda: timm_vit(SMALL).state_dict(),
    "torchvision": lambda: torchvision_vit(SMALL).state_dict(),
    "transformers": lambda: transformers_vit(SMALL).state_dict(),
    "official": lambda: dict(official_arrays(SMALL)),
    "own": lambda: ViT(SMALL).state_dict(),
}


@st.composite
def spoiled(draw, state: dict) -> dict:
    """A model's tensors with one to three things wrong, or none."""
    state = dict(state)
    for _ in range(draw(st.integers(0, 3))):
        key = draw(st.sampled_from(sorted(state)))
        match draw(st.sampled_from(["drop", "rename", "wrap", "value", "add", "cut"])):
            case "drop" if len(state) > 1:
                del state[key]
            case "rename":
                state[draw(WORDS) + key[draw(st.integers(0, 5)) :]] = state.pop(key)
            case "wrap":
                prefix = draw(st.sampled_from(PREFIXES))
                some = draw(st.booleans())
                state = {
                    prefix + k if some or k > key else k: v for k, v in state.items()
                }
            case "value":
                state[key] = draw(values())
            case "add":
                state[draw(WORDS)] = draw(values())
            case "cut" if getattr(state[key], "shape", ()):
                state[key] = state[key][: draw(st.integers(0, 3))]
    return state


@st.composite
def weight_files(draw, folder: Path) -> Path:
    """A file of weights of some kind, or a folder with a config.json."""
    state = draw(spoiled(FORMS[draw(st.sampled_from(sorted(FORMS)))]()))
    tensors = {k: torch.as_tensor(v) for k, v in state.items() if hasattr(v, "shape")}
    path = folder / draw(st.sampled_from(["w.pth", "w.safetensors", "w.npz", "m"]))
    if path.suffix == ".pth":
        place = draw(st.sampled_from(["", "model", "state_dict", "ema"]))
        new = draw(st.booleans())
        held = {place: state, "epoch": 3} if place else state
        torch.save(held, path, _use_new_zipfile_serialization=new)
    elif path.suffix == ".npz":
        arrays = {k.replace("\x1b", ""): v.numpy() for k, v in tensors.items()}
        np.savez(path.open("wb"), **{k: v for k, v in arrays.items() if k != "file"})
    else:
        file = path
        if path.suffix != ".safetensors":
            path.mkdir()
            file = path / "model.safetensors"
            about = draw(st.dictionaries(st.sampled_from(CONFIG), values_of_json()))
            text = json.dumps({"model_type": "vit", **about})
            (path / "config.json").write_text(text, encoding="utf-8")
        whole = {k: v.contiguous().clone() for k, v in tensors.items()}
        save_file(whole, file, metadata=draw(NOTES))
        path = path if path.suffix else file.parent
    if path.is_file() and draw(st.booleans()):
        path.write_bytes(bytes_changed(draw, path.read_bytes()))
    return path


CONFIG = "image_size patch_size num_attention_heads layer_norm_eps hidden_act".split()
CONFIG += "id2label architecture pretrained_cfg model_args label_names".split()
NOTES = st.sampled_from(
    [None, {"vit": "{}"}, {"vit": '{"config": {}, "class_names": ["a"]}'}, {"a": "b"}]
)


def values_of_json() -> st.SearchStrategy:
    alone = st.one_of(st.none(), st.booleans(), NUMBERS, WORDS)
    return st.recursive(
        alone,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(["0", "1", "mean", "img_size"]), inner),
        ),
        max_leaves=4,
    )


def test_weights_of_any_content(folder):
    def try_one(data: st.DataObject) -> None:
        path = data.draw(weight_files(folder))
        photo(folder / "a.png")
        script = data.draw(st.sampled_from(["predict", "explain"]))
        flags = ["--weights", path.name, "--num-heads", 2]
        ends_well(script, "a.png", *flags, folder=folder)

    explore(folder, try_one)


# Checkpoints


def places(value, path: tuple = ()) -> list[tuple]:
    """Ways to each thing within dictionaries and lists."""
    found = [path] if path else []
    if isinstance(value, dict):
        pairs = value.items()
    elif isinstance(value, list):
        pairs = enumerate(value[:3])
    else:
        return found
    for key, inner in pairs:
        found += places(inner, (*path, key))
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> bytes:
    file = io.BytesIO()
    torch.save(unfinished_run(tmp_path_factory.mktemp("run")), file)
    return file.getvalue()


def test_checkpoints_of_any_content(folder, run):
    def try_one(data: st.DataObject) -> None:
        state = torch.load(io.BytesIO(run), weights_only=True)
        # A run of more epochs may be asked for, and would take its time.
        ways = [way for way in places(state) if way[-1] != "epochs"]
        for _ in range(data.draw(st.integers(1, 2))):
            way = data.draw(st.sampled_from(ways))
            inner = state
            try:
                for key in way[:-1]:
                    inner = inner[key]
                inner[way[-1]] = data.draw(values())
            except (IndexError, KeyError, TypeError):  # replaced before
                continue
        (folder / "run").mkdir()
        torch.save(state, folder / "run/checkpoint.pt")
        flags = ["--resume", "--output", "run", "--quiet"]
        ends_well("train", *flags, folder=folder)

    explore(folder, try_one)


# Folders

NAMES = st.sampled_from(
    "train Test VALID test_set data-val cat dog Käse 0 .git images".split()
    + ["a b", "\x1b[2J", "$x$", "__MACOSX"]
)


@pytest.fixture(scope="module")
def pictures() -> dict[str, bytes]:
    """Small ones in several formats."""
    found = {}
    noise = np.random.default_rng(0).integers(0, 255, (24, 30, 3), dtype=np.uint8)
    for kind in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP"):
        for mode in ("RGB", "L", "P", "RGBA", "CMYK", "I;16"):
            file = io.BytesIO()
            grey = Image.fromarray(noise[..., 0].astype(np.uint16) * 200)
            picture = grey if mode == "I;16" else Image.fromarray(noise).convert(mode)
            try:
                picture.save(file, kind)
            except (OSError, ValueError, KeyError):  # the format has no such mode
                continue
            found[f"{kind} {mode}"] = file.getvalue()
    return found


@st.composite
def trees(draw, root: Path, pictures: dict[str, bytes]) -> None:
    """A folder of folders of photos and other things."""
    root.mkdir()
    for number in range(draw(st.integers(0, 14))):
        place = root.joinpath(*draw(st.lists(NAMES, max_size=3)))
        ending = draw(st.sampled_from([".png", ".jpg", ".JPEG", ".txt", "", ".webp"]))
        what = draw(st.sampled_from(["photo"] * 6 + ["bytes", "dead", "up", "pipe"]))
        try:
            place.mkdir(parents=True, exist_ok=True)
            path = place / f"{number}{ending}"
            match what:
                case "photo":
                    path.write_bytes(pictures[draw(st.sampled_from(sorted(pictures)))])
                case "bytes":
                    path.write_bytes(draw(st.binary(max_size=50)))
                case "dead":
                    path.symlink_to("nowhere")
                case "up":
                    path.symlink_to("..")
                case "pipe":
                    os.mkfifo(path)
        except (FileExistsError, NotADirectoryError):
            continue


def test_folders_of_any_form(folder, pictures):
    small = "--image-size 16 --patch-size 8 --depth 1 --embedding-dim 8 --num-heads 2"

    def try_one(data: st.DataObject) -> None:
        data.draw(trees(folder / "set", pictures))
        flags = ["set", *data.draw(st.sampled_from([[], ["--png", "sheet.png"]]))]
        ends_well("folders", *flags, folder=folder)
        flags = ["--data", "set", "--epochs", 1, "--quiet", *small.split()]
        flags += data.draw(st.sampled_from([[], ["--skip-bad"]]))
        ends_well("train", *flags, folder=folder)

    explore(folder, try_one)


# Photos


def test_photos_of_any_bytes(folder, pictures):
    def try_one(data: st.DataObject) -> None:
        for number in range(6):
            content = pictures[data.draw(st.sampled_from(sorted(pictures)))]
            path = folder / f"{number}{data.draw(st.sampled_from(['.png', '.jpg']))}"
            path.write_bytes(bytes_changed(data.draw, content))
        ends_well("predict", ".", "--skip-bad", folder=folder)
        ends_well("explain", path.name, folder=folder)

    explore(folder, try_one)


# Flags

BASE = {
    "predict": ["a.png"],
    "explain": ["a.png"],
    "train": TINY.split(),
    "transfer": "--data digits --epochs 1 --mode linear --shots 2 --quiet".split(),
}
# These fetch from a network, or may rightly ask for hours.
NOT_TRIED = {"--help", "--download", "--epochs", "--data", "--shard", "--cache"}
ENTRIES = st.one_of(
    NUMBERS.map(str),
    st.sampled_from("auto none fp32 full cosine a.png m.safetensors cpu B/16".split()),
    st.sampled_from(["", "1,2", "-", "--", "Käse", "\x1b[2J", "a b", "1e400", "0x10"]),
)


def test_flags_of_any_value(folder):
    known = {}

    def flags_of(script: str) -> list[str]:
        if script not in known:
            _, said, _ = call(script, "--help", folder=folder)
            known[script] = sorted({*re.findall(r"--[a-z][\w-]+", said)} - NOT_TRIED)
        return known[script]

    def try_one(data: st.DataObject) -> None:
        photo(folder / "a.png")
        save_model(folder / "m.safetensors", ViT(SMALL), ("a", "b", "c"))
        script = data.draw(st.sampled_from(sorted(BASE)))
        flags = list(BASE[script])
        for _ in range(data.draw(st.integers(1, 3))):
            flags.append(data.draw(st.sampled_from(flags_of(script))))
            flags += data.draw(st.lists(ENTRIES, max_size=2))
        ends_well(script, *flags, folder=folder)

    explore(folder, try_one)
