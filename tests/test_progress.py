"""The line at the foot of a terminal and the clock behind it, in a time of our own."""

import io
import re
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest
import torch
from notebook_files import ROOT

from going_modular.data_setup import Batches, ImageSet
from going_modular.system import progress, text
from going_modular.system.clock import Clock
from going_modular.system.progress import Line


class Time:
    """A time that passes only when it is told to."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds

    def passes(self, seconds: float) -> None:
        self.seconds += seconds


class Terminal(io.StringIO):
    """Keeps what is sent to it; `screen` is what can be read on it."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def screen(self) -> list[str]:
        lines = []
        for sent in self.getvalue().split("\n"):
            shown = ""
            for piece in sent.split("\r"):  # each is written over the one before
                shown = piece + shown[len(piece) :]
            lines.append(shown.rstrip())
        return lines


@pytest.fixture
def now():
    return Time()


@pytest.fixture
def terminal(monkeypatch):
    """Standard output and error, as the module has them; no thread draws by itself."""
    terminal = Terminal()

    def print_there(*values, file=None, **options):
        print(*values, file=file or terminal, **options)

    monkeypatch.setattr(progress, "sys", types.SimpleNamespace(stderr=terminal))
    monkeypatch.setattr(progress, "print", print_there, raising=False)
    monkeypatch.setattr(progress, "TICK", 1e6)
    monkeypatch.setattr(progress, "columns", lambda: 80)
    return terminal


@pytest.fixture
def line(now, monkeypatch):
    line = Line(now)
    monkeypatch.setattr(progress, "LINE", line)
    return line


# The clock


def test_no_second_counts_twice_and_none_is_lost(now):
    clock = Clock("starting", now)
    now.passes(3)
    with clock.counting("training"):
        now.passes(4)
        with clock.counting("testing"):
            now.passes(10)
        now.passes(1)
    with clock.counting("report"):
        now.passes(2)
    now.passes(5)
    assert clock.total() == 25
    assert clock.spent == dict(starting=8, training=5, testing=10, report=2)
    parts = ["25 s: 8 starting", "5 training", "10 testing", "2 report"]
    assert clock.summary() == parts


def test_what_an_error_leaves_open_is_closed_with_what_is_around_it(now):
    clock = Clock("starting", now)
    with clock.counting("training"):
        inner = clock.counting("testing")
        inner.__enter__()
        now.passes(1)
    now.passes(2)
    inner.__exit__(None, None, None)
    now.passes(4)
    assert clock.total() == 7
    assert clock.spent == dict(starting=6, training=0, testing=1)


@pytest.mark.parametrize(
    "seconds", [(0.44, 0.44, 0.44), (11.5, 2.5, 3.5), (0.2, 59.7, 0)]
)
def test_whole_seconds_add_up_to_the_whole(seconds, now):
    clock = Clock("starting", now)
    for name, length in zip("abc", seconds, strict=True):
        with clock.counting(name):
            now.passes(length)
    first, *others = clock.summary()
    whole, first = first.split(" s: ")
    parts = [float(part.split()[0]) for part in (first, *others)]
    assert sum(parts) == pytest.approx(float(whole)) and all(parts)


def test_a_rate_is_that_of_all_the_time_that_went_into_it(now):
    clock = Clock("starting", now)
    now.passes(30)
    with clock.counting("features"):
        clock.images["features"] += 100
        now.passes(15)
    with clock.counting("features"):
        clock.images["features"] += 100
        now.passes(5)
        assert clock.rate("features") == 10


# The line


def test_the_time_left_comes_first_and_runs_on_between_two_steps(line, now, terminal):
    with line.session(), line.phase("features", total=300) as shown:
        assert line.text(79).startswith("--:-- left  features   0%")
        now.passes(3)
        assert line.text(79).endswith("  3 s"), "something moves"
        now.passes(7)
        shown.advance(100)
        assert line.text(79).startswith("00:20 left  features  33%  |███")
        now.passes(5)
        assert line.text(79).startswith("00:15 left  features  33%")
        now.passes(50)
        assert line.text(79).startswith("00:00 left"), "never less"
        shown.advance(200)
        assert "100%" in line.text(79)


