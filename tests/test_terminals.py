"""What a terminal, a narrow one or one of another language, shows of the scripts."""

import json
import os
import re
import subprocess
import sys
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
    mine, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, columns))
    environment = {**os.environ, **environment}
    process = subprocess.Popen(
        [sys.executable, ROOT / script, *map(str, arguments)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=terminal,
        env=environment,
    )
    os.close(terminal)
    sent = bytearray()
    while True:
        try:
            piece = os.read(mine, 4096)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        sent += piece
    said, _ = process.communicate(timeout=120)
    os.close(mine)
    return process.returncode, said.decode(errors="replace"), sent.decode()


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


@pytest.mark.parametrize("script", ["predict.py", "explain.py"])
def test_a_terminal_sees_what_takes_its_time(script, folder):
    photo = folder / "Fotos/Brot/grün 0.png"
    status, said, sent = run(script, photo, folder=folder)
    assert status == 0
    assert "reading built-in ..." in sent
    assert re.search(r"\r +\r$", sent), "nothing stays"
    assert "..." not in said and "\x1b" not in said


def test_a_file_sees_nothing_of_it(folder):
    command = [sys.executable, ROOT / "predict.py", folder / "Fotos/Brot/grün 0.png"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("columns", [80, 60])
def test_bars_have_room_for_a_bar(columns, folder):
    flags = "--data digits --epochs 2 --depth 1 --embedding-dim 12 --num-heads 2"
    status, _, sent = run("train.py", *flags.split(), folder=folder, columns=columns)
    assert status == 0
    lines = [line for line in re.split(r"[\r\n]+", sent) if "%|" in line]
    assert lines
    for line in lines:
        assert len(line) <= columns
        assert len(re.search(r"\|([^|]*)\|", line)[1]) >= 8, line


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
