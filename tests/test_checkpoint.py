"""Models come back with their configuration; damaged files are named."""

import errno
import json
import os
import pickle
import random
import re
import stat
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from bomb import Bomb
from exactness import check_same
from matplotlib.figure import Figure
from safetensors import safe_open
from safetensors.torch import save_file

from going_modular import checkpoint
from going_modular.checkpoint import (
    load_checkpoint,
    load_model,
    previous,
    save_checkpoint,
    save_model,
)
from going_modular.errors import InputError
from going_modular.system import files
from going_modular.system.files import write_file
from going_modular.teaching.toy import toy_config, toy_images
from going_modular.training.watchers import write_results
from going_modular.vit import ViT


def test_model_comes_back_equal_with_configuration_and_names(tmp_path):
    config = toy_config(image_size=(40, 40), gelu="tanh", representation_size=13)
    model = ViT(config).eval()
    torch.nn.init.normal_(model.head[-1].weight)
    names = tuple("abcdefghij")
    save_model(tmp_path / "model.safetensors", model, names)
    loaded, loaded_names = load_model(tmp_path / "model.safetensors")
    assert loaded.config == config and loaded_names == names
    assert not loaded.training
    assert torch.equal(loaded(toy_images()), model(toy_images()))


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100])
def test_damaged_weights_are_named(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="model.safetensors holds no model"):
        load_model(path)


def test_foreign_or_missing_weights_are_named(tmp_path):
    with pytest.raises(InputError, match="no weights file"):
        load_model(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="foreign.safetensors holds no model"):
        load_model(tmp_path / "foreign.safetensors")


def test_interrupted_write_keeps_the_file_before(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")

    def fail(beside):
        beside.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_file(path, fail)
    assert path.read_text() == "before"


def test_checkpoint_comes_back_and_one_with_code_runs_nothing(tmp_path):
    save_checkpoint(tmp_path / "good.pt", {"a": torch.arange(3), "b": {"c": [1.5]}})
    state = load_checkpoint(tmp_path / "good.pt")
    assert state["a"].tolist() == [0, 1, 2] and state["b"] == {"c": [1.5]}
    bomb = Bomb(tmp_path / "ran")
    torch.save({"a": bomb}, tmp_path / "bomb.pt")
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(bomb))
    for name in ("bomb.pt", "bomb.pkl"):
        with pytest.raises(InputError, match=f"{name} is damaged"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "ran").exists()


# Pairs of checkpoints

SLOW = "SLOW" in os.environ


def state_of(version: int) -> dict:
    """A small state of every kind of value that a run's has."""
    weights = torch.randn(3, 5, generator=torch.Generator().manual_seed(version))
    return {
        "trainer": {
            "model": {"w": weights, "b": weights.double().sum(1)},
            "results": {"test_acc": [0.1 * version, 1 / 3]},
            "random_state": torch.arange(40, dtype=torch.uint8),
            "epoch": version,
            "averaged": None,
        },
        "settings": {"data": "digits", "mean": (0.5,)},
    }


@pytest.fixture
def path(tmp_path) -> Path:
    """The newest of two checkpoints, 2, with the one before it, 1."""
    path = tmp_path / "checkpoint.pt"
    for version in (1, 2):
        save_checkpoint(path, state_of(version))
    return path


def replace_newest(path: Path, content: bytes, before: bytes) -> None:
    """Write a newest checkpoint, and the one before it, which may have moved."""
    path.write_bytes(content)
    previous(path).write_bytes(before)


def version_of(path: Path) -> int:
    """Which checkpoint is gone on from; every bit of it is right."""
    state = load_checkpoint(path)
    version = state["trainer"]["epoch"]
    check_same(state, state_of(version))
    return version


def places(count: int, sample: int) -> list[int]:
    """Some of so many places; all of them where time does not matter."""
    chosen = range(count)
    return list(chosen) if SLOW else sorted(random.Random(0).sample(chosen, sample))


def test_the_newest_checkpoint_is_taken_without_a_word(path, capsys):
    assert version_of(path) == 2
    assert capsys.readouterr().out == ""
    assert {p.name for p in path.parent.iterdir()} == {path.name, previous(path).name}


@pytest.mark.parametrize("content", [b"", b"hello", None])
def test_an_empty_or_missing_one_lets_the_one_before_be_taken(path, content, capsys):
    if content is None:  # killed between the two renames
        path.unlink()
    else:
        path.write_bytes(content)
    assert version_of(path) == 1
    why = "is not there" if content is None else "is damaged"
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"checkpoint.pt {why}")
    assert line.endswith("going on from checkpoint.previous.pt")


