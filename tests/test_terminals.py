"""What a terminal, a narrow one or one of another language, shows of the scripts."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from notebook_files import ROOT
from PIL import Image

from going_modular.checkpoint import load_model

pty = pytest.importorskip("pty", reason="needs Linux or macOS")
termios = pytest.importorskip("termios", reason="needs Linux or macOS")


def run(
    script: str, *arguments, folder: Path, columns: int = 80, **environment
) -> tuple[int, str, str]:
    """Run a script whose standard error is a terminal.

    Returns:
        Its exit status, what it printed, and what it sent to the terminal.
    """
    status, said, pieces = record(
        script, *arguments, folder=folder, columns=columns, **environment
    )
    return status, said, b"".join(piece for _, piece in pieces).decode()


def record(
    script: str, *arguments, folder: Path, columns: int = 80, **environment
) -> tuple[int, str, list[tuple[float, bytes]]]:
    """The same, with what it sent piece by piece, and when.

    The first piece, of nothing, is that of the start, the last that of the end.
    """
    mine, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, columns))
    environment = {**os.environ, **environment}
    pieces = [(time.monotonic(), b"")]
    process = subprocess.Popen(
        [sys.executable, ROOT / script, *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=terminal,
        env=environment,
    )
    os.close(terminal)
    while True:
        try:
            piece = os.read(mine, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        pieces.append((time.monotonic(), piece))
    said, _ = process.communicate(timeout=120)
    pieces.append((time.monotonic(), b""))
    os.close(mine)
    return process.returncode, said.decode(errors="replace"), pieces


@pytest.fixture
def folder(tmp_path):
    for kind in ("Käse", "Brot"):
        (tmp_path / "Fotos" / kind).mkdir(parents=True)
        for number in range(4):
            colour = (9 * number, 99, 200 * (kind == "Brot"))
            Image.new("RGB", (9, 12), colour).save(
                tmp_path / "Fotos" / kind / f"grün {number}.png"
            )
    return tmp_path


def test_a_file_sees_nothing_of_it(folder):
    command = [sys.executable, ROOT / "predict.py", folder / "Fotos/Brot/grün 0.png"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")


SMALL = "--depth 1 --embedding-dim 12 --num-heads 2 --epochs 2"
LINEAR = "--mode linear --shots 0 --epochs 2"
TRAINING = ["reading Fotos", "decoding photos", r"epoch [12]/2", "testing"]
TRAINING += ["drawing and writing the report"]
RUNS = {
    "train.py": (SMALL, TRAINING),
    "train_transferlearning.py": (LINEAR, [*TRAINING, "features of 8 images"]),
    "predict.py": ("Fotos", ["reading built-in", "predicting", "drawing"]),
    "explain.py": ("PHOTO", ["reading built-in", "looking", "writing"]),
}


def flags_of(script: str, folder: Path) -> list[str]:
    flags = RUNS[script][0].replace("PHOTO", "Fotos/Brot/0.png").split()
    return flags + ["--data", "Fotos"] * script.startswith("train")


@pytest.fixture
def plain(folder):
    """The same folder of photos, their names in ASCII."""
    for path in [*folder.glob("*/*/*.png")]:
        path.rename(path.with_name(path.name[-5:]))
    return folder


def check_line(sent: str, columns: int) -> list[str]:
    """The line as it changed, after a look at its width."""
    assert max(map(len, re.split(r"[\r\n]", sent))) < columns, "it would wrap"
    lines = [line.rstrip() for line in re.split(r"[\r\n]", sent)]
    bars = [line for line in lines if "%" in line]
    assert all(re.match(r"(--:--|\d+:\d\d) left  \w", bar) for bar in bars)
    return lines


@pytest.mark.parametrize(
    ("script", "columns"),
    [*zip(RUNS, (80, 40, 40, 80), strict=True)],  # test_progress has all other widths
)
def test_whatever_takes_its_time_is_named_and_never_wraps(script, columns, plain):
    flags = flags_of(script, plain)
    status, said, sent = run(script, *flags, folder=plain, columns=columns)
    assert status == 0
    assert "\r" not in said and "left  " not in said, "standard output is for results"
    lines = check_line(sent, columns)
    assert lines[1].startswith(f"starting {script}"[:25]), "at once"
    for what in RUNS[script][1]:
        assert any(re.search(what, line) for line in lines), what
    assert re.search(r"\r +\r$", sent), "nothing stays"


def test_a_complaint_stands_alone(folder):
    status, said, sent = run("train.py", "--epochs", "many", folder=folder)
    assert (status, said) == (2, "")
    shown, complaint = re.split(r"\r +\r", sent, maxsplit=1)
    assert shown.startswith("\rstarting train.py ... ")
    assert re.fullmatch(r"train.py: .*--epochs.*\r\n", complaint)


@pytest.mark.skipif("SLOW" not in os.environ, reason="a busy machine may be silent")
@pytest.mark.parametrize("script", RUNS)
def test_nobody_waits_in_silence_for_more_than_two_seconds(script, plain):
    flags = flags_of(script, plain)
    if script == "train.py":  # steps and tests of more than two seconds each
        flags = "--data digits --variant S/2 --image-size 8 --epochs 2".split()
        flags += ["--batch-size", "1000"]
    status, _, pieces = record(script, *flags, folder=plain)
    assert status == 0
    times = [moment for moment, _ in pieces]
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
    assert max(gaps) < 2, pieces[gaps.index(max(gaps))]


OLD = dict(LC_ALL="C", LANG="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")


def test_a_system_without_utf_8_reads_and_writes_the_same(folder):
    flags = "--epochs 1 --depth 1 --embedding-dim 12 --num-heads 2 --quiet"
    flags = ["--data", "Fotos", "--output", "Lauf", *flags.split()]
    status, said, sent = run("train.py", *flags, folder=folder, **OLD)
    assert (status, sent) == (0, ""), said
    _, names = load_model(folder / "Lauf/model.safetensors")
    assert names == ("Brot", "Käse")
    flags = ["--weights", "Lauf/model.safetensors", "--json", "Käse.json"]
    status, said, _ = run("predict.py", "Fotos", *flags, folder=folder, **OLD)
    assert status == 0, said
    text = (folder / "Käse.json").read_text(encoding="utf-8")
    files = {Path(photo["file"]).name for photo in json.loads(text)["photos"]}
    assert files == {f"grün {number}.png" for number in range(4)}
    status, said, _ = run(
        "explain.py",
        "Fotos/Käse/grün 0.png",
        "--weights",
        "Lauf/model.safetensors",
        folder=folder,
        **OLD,
    )
    assert status == 0, said
    page = (folder / "explorer.html").read_text(encoding="utf-8")
    assert "grün 0.png" in page or "gr\\u00fcn 0.png" in page
