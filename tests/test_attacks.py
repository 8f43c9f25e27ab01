"""Bad inputs of all kinds: one line, nothing run, nothing lost, no hang, no memory.

Each is tried by a process of its own that has a gigabyte and a minute.
"""

import io
import json
import os
import pickle
import random
import struct
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from bomb import Bomb
from bounded import (
    SMALL,
    TINY,
    call,
    photo,
    refused,
    unfinished_run,
)
from peers import timm_vit
from PIL import Image
from safetensors.torch import save_file

from going_modular.checkpoint import save_model
from going_modular.vit import ViT

# Weights


def state() -> dict[str, torch.Tensor]:
    return dict(timm_vit(SMALL).state_dict())


class Command:
    """Asks a pickle to call anything with a text."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def torch_file(path: Path, value, **options) -> None:
    torch.save(value, path, **options)


def with_tensor(path: Path, name: str, value) -> None:
    torch.save({**state(), name: value}, path)


def safetensors_file(path: Path, header: bytes, data: bytes = b"") -> None:
    path.write_bytes(struct.pack("<Q", len(header)) + header + data)


def own_file(path: Path, **changes) -> None:
    config = {**vars(SMALL), **changes.pop("config", {})}
    notes = {"config": config, "class_names": ["a", "b", "c"], **changes}
    save_file(ViT(SMALL).state_dict(), path, metadata={"vit": json.dumps(notes)})


def zip_bomb(path: Path, names=("model/data.pkl", "model/data/0")) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            with archive.open(name, "w", force_zip64=True) as member:
                for _ in range(20):
                    member.write(bytes(2**24))


def npy_header(shape, data=b"") -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode() + data


def numpy_file(path: Path, **members: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def deep(levels: int) -> dict:
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


def wide_knot(levels: int = 12, width: int = 50) -> dict:
    """Few dictionaries, and very many ways through them."""
    value = {"end": torch.ones(1)}
    for _ in range(levels):
        value = {str(i): value for i in range(width)}
    return value


WEIGHTS = {
    "a program": lambda p: torch_file(p, {**state(), "x": Command(os.system, "id")}),
    "a program in an old file": lambda p: torch_file(
        p, {"x": Command(os.system, "id")}, _use_new_zipfile_serialization=False
    ),
    "eval": lambda p: torch_file(p, {**state(), "x": Command(eval, "1")}),
    "exec in a dictionary": lambda p: torch_file(p, {"m": {"x": Command(exec, "1")}}),
    "an import": lambda p: torch_file(p, {"x": Command(__import__, "antigravity")}),
    "getattr": lambda p: torch_file(p, {**state(), "x": Command(getattr, p, "name")}),
    "a file opened": lambda p: torch_file(p, {"x": Bomb(p.with_name("ran"))}),
    "torch.hub": lambda p: torch_file(p, {"x": Command(torch.hub.load, "a", "b")}),
    "a plain pickle": lambda p: p.write_bytes(pickle.dumps(Command(os.system, "id"))),
    "a whole model": lambda p: torch_file(p, timm_vit(SMALL)),
    "a list": lambda p: torch_file(p, [torch.ones(2)]),
    "a tensor": lambda p: torch_file(p, torch.ones(2)),
    "nothing": lambda p: torch_file(p, {}),
    "nothing at all": lambda p: p.write_bytes(b""),
    "deep dictionaries": lambda p: torch_file(p, deep(200)),
    "a knot of dictionaries": lambda p: torch_file(p, wide_knot()),
    "random bytes": lambda p: p.write_bytes(random.Random(0).randbytes(5000)),
    "a web page": lambda p: p.write_text("<!DOCTYPE html><html>404</html>"),
    "a pointer of Git LFS": lambda p: p.write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    ),
    "HDF5": lambda p: p.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)),
    "a zip bomb": zip_bomb,
    "a zip bomb of arrays": lambda p: zip_bomb(p, ("a.npy", "b.npy")),
    "an empty zip": lambda p: zipfile.ZipFile(p, "w").close(),
    "an array that claims 4 TB": lambda p: numpy_file(p, cls=npy_header((10**12,))),
    "an array with a negative side": lambda p: numpy_file(p, cls=npy_header((-1,))),
    "objects in arrays": lambda p: np.savez(p.open("wb"), cls=np.array([p, p])),
    "a block's number of ten digits": lambda p: with_tensor(
        p, "blocks.1000000000.norm1.weight", torch.ones(16)
    ),
    "a block's number of 400 digits": lambda p: with_tensor(
        p, f"blocks.{'9' * 400}.norm1.weight", torch.ones(16)
    ),
    "sparse": lambda p: with_tensor(p, "head.weight", torch.ones(3, 16).to_sparse()),
    "quantised": lambda p: with_tensor(
        p,
        "head.weight",
        torch.quantize_per_tensor(torch.ones(3, 16), 1.0, 0, torch.qint8),
    ),
    "complex": lambda p: with_tensor(p, "head.weight", torch.ones(3, 16) * 1j),
    "whole numbers": lambda p: with_tensor(
        p, "blocks.0.mlp.fc1.weight", torch.ones(32, 16, dtype=torch.int8)
    ),
    "no memory behind it": lambda p: with_tensor(
        p, "head.weight", torch.ones(1).expand(3, 16)
    ),
    "1 KB that mean 6 GB": lambda p: with_tensor(
        p, "pos_embed", torch.ones(1, 1, 1).expand(1, 10**8, 16)
    ),
    "a tensor without numbers": lambda p: with_tensor(
        p, "head.weight", torch.empty(3, 16, device="meta")
    ),
    "a width of no model": lambda p: with_tensor(p, "norm.weight", torch.ones(17)),
    "numbers that are none": lambda p: with_tensor(
        p, "head.weight", torch.full((3, 16), torch.nan)
    ),
    "names that give the terminal orders": lambda p: with_tensor(
        p, "blocks.0.\x1b[2J.weight", torch.ones(2)
    ),
    "two models of one name": lambda p: torch_file(
        p, OrderedDict([*state().items(), ("module.cls_token", torch.ones(1, 1, 16))])
    ),
}  # fmt: skip
SAFETENSORS = {
    "a header of 2^63 bytes": lambda p: p.write_bytes(
        b"\xff" * 7 + b"\x7f{" + b"x" * 9
    ),
    "a header that is no JSON": lambda p: safetensors_file(p, b"{nothing}"),
    "a header of brackets": lambda p: safetensors_file(p, b'{"a":' * 5000),
    "a tensor beyond the end": lambda p: safetensors_file(
        p, b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', bytes(4)
    ),
    "a shape of 2^80": lambda p: safetensors_file(
        p, b'{"a":{"dtype":"F32","shape":[1099511627776,1099511627776],'
        b'"data_offsets":[0,4]}}', bytes(4)
    ),
    "notes that are no model": lambda p: own_file(p, config={"colour": 1}),
    "a depth of 10^9": lambda p: own_file(p, config={"depth": 10**9}),
    "a width of 10^9": lambda p: own_file(
        p, config={"embedding_dim": 10**9, "num_heads": 1}
    ),
    "a mean of words": lambda p: own_file(p, config={"mean": ["a"]}),
    "a deviation that is no number": lambda p: own_file(p, config={"std": [1e400]}),
    "class names that are numbers": lambda p: own_file(p, class_names=7),
    "an image of 10^9 pixels": lambda p: own_file(p, config={"image_size": 10**9}),
}  # fmt: skip


@pytest.mark.parametrize("name", WEIGHTS)
def test_bad_weights_are_refused(name, folder):
    WEIGHTS[name](folder / "w.pth")
    photo(folder / "a.png")
    flags = ["--weights", "w.pth", "--num-heads", 2]
    refused("predict", "a.png", *flags, folder=folder)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("name", SAFETENSORS)
def test_bad_safetensors_are_refused(name, folder):
    SAFETENSORS[name](folder / "w.safetensors")
    photo(folder / "a.png")
    flags = ["--weights", "w.safetensors", "--num-heads", 2]
    refused("explain", "a.png", *flags, folder=folder)


JSON = {
    "no JSON": "{",
    "a list": "[]",
    "deep": "[" * 10**5,
    "no width": '{"model_type": "vit", "image_size": 8}',
    "words for numbers": '{"model_type": "vit", "image_size": "a", "patch_size": 4, '
    '"num_attention_heads": 2, "layer_norm_eps": 1}',
    "heads of 400 digits": '{"model_type": "vit", "image_size": 8, "patch_size": 4, '
    f'"num_attention_heads": {"9" * 400}, "layer_norm_eps": 1}}',
    "a patch of nothing": '{"model_type": "vit", "image_size": 8, "patch_size": 0, '
    '"num_attention_heads": 2, "layer_norm_eps": 1}',
    "timm with words": '{"architecture": "vit", "pretrained_cfg": {"mean": "abc"}}',
    "timm with a number": '{"architecture": "vit", "pretrained_cfg": 3}',
    "timm that pools": '{"architecture": "vit", "global_pool": "avg"}',
}  # fmt: skip


@pytest.mark.parametrize("name", JSON)
def test_bad_notes_beside_weights_are_refused(name, folder):
    (folder / "model").mkdir()
    save_file(state(), folder / "model/model.safetensors")
    (folder / "model/config.json").write_text(JSON[name], encoding="utf-8")
    photo(folder / "a.png")
    flags = ["--weights", "model", "--num-heads", 2]
    refused("predict", "a.png", *flags, folder=folder, says="config.json")


SPECIAL = {
    "a pipe": lambda p: os.mkfifo(p),
    "a link to zeros without end": lambda p: p.symlink_to("/dev/zero"),
    "a link to the terminal": lambda p: p.symlink_to("/dev/tty"),
    "links in a circle": lambda p: p.symlink_to(p.name),
    "a folder": lambda p: p.mkdir(),
}


@pytest.mark.parametrize("name", SPECIAL)
@pytest.mark.parametrize("place", ["weights", "config", "index", "photo", "checkpoint"])
def test_what_is_no_file_never_hangs(name, place, folder):
    """Pipes and devices may never end."""
    photo(folder / "a.png")
    (folder / "model").mkdir()
    make = SPECIAL[name]
    if place == "photo":
        make(folder / "b.png")
        refused("explain", "b.png", folder=folder)
        return
    if place == "checkpoint":
        make(folder / "model/checkpoint.pt")
        flags = ["--resume", "--output", "model"]
        refused("train", *flags, folder=folder)
        return
    if place == "weights":
        make(folder / "model/w.pth")
        refused("predict", "a.png", "--weights", "model/w.pth", folder=folder)
        return
    if place == "index":
        make(folder / "model/model.safetensors.index.json")
    else:
        save_file(state(), folder / "model/model.safetensors")
        make(folder / "model/config.json")
    flags = ["--weights", "model", "--num-heads", 2]
    refused("predict", "a.png", *flags, folder=folder)


# Photos


def png_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    content = b"\x89PNG\r\n\x1a\n"
    for kind, data in chunks:
        content += struct.pack(">I", len(data)) + kind + data
        content += struct.pack(">I", zlib.crc32(kind + data))
    return content


def huge_png(width: int, height: int, depth: int = 8, kind: int = 2) -> bytes:
    """A PNG of zeros, small as a file."""
    size = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[kind]
    row = bytes(1 + (width * bits + 7) // 8)
    packer = zlib.compressobj(9)
    data = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    return png_chunks((b"IHDR", size), (b"IDAT", data), (b"IEND", b""))


def cut(content: bytes, share: float) -> bytes:
    return content[: int(share * len(content))]


def encoded(kind: str, size=(64, 64), mode="RGB", **options) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(file, kind, **options)
    return file.getvalue()


PHOTOS = {
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
    "PostScript with a binary preview": b"\xc5\xd0\xd3\xc6" + bytes(26) + b"%!PS-Adobe",
    "PDF": b"%PDF-1.7\n",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "HEIC": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00" + bytes(50),
    "nothing": b"",
    "text": b"hello",
    "half a PNG": cut(encoded("PNG"), 0.5),
    "half a JPEG's head": cut(encoded("JPEG"), 0.02),
    "half a WebP": cut(encoded("WEBP"), 0.5),
    "half a GIF": cut(encoded("GIF"), 0.4),
    "half a TIFF": cut(encoded("TIFF"), 0.3),
    "60,000 x 60,000": huge_png(60000, 1)[:-16],
    "a claim of 2^31 pixels a side": png_chunks(
        (b"IHDR", struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)),
        (b"IEND", b""),
    ),
    "no pixels": png_chunks(
        (b"IHDR", struct.pack(">IIBBBBB", 0, 0, 8, 2, 0, 0, 0)), (b"IEND", b"")
    ),
    "a text bomb": png_chunks(
        (b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0)),
        (b"zTXt", b"a\0\0" + zlib.compress(bytes(2 * 10**8), 9)),
        (b"IEND", b""),
    ),
    "an animation without a picture": b"GIF89a" + bytes(7) + b";",
    "an old Windows metafile": b"\xd7\xcd\xc6\x9a" + bytes(40),
    "a BMP of 2^31 rows": b"BM"
    + bytes(8)
    + struct.pack("<IIiiHHI", 54, 40, 9, -(2**31), 1, 24, 0)
    + bytes(40),
    "a TIFF of one tag of 2^32 values": b"II*\0"
    + struct.pack("<IHHHII", 8, 1, 256, 4, 2**32 - 1, 8)
    + bytes(8),
}  # fmt: skip


@pytest.mark.parametrize("name", PHOTOS)
def test_bad_photos_are_refused(name, folder):
    (folder / "holiday.jpg").write_bytes(PHOTOS[name])
    refused("explain", "holiday.jpg", folder=folder, says="holiday.jpg")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "GIF"])
def test_bytes_flipped_in_photos_are_refused_or_read(kind, folder):
    draw, whole = random.Random(kind), encoded(kind)
    (folder / "many").mkdir()
    for number in range(40):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 8)):
            content[draw.randrange(len(content))] = draw.randrange(256)
        (folder / f"many/{number}.png").write_bytes(content)
    (folder / "many/good.png").write_bytes(whole)
    status, said, complained = call("predict", "many", "--skip-bad", folder=folder)
    assert (status, complained) == (0, ""), complained[-2000:]
    assert "many/good.png" in said


LARGE = {
    "grey of 16 bits": lambda: huge_png(13300, 13300, 16, 0),
    "colours with transparency": lambda: huge_png(13300, 13300, 8, 6),
    "colours of 16 bits": lambda: huge_png(13000, 13000, 16, 2),
    "one bit": lambda: huge_png(30000, 20000, 1, 0),
    "a panorama": lambda: huge_png(60000, 2500, 8, 2),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_photos_need_little_memory(name, folder):
    """Read in a gigabyte, or refused by what they would need."""
    (folder / "large.png").write_bytes(LARGE[name]())
    status, said, complained = call("predict", "large.png", folder=folder)
    if status == 2:
        (line,) = complained.splitlines()
        assert "GB to be decoded" in line and "--photo-memory" in line, line
    else:
        assert (status, complained) == (0, ""), complained[-2000:]
        assert "%" in said


# Files of the user


OUTPUTS = {
    "a file": lambda p: p.write_text("mine"),
    "a link to a file": lambda p: (
        p.with_name("precious").write_text("mine"),
        p.symlink_to("precious"),
    ),
    "a folder": lambda p: p.mkdir(),
    "links in a circle": lambda p: p.symlink_to(p.name),
}


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("flag", ["--output", "--json"])
def test_what_is_there_is_not_overwritten(name, flag, folder):
    photo(folder / "a.png")
    OUTPUTS[name](folder / "out.png")
    refused("predict", "a.png", flag, "out.png", folder=folder, says="out.png")


@pytest.mark.parametrize(
    "place",
    ["", "no/such/" + "x" * 300, "a.png/below.png", "/proc/none/out.png", "x" * 300],
)
def test_outputs_that_cannot_be_are_refused(place, folder):
    photo(folder / "a.png")
    place = f"{place}.png" if place and not place.endswith(".png") else place
    refused("predict", "a.png", "--output", place, folder=folder)
    assert sorted(path.name for path in folder.iterdir()) == ["a.png"]


def test_a_device_stays_a_device_and_gets_the_bytes(folder):
    photo(folder / "a.png")
    flags = ["--json", "/dev/stdout", "--overwrite"]
    status, said, complained = call("predict", "a.png", *flags, folder=folder)
    assert (status, complained) == (0, "")
    assert '"predictions"' in said
    assert Path("/dev/stdout").is_symlink()
    status, *_ = call("predict", "a.png", "--json", "/dev/null", folder=folder)
    assert status in (0, 2) and Path("/dev/null").is_char_device()


def test_a_link_is_followed_and_stays(folder):
    photo(folder / "a.png")
    (folder / "deep").mkdir()
    (folder / "deep/real.json").write_text("old")
    (folder / "link.json").symlink_to("deep/real.json")
    flags = ["--json", "link.json", "--overwrite"]
    status, _, complained = call("predict", "a.png", *flags, folder=folder)
    assert (status, complained) == (0, "")
    assert os.readlink(folder / "link.json") == "deep/real.json"
    assert (
        "predictions"
        in json.loads((folder / "deep/real.json").read_text())["photos"][0]
    )


@pytest.mark.parametrize("name", ["predictions.png", "out.json"])
def test_files_with_the_names_of_half_written_ones_are_left_alone(name, folder):
    photo(folder / "a.png")
    path = Path(name)
    mine = folder / f".{path.stem}.writing{path.suffix}"
    mine.symlink_to("precious")
    (folder / "precious").write_text("mine")
    status, *_ = call("predict", "a.png", "--json", "out.json", folder=folder)
    assert status == 0
    assert (folder / "precious").read_text() == "mine" and mine.is_symlink()


FOREIGN = {
    "settings.json": '{"learning_rate": 3}',
    "history.csv": "day,loss\n1,2\n",
    "steps.jsonl": '{"day": 3}\n',
    "loss_curves.png": None,
    "confusion_matrix.png": None,
    "report.html": "mine",
    "results.pkl": "mine",
    "model.safetensors": "mine",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_run_overwrites_none_of_the_users_files(name, folder):
    (folder / "run").mkdir()
    if FOREIGN[name] is None:
        import matplotlib.pyplot as plt

        plt.figure().savefig(folder / "run" / name)
    else:
        (folder / "run" / name).write_text(FOREIGN[name])
    flags = [*TINY.split(), "--output", "run"]
    refused("train", *flags, folder=folder, says=f"already has {name}")


EMPTY = [
    ("train", "--output"),
    ("train", "--data"),
    ("train", "--cache"),
    ("transfer", "--weights"),
    ("predict", "--json"),
    ("explain", "--png"),
]


@pytest.mark.parametrize(("script", "flag"), EMPTY)
def test_an_empty_path_is_no_path_to_here(script, flag, folder):
    photo(folder / "a.png")
    arguments = {"predict": ["a.png"], "explain": ["a.png"]}.get(script, [])
    line = refused(script, *arguments, flag, "", folder=folder)
    assert "it is empty" in line
    refused("predict", "", folder=folder)


@pytest.mark.parametrize("script", ["train", "transfer"])
def test_a_name_of_300_letters_is_refused(script, folder):
    output = "x" * 300
    flags = ["--data", "digits", "--epochs", 1, "--output", output]
    refused(script, *flags, folder=folder, says="the name is too long")


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "much"])
def test_the_memory_of_photos_has_a_range(value, folder):
    photo(folder / "a.png")
    flags = ["--photo-memory", value]
    refused("predict", "a.png", *flags, folder=folder, says="positive number of giga")


# Checkpoints


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return unfinished_run(tmp_path_factory.mktemp("run"))


def change(state: dict, place: str, value) -> None:
    *outer, last = place.split("/")
    for key in outer:
        state = state[int(key) if key.isdigit() else key]
    old = state[int(last) if last.isdigit() else last]
    state[int(last) if last.isdigit() else last] = (
        value(old) if callable(value) else value
    )


MOMENT = "trainer/optimizer/state/0/exp_avg"
CHECKPOINTS = {
    "an epoch of 10^9": ("trainer/epoch", 10**9),
    "an epoch before the first": ("trainer/epoch", -1),
    "an epoch of words": ("trainer/epoch", "one"),
    "half an epoch": ("trainer/epoch", 0.5),
    "a step beyond the last": ("trainer/step", 10**6),
    "a shorter moment": (MOMENT, lambda t: t.flatten()[:1].clone()),
    "a longer moment": (MOMENT, lambda t: torch.ones(10**6)),
    "a moment of other numbers": (MOMENT, lambda t: t.double()),
    "a moment that repeats one number": (MOMENT, lambda t: t[:1, :1].expand_as(t)),
    "a moment turned round": (MOMENT, lambda t: torch.empty(t.T.shape).T),
    "a sparse moment": (MOMENT, lambda t: t.to_sparse()),
    "a moment that is a word": (MOMENT, "m"),
    "a moment that is nothing": (MOMENT, None),
    "a step count as long as a weight": (
        "trainer/optimizer/state/0/step", torch.ones(7)
    ),
    "a rate that is no number": ("trainer/optimizer/param_groups/0/lr", float("nan")),
    "another beta": ("trainer/optimizer/param_groups/0/betas", (2.0, 3.0)),
    "parameters in another order": (
        "trainer/optimizer/param_groups/0/params", lambda p: p[::-1]
    ),
    "no groups": ("trainer/optimizer/param_groups", []),
    "a weight of another shape": (
        "trainer/model/layer_norm.weight", torch.ones(13)
    ),
    "a weight that is a list": ("trainer/model/layer_norm.weight", [1.0] * 12),
    "no weights": ("trainer/model", {}),
    "a schedule of words": ("trainer/schedule/last_epoch", "x"),
    "a random state of words": ("trainer/random_state", "x"),
    "a short random state": ("trainer/random_state", torch.ones(3).byte()),
    "results of words": ("trainer/results/test_acc", ["x"]),
    "results of too many epochs": ("trainer/results/test_acc", [0.1] * 50),
    "results that are none": ("trainer/results", None),
    "sums of words": ("trainer/sums/loss", "x"),
    "seconds without end": ("trainer/seconds", float("inf")),
    "a trainer that is a list": ("trainer", []),
    "settings that are a list": ("settings", []),
    "a depth of 10^9": ("settings/depth", 10**9),
    "a seed of halves": ("settings/seed", 1.5),
    "data that is a list": ("settings/data", ["digits"]),
    "a precision of numbers": ("settings/precision", 3),
    "an image of 10^9 pixels": ("settings/image_size", 2 * 10**9),
    "a machine of numbers": ("machine", {"torch": 3}),
    "data of numbers": ("data/training images", 5),
}  # fmt: skip


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_crafted_checkpoints_are_refused(name, run, folder):
    """Some would make the optimiser's fused step write where it must not."""
    import copy

    state = copy.deepcopy(run)
    change(state, *CHECKPOINTS[name])
    (folder / "run").mkdir()
    torch.save(state, folder / "run/checkpoint.pt")
    refused("train", "--resume", "--output", "run", "--quiet", folder=folder)