def test_a_run_that_goes_on_judges_by_its_own_steps(line, now, terminal):
    with line.session(), line.phase("training", total=100, done=50) as shown:
        now.passes(10)
        shown.advance(10)
        assert line.text(79).startswith("00:40 left  training  60%")


def test_within_something_longer_it_is_the_longers_time_that_is_left(
    line, now, terminal
):
    with line.session(), line.phase("epoch 1/2", total=100) as outer:
        now.passes(60)
        outer.advance(50)
        with line.phase("testing", total=10) as inner:
            now.passes(5)
            inner.advance(5)
            assert line.text(79).startswith("00:55 left  epoch 1/2, testing  50%")
        with line.phase("saving"):
            now.passes(2)
            assert line.text(79) == "00:53 left  epoch 1/2, saving ... 2 s"


WHATS = ["epoch 17/300", "reading /a" + 90 * "b", 30 * "雪"]


@pytest.mark.parametrize("columns", [200, 80, 60, 40, 30, 20, 10, 2])
@pytest.mark.parametrize("what", WHATS, ids=["short", "long", "wide"])
def test_it_never_wraps(columns, what, line, now, terminal, monkeypatch):
    monkeypatch.setattr(progress, "columns", lambda: columns)
    with line.session(), line.phase(what, total=1000) as shown:
        shown.advance(1, lambda: "loss 0.123, 45.6% right")
        now.passes(9000)
        shown.advance(1, lambda: "loss 0.123, 45.6% right")
        with line.phase(what):
            line.draw()
    widest = max(map(progress.disp_len, re.split("[\r\n]", terminal.getvalue())))
    assert widest < columns
    if columns >= 40:
        assert re.search(r"\d:\d\d:\d\d left  \S", terminal.getvalue())


def test_it_is_gone_in_the_end_and_prints_stand_above_it(line, now, terminal):
    with line.session():
        with line.phase("features", total=10) as shown:
            progress.print_past("a short word")
            now.passes(1)
            shown.advance(5)
            progress.print_past("another")
            now.passes(1)
            shown.advance(5)
        text.print_table(name="value")
    assert terminal.screen() == ["a short word", "another", "name  value", ""]
    assert "features  50%" in terminal.getvalue()


def test_a_detail_is_asked_for_only_when_it_is_drawn(line, now, terminal):
    asked = []
    with line.session(), line.phase("training", total=1000) as shown:
        for _ in range(1000):
            now.passes(0.01)
            shown.advance(1, lambda: asked.append(1) or "loss 1.5")
    assert 45 <= len(asked) <= 50, "five times a second"
    assert "loss 1.5" in terminal.getvalue()


def test_a_step_of_its_own_length_leaves_no_silence(line, terminal, monkeypatch):
    monkeypatch.setattr(progress, "TICK", 0.001)
    drawn = threading.Event()
    with line.session(), line.phase("compiling"):
        before = len(terminal.getvalue())

        def draw(room):
            drawn.set()
            return "compiling ... 5 s"

        monkeypatch.setattr(line, "text", draw)
        assert drawn.wait(10)
        ticker = line.ticker
    assert not ticker.is_alive(), "nothing is drawn after the end"
    assert "compiling ... 5 s" in terminal.getvalue()[before:]


@pytest.mark.parametrize("logged", [False, True])
def test_a_log_gets_a_line_for_what_begins_and_no_bar(
    logged, line, now, capsys, monkeypatch
):
    with line.session(logged=logged):
        with line.phase("features", total=2) as shown:
            now.passes(1)
            shown.advance(1)
        with line.phase("training", total=2), line.phase("testing"):
            pass
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out == "features\ntraining\n" * logged


def test_quiet_shows_nothing_but_counts(line, now, terminal):
    with line.session(quiet=True, logged=True), line.phase("features", total=2):
        now.passes(3)
        progress.print_past("a result")
    assert terminal.getvalue() == "a result\n"
    assert line.clock.total() == 3 and line.clock.spent["features"] == 3


