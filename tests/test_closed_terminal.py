"""A terminal that is closed ends no work; a file or pipe that fails still says so."""

import io
import os
import sys

import pytest

from going_modular.system.closed_terminal import outlive_terminal

pty = pytest.importorskip("pty", reason="needs Linux or macOS")


@pytest.fixture(params=["buffered", "unbuffered"])
def use_terminal(request, monkeypatch):
    """Sends standard output and error to a terminal, and gives our end of it.

    It is called in the test, since pytest sets the two anew as each test begins.
    """
    mine, other = pty.openpty()

    def use() -> int:
        for name in ("stdout", "stderr"):
            if request.param == "buffered":
                stream = open(other, "w", buffering=1, closefd=False, encoding="ascii")
            else:  # as python -u has it
                raw = open(other, "wb", buffering=0, closefd=False)
                stream = io.TextIOWrapper(raw, "ascii", write_through=True)
            stream.reconfigure(errors="backslashreplace")
            monkeypatch.setattr(sys, name, stream)
        return mine

    yield use
    os.close(other)


def test_what_is_printed_after_the_end_goes_nowhere(use_terminal):
    mine = use_terminal()
    outlive_terminal()
    for stream in (sys.stdout, sys.stderr):
        print("grün", end="", file=stream, flush=True)
        assert os.read(mine, 100) == b"gr\\xfcn", "as it was set up"
        assert stream.isatty()
    os.close(mine)
    for stream in (sys.stdout, sys.stderr):
        print("more", file=stream, flush=True)
        print("x" * 100_000, file=stream, flush=True)


def test_a_line_is_shown_at_once(use_terminal):
    mine = use_terminal()
    outlive_terminal()
    print("a line")
    assert os.read(mine, 100).split() == [b"a", b"line"]
    os.close(mine)


def test_without_it_a_closed_terminal_is_an_error(use_terminal):
    os.close(use_terminal())
    with pytest.raises(OSError, match="Input/output error"):
        os.write(sys.stdout.fileno(), b"more")


def test_files_are_left_alone(monkeypatch, tmp_path):
    with open(tmp_path / "out.txt", "w") as file:
        monkeypatch.setattr(sys, "stdout", file)
        monkeypatch.setattr(sys, "stderr", None)
        outlive_terminal()
        assert sys.stdout is file and sys.stderr is None


def test_twice_is_no_more_than_once(use_terminal):
    mine = use_terminal()
    outlive_terminal()
    before = sys.stdout
    outlive_terminal()
    assert sys.stdout is before
    os.close(mine)