def test_the_checkpoint_as_it_was_goes_on(run, folder):
    """The crafted ones are refused for what was changed in them."""
    (folder / "run").mkdir()
    torch.save(run, folder / "run/checkpoint.pt")
    flags = ["--resume", "--output", "run", "--quiet"]
    status, _, complained = call("train", *flags, folder=folder)
    assert (status, complained) == (0, "")


# Names that give orders to the terminal


def test_names_are_printed_without_orders_to_the_terminal(folder):
    for name in ("\x1b[31mred", "new\nline", "cat"):
        (folder / "set" / name).mkdir(parents=True)
        for number in range(3):
            photo(folder / "set" / name / f"{number}\x1b[2J.png")
    (folder / "set/cat/bad\x1b]0;title\x07.png").write_bytes(b"bad")
    flags = ["--data", "set", "--epochs", 1, "--skip-bad", "--quiet", "--depth", 1]
    status, said, complained = call("train", *flags, folder=folder)
    assert status == 0, complained
    assert "\x1b" not in said + complained and "\x07" not in said + complained
    flags.remove("--skip-bad")
    line = refused("train", *flags, "--output", "other", folder=folder)
    assert "bad\\x1b" in line


def test_an_own_model_whose_names_give_orders_is_printed_safely(folder):
    save_model(folder / "m.safetensors", ViT(SMALL), ("\x1b[2Ja", "b\rc", "$x^2"))
    photo(folder / "a.png")
    status, said, complained = call(
        "predict", "a.png", "--weights", "m.safetensors", folder=folder
    )
    assert (status, complained) == (0, "")
    assert "\x1b" not in said and "\r" not in said and "$x^2" in said