def test_a_truncated_one_is_noticed_wherever_it_ends(path, capsys):
    whole, before = path.read_bytes(), previous(path).read_bytes()
    for length in places(len(whole), 40):
        replace_newest(path, whole[:length], before)
        assert version_of(path) == 1, length
        assert "going on from checkpoint.previous.pt" in capsys.readouterr().out


def test_no_flipped_bit_goes_unnoticed(path, capsys):
    """It is noticed, or stands where it means nothing, such as in a time stamp."""
    whole, before = path.read_bytes(), previous(path).read_bytes()
    noticed = 0
    chosen = places(8 * len(whole), 400)
    for place in chosen:
        content = bytearray(whole)
        content[place // 8] ^= 1 << place % 8
        replace_newest(path, content, before)
        if version_of(path) == 1:
            noticed += 1
            assert "checkpoint.pt is damaged" in capsys.readouterr().out
    assert noticed > len(chosen) / 4


def test_a_flipped_bit_of_a_weight_is_noticed(path):
    content, before = path.read_bytes(), previous(path).read_bytes()
    weight = state_of(2)["trainer"]["model"]["w"].numpy().tobytes()
    assert content.count(weight) == 1
    place = content.index(weight)
    for bit in range(0, 8 * len(weight), 7):
        changed = bytearray(content)
        changed[place + bit // 8] ^= 1 << bit % 8
        replace_newest(path, changed, before)
        assert version_of(path) == 1


def test_a_weight_that_claims_to_be_a_folder_is_noticed(path):
    """One bit of a zip's directory says so; torch then reads no bytes at all."""
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\1\2", 0, content.rindex(b"archive/data/0"))
    content[entry + 38] ^= 0x10  # the file's attributes: a folder
    path.write_bytes(content)
    assert version_of(path) == 1


def test_two_unreadable_ones_get_one_line(path):
    path.write_bytes(path.read_bytes()[:-100])
    previous(path).write_bytes(b"")
    with pytest.raises(InputError) as error:
        load_checkpoint(path)
    (line,) = str(error.value).splitlines()
    for part in ("checkpoint.pt is damaged", "checkpoint.previous.pt is damaged"):
        assert part in line
    assert str(path.parent) in line and "start without --resume" in line
    path.unlink()
    with pytest.raises(InputError, match="checkpoint.pt is not there, .* damaged"):
        load_checkpoint(path)
    previous(path).unlink()
    with pytest.raises(InputError, match="no checkpoint .*: start without --resume"):
        load_checkpoint(path)


def test_code_in_either_of_the_two_is_never_run(path, tmp_path):
    torch.save({"trainer": Bomb(tmp_path / "ran")}, path)
    assert version_of(path) == 1
    for file in (path, previous(path)):
        torch.save({"trainer": Bomb(tmp_path / "ran")}, file)
    with pytest.raises(InputError, match="can be read"):
        load_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def half_written(path: Path) -> list[Path]:
    return list(path.parent.glob(".checkpoint.*.writing.pt"))


class PowerCut(BaseException):
    """Nothing after it is done, not even cleaning up."""


def plain(name: str) -> str:
    """A half-written file's name without its random word."""
    return re.sub(r"\.[0-9a-f]{16}\.writing", ".writing", name)


class Disk:
    """Notes what is asked of the disk, and fails at the nth time."""

    def __init__(self, monkeypatch, fail_at: int = 0):
        self.asked, self.fail_at = [], fail_at
        self.unlink = os.unlink
        monkeypatch.setattr(checkpoint.os, "unlink", lambda path: self.unlink(path))
        for name in ("fsync", "replace"):
            monkeypatch.setattr(checkpoint.os, name, self.wrap(getattr(os, name)))

    def wrap(self, function):
        def wrapped(*arguments):
            what = [plain(Path(a).name) for a in arguments if not isinstance(a, int)]
            if not what:
                is_folder = stat.S_ISDIR(os.fstat(arguments[0]).st_mode)
                what = ["folder" if is_folder else "file"]
            self.asked.append((function.__name__, *what))
            if len(self.asked) == self.fail_at:
                self.fail()
            return function(*arguments)

        return wrapped

    def fail(self):
        self.unlink = lambda path: None
        raise PowerCut


def test_bytes_reach_the_disk_before_their_name_and_the_name_before_going_on(
    path, monkeypatch
):
    disk = Disk(monkeypatch)
    save_checkpoint(path, state_of(3))
    assert disk.asked == [
        ("fsync", "file"),
        ("replace", "checkpoint.pt", "checkpoint.previous.pt"),
        ("replace", ".checkpoint.writing.pt", "checkpoint.pt"),
        ("fsync", "folder"),
    ]
    assert version_of(path) == 3
    disk.asked.clear()
    write_file(path.with_name("a.txt"), lambda beside: beside.write_text("a"))
    assert disk.asked[:2] == [
        ("fsync", "file"),
        ("replace", ".a.writing.txt", "a.txt"),
    ]


@pytest.mark.parametrize(("moment", "left"), [(1, 2), (2, 2), (3, 2), (4, 3)])
def test_cut_off_at_any_moment_of_saving_there_is_one_to_go_on_from(
    moment, left, path, monkeypatch
):
    with monkeypatch.context() as patch:
        Disk(patch, moment)
        with pytest.raises(PowerCut):
            save_checkpoint(path, state_of(3))
    assert bool(half_written(path)) == (moment < 4)
    assert version_of(path) == left
    save_checkpoint(path, state_of(4))
    assert version_of(path) == 4


@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_a_damaged_one_never_takes_the_place_of_a_good_one(moment, path, monkeypatch):
    """Going on from the one before, the run is cut off as it saves again."""
    path.write_bytes(b"damaged")
    assert version_of(path) == 1
    with monkeypatch.context() as patch:
        Disk(patch, moment)
        with pytest.raises(PowerCut):
            save_checkpoint(path, state_of(3))
    assert version_of(path) in (1, 3)


full = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="no /dev/full, a disk that is always full"
)


def beside_on_a_full_disk(path: Path) -> Path:
    beside = path.with_name(f".{path.name}")
    beside.symlink_to("/dev/full")
    return beside


@full
def test_a_full_disk_leaves_both_checkpoints_and_nothing_else(path, monkeypatch):
    """What is beside the file is a link to a device on which there is no room."""
    with monkeypatch.context() as patch, pytest.raises(InputError) as error:
        patch.setattr(checkpoint, "new_beside", beside_on_a_full_disk)
        save_checkpoint(path, state_of(3))
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"cannot write {path} (No space left on device)")
    assert "--resume" in line
    assert {p.name for p in path.parent.iterdir()} == {path.name, previous(path).name}
    assert version_of(path) == 2
    path.unlink()
    assert version_of(path) == 1


