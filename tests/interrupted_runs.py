"""The training scripts in processes of their own: to be stopped, killed and compared.

A server imports the scripts' modules once and forks for each run. What a run does is
what `python train.py` does, without the seconds that importing takes.
"""

import multiprocessing
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from exactness import check_same
from tqdm import tqdm

from going_modular.checkpoint import read_checkpoint
from going_modular.system.files import LOCK
from going_modular.training.run_folder import CHECKPOINT

__all__ = [
    "COMPARED",
    "ROOT",
    "Ended",
    "Run",
    "Script",
    "check_equal",
    "check_tidy",
    "on_file_operation",
]

ROOT = Path(__file__).parents[1]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        "going_modular.training.run",
        "going_modular.transfer.fine_tuning",
        "matplotlib.backends.backend_agg",
        "pytest",  # since a fork looks at what started the tests
        "rich.progress",
        "sklearn.datasets",
    ]
)
COMPARED = ("model.safetensors", "results.pkl", "history.csv", "steps.jsonl")
COMPARED += ("settings.json", CHECKPOINT)


@dataclass
class Ended:
    """How a run ended: its exit status (minus a signal's number), and what it said."""

    status: int
    said: str
    complained: str

    def line(self) -> str:
        """The one line on stderr of a run that was refused or failed."""
        lines = self.complained.strip().splitlines()
        assert self.status == 2 and len(lines) == 1, (self.status, self.complained)
        return lines[0]


def play(script: Path, arguments: list[str], said, complained, prepare) -> None:
    """Be a run: what the forked process does."""
    for number, path in ((1, said), (2, complained)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    tqdm.set_lock(threading.RLock())  # its own would leak when the process is killed
    # As in a terminal, whose keys and whose closing are not ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):  # not on Windows
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.argv = [str(script), *arguments]
    if prepare is not None:
        prepare()
    runpy.run_path(str(script), run_name="__main__")


class Run:
    """A run that is under way."""

    def __init__(
        self,
        script: str,
        arguments: list,
        folder: Path,
        real: bool = False,
        prepare: Callable[[], object] | None = None,
    ):
        """Start it.

        Args:
            script, arguments: The command line.
            folder: Its output folder.
            real: Start `python` anew instead of forking.
            prepare: Called in the forked process first; it must be a module's function.
        """
        self.folder = folder
        self.before = self.lines()
        self.said, self.complained = (
            folder.with_name(f"{folder.name}.{name}") for name in ("stdout", "stderr")
        )
        command = [str(argument) for argument in arguments]
        if real:
            with open(self.said, "w") as out, open(self.complained, "w") as err:
                self.process = subprocess.Popen(
                    [sys.executable, ROOT / script, *command], stdout=out, stderr=err
                )
            self.status = self.process.poll
        else:
            self.process = CONTEXT.Process(
                target=play,
                args=(ROOT / script, command, self.said, self.complained, prepare),
            )
            self.process.start()
            self.status = lambda: self.process.exitcode

    def lines(self) -> int:
        """Lines that steps.jsonl holds now."""
        path = self.folder / "steps.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def reach(self, lines: int, seconds: float = 120) -> None:
        """Wait until so many steps are done, or the run has ended."""
        limit = time.monotonic() + seconds
        while self.lines() < lines and self.status() is None:
            assert time.monotonic() < limit, f"no line {lines} in {seconds} s"
            time.sleep(0.001)

    def send(self, number: int) -> None:
        if self.status() is None:
            os.kill(self.process.pid, number)

    def end(self, seconds: float = 120) -> Ended:
        """Wait for its end."""
        limit = time.monotonic() + seconds
        while self.status() is None:
            if time.monotonic() > limit:
                self.send(signal.SIGKILL)
                raise AssertionError(f"the run did not end in {seconds} s")
            time.sleep(0.005)
        complained = self.complained.read_text()
        return Ended(self.status(), self.said.read_text(), complained)


@dataclass
class Script:
    """A command line: the script, what decides its results, and what does not."""

    name: str
    flags: list
    options: list

    def start(self, folder: Path, *more, **how) -> Run:
        arguments = [*self.flags, *self.options, "--output", folder, *more]
        return Run(self.name, arguments, folder, **how)

    def resume(self, folder: Path, *more, **how) -> Run:
        arguments = [*self.options, "--output", folder, "--resume", *more]
        return Run(self.name, arguments, folder, **how)

    def go_on(self, folder: Path, **how) -> Ended:
        """Do what a user does whose run has died, until it is finished."""
        ended = self.resume(folder, **how).end()
        if "no checkpoint" in ended.complained:
            assert "start without --resume" in ended.line()
            ended = self.start(folder, **how).end()
        if "already has" in ended.complained:
            assert "add --overwrite" in ended.line()
            ended = self.start(folder, "--overwrite", **how).end()
        if "finished run" in ended.complained:
            assert "nothing to resume" in ended.line()
        else:
            assert ended.status == 0, ended.complained
        return ended


def check_equal(folder: Path, whole: Path, names=COMPARED) -> None:
    """Assert that a run's files are those of another, and nothing half is left.

    The checkpoint holds weights, the optimiser's state, averaged weights, random states
    and results.
    """
    for name in names:
        ours, theirs = (f / name for f in (folder, whole))
        if name == CHECKPOINT:
            check_same(*map(all_but_times, (ours, theirs)), name)
        else:
            assert ours.read_bytes() == theirs.read_bytes(), f"{name} differs"
    check_tidy(folder)
    assert not (folder / LOCK).exists()


def all_but_times(path: Path) -> dict:
    """What a checkpoint holds that does not depend on machine and hour."""
    state = read_checkpoint(path)
    del state["machine"], state["trainer"]["seconds"], state["trainer"]["waited"]
    return state


def check_tidy(folder: Path) -> None:
    """Assert that no half-written file is left."""
    assert list(folder.glob(".*.writing*")) == []


def count_operations(folder: Path, notes: Path, kill_at: int) -> None:
    """Note every file operation in a folder; be killed just before one of them."""
    log = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    count = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal count
        if event not in ("open", "os.rename", "os.remove"):
            return
        paths = [str(a) for a in arguments[:2] if isinstance(a, str | Path)]
        if not paths[0].startswith(str(folder)):
            return
        count += 1
        line = f"{event} {' '.join(Path(p).name for p in paths)}\n"
        line = re.sub(r"\.[0-9a-f]{16}\.writing", ".writing", line)  # a random word
        os.write(log, line.encode())
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def on_file_operation(folder: Path, notes: Path, kill_at: int = 0) -> Callable:
    """`prepare` for a run that notes its file operations and dies at one of them."""
    return partial(count_operations, folder, notes, kill_at)