def test_library_code_shows_nothing_outside_a_script(line, now, terminal):
    with line.phase("features", total=2) as shown:
        now.passes(3)
        shown.advance(1)
    assert terminal.getvalue() == ""


def test_only_the_first_of_several_processes_shows_it(line, terminal, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with line.session(), line.phase("features"):
        pass
    assert terminal.getvalue() == ""
    monkeypatch.setenv("RANK", "0")
    with line.session(), line.phase("features"):
        pass
    assert "features ..." in terminal.getvalue()


def test_a_terminal_that_closes_stops_no_work(line, now, terminal):
    with line.session(), line.phase("features", total=2) as shown:
        terminal.close()
        now.passes(1)
        shown.advance(1)
    assert shown.done == 1


def test_a_terminal_without_blocks_gets_a_bar_it_can_show(line, now, terminal):
    terminal.encoding = "ascii"
    with line.session(), line.phase("features", total=2) as shown:
        now.passes(1)
        shown.advance(1)
        assert "|##########          |" in line.text(79)


def test_each_batch_counts_once_with_all_its_images(line, now, terminal):
    data = ImageSet(torch.zeros(7, 1, 2, 2).byte(), torch.zeros(7).long(), ("a", "b"))
    with line.session():
        seen = [len(y) for _, y in progress.progress_over(Batches(data, 3), "features")]
        assert seen == [3, 3, 1] and line.clock.images["features"] == 7
    assert "features   0%" in terminal.getvalue()


def test_a_session_counts_from_where_the_script_began(line, now):
    line.begin("starting train.py")
    now.passes(4)
    line.hide()
    with line.session():
        now.passes(1)
        assert line.clock.total() == 5
    now.passes(7)
    with line.session():
        now.passes(2)
        assert line.clock.total() == 2, "another run of the same process"


def test_the_time_of_the_imports_counts_too():
    code = """
import sys, time; sys.argv = ["train.py"]
import going_modular.system.starting
time.sleep(0.3)
from going_modular.system.progress import LINE
with LINE.session(): print(LINE.clock.total())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert float(done.stdout) >= 0.3, done.stderr


# Tables


@pytest.mark.parametrize("cut", [False, True])
def test_long_values_of_a_table_go_on_below_at_their_column(cut, capsys):
    files = [f"runs/my photos: {'a' * 50}.png", f"{'b' * 50}.pkl", "c.pkl"]
    written = files if cut else ", ".join(files)
    text.print_table(name="short", written=written, nothing="")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "name     short" and lines[-1] == "nothing"
    assert max(map(len, lines)) <= 80
    begin, *rest = lines[1:-1]
    assert begin.startswith("written  runs/my ") and rest
    assert all(line.startswith(" " * 9) and line[9] != " " for line in rest)
    assert " ".join([begin[9:], *(r[9:] for r in rest)]) == ", ".join(files)
    if cut:
        assert begin.endswith("png,"), "a list is broken after a part"


def test_a_path_of_a_table_stays_whole(capsys):
    path = Path("/a folder" * 20) / "report.html"
    text.print_table(output=path, report=[path, "to open in a browser"])
    said = capsys.readouterr().out
    assert said == (f"output  {path}\nreport  {path},\n        to open in a browser\n")


# The end


@pytest.mark.parametrize("status", [0, 2])
def test_a_script_that_is_done_ends_at_once_with_its_status(status):
    """Once other functions of `atexit` have run, and with all that was printed."""
    code = f"""
import atexit, sys, threading
from going_modular.system.leaving import leave
class Slow:
    def __del__(self): sys.stdout.write("taken apart"); sys.stdout.flush()
slow = Slow()
atexit.register(lambda: print("cleaned"))
threading.Timer(0.1, lambda: print("thread done")).start()
print("printed")
leave({status})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == status
    assert done.stdout.split("\n") == ["printed", "thread done", "cleaned", ""]


def test_a_script_with_a_traceback_ends_as_pythons_do():
    code = "import going_modular.system.leaving\nraise ValueError('x')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1 and "ValueError: x" in done.stderr