@full
@pytest.mark.parametrize("name", ["results.pkl", "history.csv"])
def test_a_full_disk_leaves_the_file_before(name, tmp_path, monkeypatch):
    path = tmp_path / name
    path.write_text("before")
    monkeypatch.setattr(files, "new_beside", beside_on_a_full_disk)
    with pytest.raises(OSError, match="No space left on device"):
        write_file(path, lambda beside: beside.write_text("after"))
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == [name]


# Disks that take a part only, or nothing at the worst moment


@contextmanager
def files_up_to(size: int):
    """No file may grow beyond so many bytes: what is written is cut off there."""
    resource = pytest.importorskip("resource")
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_a_checkpoint_cut_off_at_any_byte_leaves_both_before(path):
    save_checkpoint(path, state_of(3))
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}
    assert len(before) == 2
    size = len(before[path.name])
    for limit in [*places(size, 60), size - 1]:
        with files_up_to(limit), pytest.raises(InputError) as error:
            save_checkpoint(path, state_of(4))
        (line,) = str(error.value).splitlines()
        assert line.startswith(f"cannot write {path} (") and "--resume" in line
        assert before == {p.name: p.read_bytes() for p in path.parent.iterdir()}
    with files_up_to(size):
        save_checkpoint(path, state_of(4))
    assert version_of(path) == 4


def test_a_large_checkpoint_that_is_cut_off_gets_one_line_too(path):
    """Its tensors are written past Python's buffer, and torch has errors of its own."""
    state = {**state_of(3), "large": torch.zeros(10**5)}
    for limit in (0, 100, 10**4, 10**5, 4 * 10**5):
        with files_up_to(limit), pytest.raises(InputError) as error:
            save_checkpoint(path, state)
        (line,) = str(error.value).splitlines()
        assert line.startswith(f"cannot write {path} (File too large)")
    assert version_of(path) == 2


def write_model(path: Path, version: int) -> None:
    torch.manual_seed(version)
    save_model(path, ViT(toy_config(depth=1)), tuple("abcdefghij"))


def write_table(path: Path, version: int) -> None:
    write_results(path, {"test_acc": [version / 7] * 40})


def write_figure(path: Path, version: int) -> None:
    figure = Figure(figsize=(1, 1))
    figure.add_subplot().plot([0, version])
    write_file(path, figure.savefig)


@pytest.mark.parametrize("write", [write_model, write_table, write_figure])
def test_a_file_cut_off_at_any_byte_leaves_the_one_before(write, tmp_path):
    endings = {write_model: "safetensors", write_table: "pkl", write_figure: "png"}
    path = tmp_path / f"file.{endings[write]}"
    write(path, 2)
    size = path.stat().st_size
    write(path, 1)
    before = path.read_bytes()
    some = random.Random(0).sample(range(size), 200 if SLOW else 20)
    for limit in {0, 1, size // 2, size - 1, *some}:
        with files_up_to(limit), pytest.raises(OSError) as error:
            write(path, 2)
        (line,) = str(error.value).splitlines()
        assert line.startswith(f"cannot write {path} (")
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with files_up_to(size):
        write(path, 2)
    assert path.read_bytes() != before


class FailingDisk(Disk):
    """Says at the nth time that it is asked that it cannot."""

    def fail(self):
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("moment", [1, 2, 3, 4])
def test_a_disk_that_fails_at_any_moment_of_saving_gets_one_line(
    moment, path, monkeypatch
):
    with monkeypatch.context() as patch:
        FailingDisk(patch, moment)
        with pytest.raises(InputError) as error:
            save_checkpoint(path, state_of(3))
    (line,) = str(error.value).splitlines()
    assert line == (
        f"cannot write {path} (Input/output error): mend that, then go on with "
        "--resume from the last one"
    )
    assert not half_written(path)
    assert version_of(path) == (3 if moment == 4 else 2), "the newest that is whole"


def test_a_first_checkpoint_that_cannot_be_written_is_nothing_to_go_on_from(tmp_path):
    with pytest.raises(InputError, match="No such file.*mend that, then start again"):
        save_checkpoint(tmp_path / "no" / "checkpoint.pt", state_of(1))


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_syncs_no_folders_is_none_that_fails(
    number, path, monkeypatch
):
    sync = os.fsync

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, "not here")
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "fsync", refuse)
        save_checkpoint(path, state_of(3))
    assert version_of(path) == 3


def test_a_second_ctrl_c_in_mid_writing_leaves_nothing_half(path, monkeypatch):
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}

    def interrupted(state, file):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.torch, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save_checkpoint(path, state_of(3))
    assert before == {p.name: p.read_bytes() for p in path.parent.iterdir()}


def test_a_reason_without_words_is_named_by_its_kind(tmp_path):
    error = checkpoint.cannot_write(tmp_path / "a.pt", RuntimeError())
    assert str(error) == f"cannot write {tmp_path / 'a.pt'} (RuntimeError)"


# Files that are whole, and of no use


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (PermissionError(errno.EACCES, "Permission denied"), "Permission denied"),
        (OSError(errno.ESTALE, "Stale file handle"), "Stale file handle"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough mem"),
    ],
)
def test_a_checkpoint_that_cannot_be_read_now_is_not_called_damaged(
    kind, why, path, monkeypatch
):
    """Otherwise the one before would take its place, or the user remove both."""
    before = {p.name: p.read_bytes() for p in path.parent.iterdir()}

    def refuse(*args, **kwargs):
        raise kind

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.torch, "load", refuse)
        with pytest.raises(InputError) as error:
            load_checkpoint(path)
    assert str(error.value).startswith(f"cannot read {path} ({why}")
    assert "damaged" not in str(error.value)
    assert before == {p.name: p.read_bytes() for p in path.parent.iterdir()}
    assert version_of(path) == 2


@pytest.mark.parametrize("content", [[1, 2], 5, None, torch.zeros(3)])
def test_a_whole_file_that_holds_no_state_is_no_checkpoint(content, path):
    torch.save(content, path)
    assert version_of(path) == 1


def test_weights_that_do_not_fit_their_configuration_get_one_line(tmp_path):
    """One bit of the notes may ask for another model; some describe none at all."""
    path = tmp_path / "model.safetensors"
    write_model(path, 1)
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["vit"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def with_config(**changes) -> dict:
        return {**about, "config": {**about["config"], **changes}}

    for notes, problem in (
        (with_config(depth=3), "tell of another model"),
        (with_config(mlp_size=177), "tell of another model"),
        (with_config(num_heads=3), "not divisible"),
        (with_config(mlp_size=10**15), "tell of another model"),
        (with_config(gelu="tan"), "gelu"),
        (with_config(mean=5), ""),
        (with_config(colour="red"), "colour"),
        ({**about, "config": 5}, ""),
        ({"config": about["config"]}, "class_names"),
        (None, ""),
        ("text", ""),
    ):
        save_file(weights, path, metadata={"vit": json.dumps(notes)})
        with pytest.raises(InputError) as error:
            load_model(path)
        (line,) = str(error.value).splitlines()
        assert line.startswith(f"{path} holds no model of this project (")
        assert problem in line and len(line) < 400
