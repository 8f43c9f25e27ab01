"""The training scripts may be killed at any moment and go on byte for byte."""

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import types
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch

if os.name != "posix":
    pytest.skip("needs signals", allow_module_level=True)

from bomb import Bomb
from exactness import check_same
from interrupted_runs import (
    COMPARED,
    ROOT,
    Run,
    Script,
    check_equal,
    check_tidy,
    on_file_operation,
)
from matplotlib.figure import Figure

import train
import train_transferlearning
from going_modular import checkpoint as checkpoint_module
from going_modular import engine
from going_modular.checkpoint import load_checkpoint, load_model, previous
from going_modular.data_setup import Batches, ImageSet
from going_modular.datasets.sources import load_digits
from going_modular.engine import evaluate
from going_modular.training import run as training_run
from going_modular.training import watchers as run_log
from going_modular.training.run_folder import CHECKPOINT, FILES

SLOW = "SLOW" in os.environ
SIZES = "--embedding-dim 12 --depth 1 --num-heads 2 --mlp-size 20 --dropout 0.1"
FLAGS = f"--data digits {SIZES} --epochs 2 --batch-size 100 --average 0.9"
FLAGS = [*FLAGS.split(), "--precision", "fp32", "--compile", "no"]
OPTIONS = "--save-every 3 --log-steps --quiet".split()
TRAIN = Script("train.py", FLAGS, OPTIONS)
STEPS = 30  # of the run: 1,438 images in batches of 100, twice


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of a run that nothing interrupted; beside it, what it did to files."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    watch = on_file_operation(folder, folder.with_name("operations"))
    ended = TRAIN.start(folder, prepare=watch).end()
    assert ended.status == 0, ended.complained
    return folder


@pytest.fixture(scope="module")
def half(tmp_path_factory) -> Path:
    """The folder of a run that was stopped after 20 steps."""
    folder = tmp_path_factory.mktemp("runs") / "half"
    run = TRAIN.start(folder, prepare=partial(hold, 20, folder))
    wait_for_hold(folder, run)
    run.send(signal.SIGTERM)
    folder.with_name("go").touch()
    assert run.end().status == 143
    return folder


@pytest.fixture
def stopped(half, tmp_path) -> Path:
    """A copy of that folder."""
    return shutil.copytree(half, tmp_path / "stopped")


@pytest.fixture
def plain_figures(monkeypatch):
    """Draw nothing: it is what takes most of such a short run's time."""
    for name in ("plot_loss_curves", "plot_confusion_matrix"):
        monkeypatch.setattr(training_run, name, lambda *_: Figure(figsize=(1, 1)))


def call(capsys, *argv) -> tuple[int, str, str]:
    """Run train.py within this process."""
    capsys.readouterr()
    status = train.main([str(argument) for argument in argv])
    said = capsys.readouterr()
    return status, said.out, said.err


def refused(capsys, *argv) -> str:
    """Its one line of complaint."""
    status, _, complained = call(capsys, *argv)
    lines = complained.strip().splitlines()
    assert status == 2 and len(lines) == 1, (status, complained)
    return lines[0]


def resume(capsys, folder: Path, *more) -> str:
    """Go on within this process, and return what is said."""
    status, said, complained = call(
        capsys, *OPTIONS, "--output", folder, "--resume", *more
    )
    assert (status, complained) == (0, "")
    return said


def before_step(monkeypatch, number: int, action) -> None:
    """Do something just before a step of the run within this process."""
    step, count = engine.train_step, 0

    def counted(*args, **kwargs):
        nonlocal count
        count += 1
        if count == number:
            action()
        return step(*args, **kwargs)

    monkeypatch.setattr(engine, "train_step", counted)


def hold(number: int, folder: Path, module=engine, name="train_step"):
    """Let a run wait before the nth call of a function until it may go on."""
    function, count = getattr(module, name), 0

    def held(*args, **kwargs):
        nonlocal count
        count += 1
        if count == number:
            folder.with_name("waiting").touch()
            while not folder.with_name("go").exists():
                time.sleep(0.01)
        return function(*args, **kwargs)

    setattr(module, name, held)


def hold_last_files(folder: Path) -> None:
    """Let a run wait before it writes what a finished run consists of."""
    hold(1, folder, training_run, "save_model")


def wait_for_hold(folder: Path, run: Run) -> None:
    while not folder.with_name("waiting").exists() and run.status() is None:
        time.sleep(0.01)


# Killed


def kill_again_and_again(
    script: Script, folder: Path, kills: int, steps: int, seed: int, **how
) -> None:
    """Kill a run at random moments, then let it go on to its end."""
    draw = random.Random(seed)
    run = script.start(folder, **how)
    for number in range(kills):
        done = run.before
        run.reach(draw.randint(done + 1, max(done + 1, steps)))
        time.sleep(draw.uniform(0, 0.01))  # within a step, a test or a file
        run.send(signal.SIGKILL)
        status = run.end().status
        if status == 0 and number:  # it was faster, this time
            break
        assert status == -signal.SIGKILL
        if number < kills - 1:
            saved = any(folder.glob("checkpoint*.pt"))
            run = (script.resume if saved else script.start)(folder, **how)
    script.go_on(folder, **how)


@pytest.mark.parametrize("seed", range(7 if SLOW else 1))
def test_a_real_train_py_killed_several_times_ends_with_the_same_bytes(
    seed, whole, tmp_path
):
    kills = 3 if SLOW else 2
    kill_again_and_again(TRAIN, tmp_path / "run", kills, STEPS, seed, real=True)
    check_equal(tmp_path / "run", whole)


@pytest.mark.parametrize("seed", range(40 if SLOW else 1))
def test_a_run_killed_at_random_moments_ends_with_the_same_bytes(seed, whole, tmp_path):
    kill_again_and_again(TRAIN, tmp_path / "run", 3, STEPS, seed + 100)
    check_equal(tmp_path / "run", whole)


SEED = int(os.environ.get("SEED", 0))  # other moments: SEED=1 make test-slow


def saving(folder) -> bool:
    """Whether a checkpoint is half written."""
    return any(folder.glob(".checkpoint.*.writing.pt"))


@dataclass
class Moment:
    """When a run is killed; the numbers are random, from 0 to 1."""

    when: str
    step: float
    delay: float

    def wait(self, run: Run, share: float = 1) -> None:
        """Return when it has come, or the run has ended.

        Args:
            run: Is under way.
            share: Of the delay while a checkpoint is written.
        """
        step = 1 + int(self.step * STEPS)
        if self.when == "as it begins":
            while not run.folder.exists() and run.status() is None:
                pass
            time.sleep(0.01 * self.delay)
        elif self.when == "in a step":
            run.reach(step)
            time.sleep(0.004 * self.delay)
        elif self.when == "as it saves":
            run.reach(max(1, step - 3))  # it saves after each third
            while not saving(run.folder) and run.status() is None:
                pass
            time.sleep(0.003 * self.delay * share)
        else:
            run.reach(STEPS)
            time.sleep(0.4 * self.delay)

    def kill(self, folder: Path, real: bool) -> str:
        """Kill a new run then, and say what it has left.

        As a run does not wait to be killed, another one is where it was too late,
        and sooner.
        """
        for number in range(50):
            run = TRAIN.start(folder, real=real)
            self.wait(run, share=0.8**number)
            run.send(signal.SIGKILL)
            status = run.end().status
            hit = self.when != "as it saves" or saving(folder)
            if status == -signal.SIGKILL and hit:
                left = {p.name: p.stat().st_size for p in folder.glob("*")}
                return f"killed {self.when}, after step {run.lines()}, leaving {left}"
            assert status in (0, -signal.SIGKILL), status
            shutil.rmtree(folder)
        raise AssertionError(f"never killed {self.when}")


WHEN = ("as it begins", "in a step", "as it saves", "as it ends")


@pytest.mark.parametrize("number", range(20 if SLOW else 4))
def test_a_run_killed_at_a_random_moment_ends_with_the_same_bits(
    number, whole, tmp_path
):
    """Weights, averaged weights, the optimiser's state, results, logs."""
    draw = random.Random(f"seed {SEED}, kill {number}")
    moment = Moment(WHEN[number % 4], draw.random(), draw.random())
    folder = tmp_path / "run"
    print(f"SEED={SEED}, kill {number}:", moment.kill(folder, real=SLOW))
    TRAIN.go_on(folder)
    check_equal(folder, whole)


# What a run is killed just before, and at which time that it happens.
MOMENTS = {
    "it has begun": ("open .settings.writing.json r+", 1),
    "a checkpoint is whole": ("os.rename .checkpoint.writing.pt checkpoint.pt", 3),
    "the results of an epoch are there": ("os.rename .history.writing.csv", 1),
    "the weights are there": ("open .loss_curves.writing.png", 1),
    "the report is there": ("os.rename .report.writing.html", 1),
    "its last file is there": ("os.rename .confusion_matrix.writing.png", 1),
}


MOST = 160  # operations on files of a run, or somewhat more


@pytest.mark.parametrize("moment", range(1, MOST + 1) if SLOW else MOMENTS)
def test_a_run_killed_before_any_operation_on_a_file_ends_with_the_same_bytes(
    moment, whole, tmp_path
):
    operations = whole.with_name("operations").read_text().splitlines()
    assert len(operations) <= MOST
    if moment in MOMENTS:
        start, number = MOMENTS[moment]
        places = [i for i, x in enumerate(operations, 1) if x.startswith(start)]
        moment = places[number - 1]
    elif moment > len(operations):
        pytest.skip("there are not that many operations")
    folder, notes = tmp_path / "run", tmp_path / "notes"
    watch = on_file_operation(folder, notes, kill_at=moment)
    assert TRAIN.start(folder, prepare=watch).end().status == -signal.SIGKILL
    assert notes.read_text().splitlines() == [
        line.replace("whole", "run") for line in operations[:moment]
    ]
    TRAIN.go_on(folder)
    check_equal(folder, whole)


@pytest.mark.skipif(not SLOW or not shutil.which("c++"), reason="compiling is slow")
def test_a_compiled_run_killed_at_any_step_ends_with_the_same_bytes(tmp_path):
    """Also if the first batch that the compiler sees is the short one."""
    options = [*OPTIONS[2:], "--save-every", "14"]
    script = Script("train.py", [*FLAGS[:-1], "yes"], options)
    folder = tmp_path / "killed"
    assert script.start(tmp_path / "whole", real=True).end(600).status == 0
    run = script.start(folder, real=True)
    run.reach(14, 600)
    while not (folder / CHECKPOINT).exists() and run.status() is None:
        pass  # a step's line comes before its checkpoint
    run.send(signal.SIGKILL)
    assert run.end().status == -signal.SIGKILL
    ended = script.resume(folder, real=True).end(600)
    assert ended.status == 0 and "going on after epoch 0, step 14" in ended.said
    check_equal(folder, tmp_path / "whole")


@pytest.mark.parametrize("mode", ["full", "linear"] if SLOW else ["full"])
def test_fine_tuning_killed_ends_with_the_same_bytes(mode, whole, tmp_path):
    flags = f"--data digits --shots 8 --mode {mode} --epochs 4 --augment none --average"
    flags = [*flags.split(), 0.8, "--precision", "fp32", "--compile", "no"]
    flags += ["--weights", whole / "model.safetensors"]
    script = Script("train_transferlearning.py", flags, OPTIONS)
    folders = [tmp_path / name for name in ("whole", "killed")]
    assert script.start(folders[0]).end().status == 0
    steps = len((folders[0] / "steps.jsonl").read_text().splitlines())
    kill_again_and_again(script, folders[1], 5 if SLOW else 1, steps, seed=0, real=SLOW)
    check_equal(*reversed(folders))


# Stopped by a signal


@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
@pytest.mark.parametrize("step", [2, 15, 17, 30])
def test_a_signal_lets_the_step_end_and_the_checkpoint_holds_it(
    step, number, status, whole, tmp_path, plain_figures, capsys
):
    folder = tmp_path / "run"
    run = TRAIN.start(folder, prepare=partial(hold, step, folder))
    wait_for_hold(folder, run)
    run.send(number)
    folder.with_name("go").touch()
    ended = run.end()
    assert ended.status == status
    (line,) = ended.complained.strip().splitlines()
    assert line == (
        "train.py: stopped; every step so far is kept: go on with --output "
        f"{folder} --resume"
    )
    state = load_checkpoint(folder / CHECKPOINT)["trainer"]
    assert 15 * state["epoch"] + state["step"] == run.lines() == step
    assert state["sums"]["seen"] == min(100 * state["step"], 1438)
    check_tidy(folder)
    said = resume(capsys, folder)
    assert f"going on after epoch {state['epoch']}, step {state['step']}" in said
    check_equal(folder, whole)


def test_a_second_ctrl_c_stops_at_once(whole, tmp_path):
    folder = tmp_path / "run"
    run = TRAIN.start(folder, prepare=partial(hold, 5, folder))
    wait_for_hold(folder, run)
    before = (folder / CHECKPOINT).read_bytes()
    run.send(signal.SIGINT)
    time.sleep(0.2)
    assert run.status() is None, "the first one waits for the step"
    began = time.monotonic()
    run.send(signal.SIGINT)
    ended = run.end()
    assert time.monotonic() - began < 10
    assert ended.status == 130
    (line,) = ended.complained.strip().splitlines()
    assert "stopped at once; what the last checkpoint holds is kept" in line
    assert (folder / CHECKPOINT).read_bytes() == before
    TRAIN.go_on(folder)
    check_equal(folder, whole)


def live_on(terminal: str, folder: Path, ignore: bool) -> None:
    """Be the program in front of a terminal of its own, held before its second step."""
    if ignore:  # as after nohup, but with its output still on the terminal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.setsid()
    number = os.open(terminal, os.O_RDWR)  # which makes it this session's
    for stream in (0, 1, 2):
        os.dup2(number, stream)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
    hold(2, folder)


@pytest.fixture
def terminal():
    """Our end of a terminal, and the name of the other."""
    mine, other = os.openpty()
    yield mine, os.ttyname(other), other
    for number in (mine, other):
        with suppress(OSError):
            os.close(number)


@pytest.mark.parametrize("ignore", [False, True])
def test_a_run_whose_terminal_closes_is_saved_or_goes_on(
    ignore, terminal, whole, tmp_path, plain_figures, capsys
):
    """Where it prints and draws its bar, every write then fails."""
    mine, name, other = terminal
    folder = tmp_path / "run"
    loud = replace(TRAIN, options=[o for o in OPTIONS if o != "--quiet"])
    run = loud.start(folder, prepare=partial(live_on, name, folder, ignore))
    wait_for_hold(folder, run)
    said = os.read(mine, 10**6).decode()
    assert "embedding dim" in said, "it prints there"
    os.close(other)
    os.close(mine)  # the system sends SIGHUP
    folder.with_name("go").touch()
    ended = run.end()
    assert ended.status == (0 if ignore else 129)
    check_tidy(folder)
    if not ignore:
        state = load_checkpoint(folder / CHECKPOINT)["trainer"]
        assert state["step"] == run.lines() == 2
        assert "going on after epoch 0, step 2" in resume(capsys, folder)
    check_equal(folder, whole)


# Damaged checkpoints


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "flipped":
        half = len(content) // 2
        flipped = bytes([content[half] ^ 1])
        path.write_bytes(content[:half] + flipped + content[half + 1 :])
    else:
        path.write_bytes(content[: {"empty": 0, "short": len(content) - 1}[how]])


@pytest.mark.parametrize("how", ["gone", "empty", "short", "flipped"])
def test_a_damaged_checkpoint_costs_a_few_steps_and_no_byte(
    how, stopped, whole, plain_figures, capsys
):
    damage(stopped / CHECKPOINT, how)
    said = resume(capsys, stopped)
    why = "is not there" if how == "gone" else "is damaged"
    assert f"checkpoint.pt {why}" in said
    assert "going on from checkpoint.previous.pt" in said
    check_equal(stopped, whole)


def test_two_damaged_checkpoints_get_one_line_and_nothing_is_touched(stopped, capsys):
    damage(stopped / CHECKPOINT, "short")
    damage(previous(stopped / CHECKPOINT), "empty")
    before = {path.name: path.read_bytes() for path in stopped.iterdir()}
    line = refused(capsys, "--output", stopped, "--resume")
    assert line.startswith(f"train.py: no checkpoint in {stopped} can be read")
    assert before == {path.name: path.read_bytes() for path in stopped.iterdir()}


@pytest.mark.parametrize("how", ["gone", "empty", "short", "flipped"])
@pytest.mark.parametrize("name", ["settings.json", "results.pkl", "history.csv"])
def test_a_damaged_file_beside_the_checkpoint_costs_nothing(
    name, how, stopped, whole, plain_figures, capsys
):
    """All that a run goes on from is in its checkpoint; the rest is written anew."""
    damage(stopped / name, how)
    resume(capsys, stopped)
    check_equal(stopped, whole)


@pytest.mark.parametrize("kept", [0, 7, 19.5])
def test_lines_of_steps_that_were_lost_stay_lost_and_the_rest_follow(
    kept, stopped, whole, plain_figures, capsys
):
    """As after a power cut: the last lines are not there, and one is half there."""
    path = stopped / "steps.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    assert len(lines) == 20
    count = int(kept)
    half = lines[count][:30] if kept > count else ""
    path.write_text("".join(lines[:count]) + half)
    resume(capsys, stopped)
    expected = (whole / "steps.jsonl").read_text().splitlines(keepends=True)
    assert path.read_text() == "".join(expected[:count] + expected[20:])
    check_equal(stopped, whole, [name for name in COMPARED if name != "steps.jsonl"])


def test_zeros_at_the_end_of_the_steps_are_dropped(
    stopped, whole, plain_figures, capsys
):
    """Some file systems leave them after a power cut."""
    with open(stopped / "steps.jsonl", "ab") as file:
        file.write(bytes(500))
    resume(capsys, stopped)
    check_equal(stopped, whole)


@pytest.mark.parametrize(
    ("flags", "fields"),
    [
        ("--epochs 3", "epochs from 2 to 3"),
        ("--average 0 --seed 7", "average from 0.9 to 0.0, seed from 0 to 7"),
        ("--embedding-dim 16", "embedding_dim from 12 to 16"),
        ("--data built-in", "data from 'digits' to 'built-in'"),
        ("--variant B/2", "depth from 1 to 12, num_heads from 2 to 12"),
        ("--variant B/2 --depth 1", "num_heads from 2 to 12"),
        ("--variant Z/2", "unknown variant 'Z/2'"),
        ("--accumulate 2 --patience 1", "accumulate from 1 to 2, patience from 0 to 1"),
    ],
)
def test_another_configuration_is_refused_with_the_fields_that_differ(
    flags, fields, stopped, capsys
):
    before = {path.name: path.read_bytes() for path in stopped.iterdir()}
    line = refused(capsys, "--output", stopped, "--resume", *flags.split())
    for field in fields.split(", "):
        assert field in line
    assert before == {path.name: path.read_bytes() for path in stopped.iterdir()}


@pytest.mark.parametrize("more", [[], "--precision auto --compile auto".split()])
def test_the_same_configuration_given_again_is_no_other(
    more, stopped, whole, plain_figures, capsys
):
    """Also where "auto" was given, and has been decided since."""
    resume(capsys, stopped, *FLAGS, *more)
    check_equal(stopped, whole)


ANOTHER = "is of another script, train.py or train_transferlearning.py, or of another"


def spoil(state: dict, *place: str, by: object = None) -> dict:
    """Take an entry out of a nested state, or put something in its place."""
    *outer, last = place
    within = state
    for name in outer:
        within = within[name]
    if by is None:
        del within[last]
    else:
        within[last] = by
    return state


SPOILED = {
    "older": lambda s: {"settings": s["settings"], "model": s["trainer"]["model"]},
    "foreign": lambda s: {"state_dict": s["trainer"]["model"]},
    "no rate": lambda s: spoil(s, "trainer", "rate"),
    "no schedule": lambda s: spoil(s, "trainer", "schedule"),
    "no weight": lambda s: spoil(s, "trainer", "model", "head.weight"),
    "a weight of another shape": lambda s: spoil(
        s, "trainer", "model", "head.weight", by=torch.ones(2, 3)
    ),
    "a trainer that is a number": lambda s: spoil(s, "trainer", by=5),
    "no setting": lambda s: spoil(s, "settings", "patience"),
    "a setting of another kind": lambda s: spoil(s, "settings", "depth", by="deep"),
    "settings that are a list": lambda s: spoil(s, "settings", by=[1, 2]),
    "no device": lambda s: spoil(s, "machine", "device"),
    "a machine that is a number": lambda s: spoil(s, "machine", by=5),
    "no labels": lambda s: spoil(s, "data", "check sum of labels"),
    "random numbers of another kind": lambda s: spoil(
        s, "trainer", "random_state", by=torch.zeros(3)
    ),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_checkpoint_of_another_kind_gets_one_line(how, stopped, capsys):
    state = SPOILED[how](load_checkpoint(stopped / CHECKPOINT))
    for path in (stopped / CHECKPOINT, previous(stopped / CHECKPOINT)):
        torch.save(state, path)
    line = refused(capsys, *OPTIONS, "--output", stopped, "--resume")
    known = "depth" if how == "a setting of another kind" else ANOTHER
    assert known in line


def test_a_checkpoint_of_the_other_script_gets_one_line(stopped, capsys):
    argv = ["--output", str(stopped), "--resume"]
    assert train_transferlearning.main(argv) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("train_transferlearning.py: the checkpoint in")
    assert ANOTHER in line


def test_code_in_a_checkpoint_is_never_run(stopped, whole, plain_figures, capsys):
    bomb = Bomb(stopped / "ran")
    torch.save({"settings": {}, "trainer": bomb}, stopped / CHECKPOINT)
    resume(capsys, stopped)
    assert not (stopped / "ran").exists()
    check_equal(stopped, whole)


# After the last step


LAST = {
    "weights": (training_run, "save_model"),
    "curves": (training_run, "plot_loss_curves"),
    "confusion matrix": (training_run, "plot_confusion_matrix"),
    "report": (training_run, "write_report"),
    "results": (training_run, "write_results"),
}


@pytest.mark.parametrize("file", LAST)
def test_killed_after_the_last_epoch_the_files_are_written_on_resuming(
    file, stopped, whole, plain_figures, monkeypatch, capsys
):
    def die(*args, **kwargs):
        raise InterruptedError("as kill -9 does")

    with monkeypatch.context() as patch:
        patch.setattr(*LAST[file], die)
        argv = [*OPTIONS, "--output", stopped, "--resume"]
        assert call(capsys, *argv)[0] == 2
    assert "going on after epoch 2, step 0" in resume(capsys, stopped)
    check_equal(stopped, whole)


def test_resume_and_overwrite_together_lose_nothing(
    stopped, whole, plain_figures, capsys
):
    before = load_checkpoint(stopped / CHECKPOINT)["trainer"]
    said = resume(capsys, stopped, "--overwrite")
    assert f"going on after epoch {before['epoch']}, step {before['step']}" in said
    check_equal(stopped, whole)
    before = {name: (stopped / name).read_bytes() for name in FILES}
    line = refused(capsys, "--output", stopped, "--resume", "--overwrite")
    assert "nothing to resume" in line
    assert before == {name: (stopped / name).read_bytes() for name in FILES}


@pytest.mark.parametrize("flag", ["--resume", "--overwrite"])
@pytest.mark.parametrize("when", [partial(hold, 1), hold_last_files])
def test_two_runs_in_one_folder_at_once_are_refused(
    when, flag, stopped, whole, plain_figures, capsys
):
    """While the first one trains, and while it writes its last files."""
    run = TRAIN.resume(stopped, prepare=partial(when, folder=stopped))
    try:
        wait_for_hold(stopped, run)
        before = {path.name: path.read_bytes() for path in stopped.iterdir()}
        flags = [] if flag == "--resume" else FLAGS
        line = refused(capsys, *flags, *OPTIONS, "--output", stopped, flag)
    finally:
        run.send(signal.SIGKILL)
        run.end()
    assert "another run" in line and str(stopped) in line
    assert before == {path.name: path.read_bytes() for path in stopped.iterdir()}
    resume(capsys, stopped)  # what held the folder went with the process
    check_equal(stopped, whole)


def test_a_run_that_ended_while_another_was_loading_is_not_overwritten(
    whole, tmp_path, monkeypatch, capsys
):
    """Both have found the folder free."""
    folder = tmp_path / "run"

    def load(*args):
        shutil.copytree(whole, folder)
        return dict(zip(("train", "test"), load_digits(0), strict=True))

    monkeypatch.setattr(train, "load_data", load)
    line = refused(capsys, *FLAGS, *OPTIONS, "--output", folder)
    assert f"{folder} holds a finished run" in line and "add --overwrite" in line
    assert sorted(os.listdir(folder)) == sorted(os.listdir(whole))
    for path in whole.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_a_run_that_goes_on_with_other_threads_says_that_bits_may_differ(
    stopped, monkeypatch, plain_figures, capsys
):
    """Sums in another order are rounded otherwise."""
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 1)
    said = resume(capsys, stopped)
    assert f"threads {threads} before, {threads + 1} now" in said
    assert "last bits" in said


def inverted(data: ImageSet) -> ImageSet:
    return replace(data, images=255 - data.images)


def renamed(data: ImageSet) -> ImageSet:
    return replace(data, class_names=(*data.class_names[:-1], "ten"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data.subset(torch.arange(1398)), "images: 1,438, now 1,398"),
        (inverted, "check sum of pixels: "),
        (renamed, "check sum of labels: "),
    ],
)
def test_other_images_than_the_run_began_with_are_noticed(
    change, said, stopped, monkeypatch, capsys, plain_figures
):
    """Somebody removed photos, brought others, or named a folder anew."""
    train_set, test_set = load_digits(0)
    changed = {"train": change(train_set), "test": test_set}
    monkeypatch.setattr(train, "load_data", lambda *_: changed)
    line = refused(capsys, *OPTIONS, "--output", stopped, "--resume")
    assert "the images are not those that the run" in line and said in line


def test_ctrl_c_before_anything_is_saved_promises_nothing(
    tmp_path, monkeypatch, capsys
):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "load_data", interrupt)
    folder = tmp_path / "run"
    status, _, complained = call(capsys, *FLAGS, "--output", folder)
    assert status == 130
    assert complained.strip() == "train.py: stopped at once; nothing was saved yet"
    assert not folder.exists()


# The same bytes, and what is in them


def test_the_same_seed_gives_the_same_bytes_however_it_is_saved_and_logged(
    whole, tmp_path, plain_figures, capsys
):
    folder = tmp_path / "run"
    assert call(capsys, *FLAGS, "--output", folder)[0] == 0
    names = ("model.safetensors", "results.pkl", "history.csv", "settings.json")
    check_equal(folder, whole, names)
    assert not (folder / "steps.jsonl").exists()
    ours, theirs = (load_checkpoint(f / CHECKPOINT) for f in (folder, whole))
    for name in ("seconds", "waited"):
        del ours["trainer"][name], theirs["trainer"][name]
    check_same(ours, theirs)


def test_the_averaged_weights_are_those_that_are_kept(whole):
    model, _ = load_model(whole / "model.safetensors")
    results = pd.read_pickle(whole / "results.pkl")
    loss, accuracy = evaluate(model, Batches(load_digits()[1], 500))
    last = results.iloc[-1]
    assert (accuracy, loss) == (last["test_acc"], last["test_loss"])
    state = load_checkpoint(whole / CHECKPOINT)["trainer"]
    weights = dict(model.state_dict())
    averaged = {
        name.removeprefix("module."): w
        for name, w in state["averaged"].items()
        if name.startswith("module.")
    }
    check_same(weights, averaged)
    assert not torch.equal(weights["head.weight"], state["model"]["head.weight"])


def test_logs_hold_each_epoch_and_each_step_once(whole):
    history = pd.read_csv(whole / "history.csv")
    assert history.pop("epoch").tolist() == [1, 2]
    results = pd.read_pickle(whole / "results.pkl")
    assert history.to_dict("list") == results.to_dict("list")
    steps = pd.read_json(whole / "steps.jsonl", lines=True)
    assert steps["step"].tolist() == list(range(1, STEPS + 1))
    assert steps["epoch"].tolist() == [1] * 15 + [2] * 15
    mean = (steps["loss"][:14].sum() * 100 + steps["loss"][14] * 38) / 1438
    assert mean == pytest.approx(history["train_loss"][0], abs=1e-12)


def test_an_early_stop_is_in_results_and_summary_and_survives_a_resume(
    tmp_path, plain_figures, monkeypatch, capsys
):
    flags = "--epochs 9 --patience 2 --batch-size 500"
    flags += " --learning-rate 1e-300"  # it moves nothing
    argv = [*FLAGS, *flags.split(), *OPTIONS, "--output"]
    status, said, _ = call(capsys, *argv, tmp_path / "whole")
    assert status == 0
    results = pd.read_pickle(tmp_path / "whole" / "results.pkl")
    assert len(results) == 3 and results["test_acc"].nunique() == 1
    assert "stopped early: no better test accuracy for 2 epochs" in said
    percent = f"{100 * results['test_acc'][0]:.2f} %"
    summary = f"{percent} after the last epoch (best {percent} after epoch 1)"
    assert summary in said
    folder = tmp_path / "stopped"

    def stop():
        signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        before_step(patch, 8, stop)
        assert call(capsys, *argv, folder)[0] == 143
    said = resume(capsys, folder)
    assert "stopped early: no better test accuracy for 2 epochs" in said
    check_equal(folder, tmp_path / "whole")
    for name in ("confusion_matrix.png", "model.safetensors"):
        (folder / name).unlink()
    assert "stopped early" in resume(capsys, folder)
    check_equal(folder, tmp_path / "whole")


class Curves:
    """Stands in for TensorBoard's writer; reading drops what a dead run left."""

    points: list = []

    def __init__(self, folder, purge_step):
        Curves.points = [p for p in self.points if p[1] < purge_step]

    def add_scalar(self, name, value, step):
        self.points.append((name, step, value))

    def flush(self):
        pass


@pytest.mark.parametrize("saves", [2, 5, 6, 11])
def test_curves_for_tensorboard_are_neither_doubled_nor_missing(
    saves, whole, tmp_path, plain_figures, monkeypatch, capsys
):
    """Killed before a checkpoint is saved, the sixth that of the first epoch."""
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Curves
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Curves, "points", [])
    folder = tmp_path / "run"
    save, count = training_run.save_checkpoint, 0

    def killed(*args):
        nonlocal count
        count += 1
        if count == saves:
            raise InterruptedError("as kill -9 does")
        save(*args)

    with monkeypatch.context() as patch:
        patch.setattr(training_run, "save_checkpoint", killed)
        argv = [*OPTIONS, "--tensorboard", "--output", folder]
        assert call(capsys, *FLAGS, *argv)[0] == 2
    resume(capsys, folder, "--tensorboard")
    check_equal(folder, whole)
    places = [(name, step) for name, step, _ in Curves.points]
    assert len(places) == len(set(places)) == 2 * 5
    for epoch, row in pd.read_pickle(folder / "results.pkl").iterrows():
        for column, value in row.items():
            name = "/".join(reversed(column.split("_")))
            assert (name, 15 * (epoch + 1), value) in Curves.points


# A loss that is no number


@pytest.mark.parametrize("step", [2, 11, 15, 21])
def test_a_loss_that_is_no_number_leaves_a_checkpoint_from_before(
    step, whole, tmp_path, plain_figures, monkeypatch, capsys
):
    folder = tmp_path / "run"
    take = engine.train_step
    count = 0

    def spoiled(model, images, *args, **kwargs):
        nonlocal count
        count += 1
        return take(
            model, images * (torch.nan if count == step else 1), *args, **kwargs
        )

    with monkeypatch.context() as patch:
        patch.setattr(engine, "train_step", spoiled)
        line = refused(capsys, *FLAGS, *OPTIONS, "--output", folder)
    epoch, place = divmod(step - 1, 15)
    where = f"epoch {epoch + 1}: loss became nan at step {place + 1} of the epoch"
    assert where in line and "learning rate" in line
    assert not (folder / "model.safetensors").exists()
    if step > 3:
        state = load_checkpoint(folder / CHECKPOINT)["trainer"]
        assert 15 * state["epoch"] + state["step"] == (step - 1) // 3 * 3
        resume(capsys, folder)
    else:
        assert "no checkpoint" in refused(capsys, "--output", folder, "--resume")
        status = call(capsys, *FLAGS, *OPTIONS, "--output", folder)[0]
        assert status == 0
    check_equal(folder, whole)


# A disk that is full, or gone


class Disk:
    """A small file system of its own."""

    def __init__(self, folder: Path):
        self.folder, self.filler = folder, folder / "filler"

    def resize(self, size: str) -> None:
        self.remount(f"size={size}")

    def remount(self, option: str) -> None:
        subprocess.run(
            ["mount", "-o", f"remount,{option}", str(self.folder)], check=True
        )

    def fill(self) -> None:
        with suppress(OSError), open(self.filler, "wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass

    def free(self) -> None:
        self.filler.unlink()


@contextmanager
def mounted(folder: Path, size: str):
    """Mount it, where this is allowed."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("may not mount a small file system")
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path):
    with mounted(tmp_path / "disk", "4m") as disk:
        yield disk


def finish(capsys, folder: Path, whole: Path) -> None:
    """Go on with a run whose disk has room again; its bytes are the same."""
    argv = [*OPTIONS, "--output", folder]
    if any(p.exists() for p in (folder / CHECKPOINT, previous(folder / CHECKPOINT))):
        resume(capsys, folder)
    else:
        taken = any((folder / name).exists() for name in FILES)
        more = ["--overwrite"] if taken else []
        assert call(capsys, *FLAGS, *argv, *more)[0] == 0
    check_equal(folder, whole)


def check_whole_files(folder: Path) -> None:
    """Assert that each file that is there can be read to its end."""
    check_tidy(folder)
    for path in (folder / CHECKPOINT, previous(folder / CHECKPOINT)):
        if path.exists():
            checkpoint_module.read_checkpoint(path)
    if (folder / "results.pkl").exists():
        pd.read_pickle(folder / "results.pkl")
    if (folder / "history.csv").exists():
        assert (folder / "history.csv").read_text().endswith("\n")
    if (folder / "model.safetensors").exists():
        load_model(folder / "model.safetensors")


# Of the first checkpoint, a later one, the results.
ROOM = (12, 40, 80, 140, 200) if not SLOW else range(4, 260, 4)


@pytest.mark.parametrize("kilobytes", ROOM)
def test_a_full_disk_gets_one_line_and_the_run_goes_on_once_there_is_room(
    kilobytes, whole, tmp_path, plain_figures, capsys
):
    with mounted(tmp_path / "disk", f"{kilobytes}k") as disk:
        folder = disk.folder / "run"
        status, _, complained = call(capsys, *FLAGS, *OPTIONS, "--output", folder)
        if status == 0:
            assert SLOW and kilobytes > 200
        else:
            (line,) = complained.strip().splitlines()
            assert status == 2 and "No space left on device" in line
            if folder.exists():
                check_whole_files(folder)
        disk.resize("4m")
        if status != 0:
            finish(capsys, folder, whole)


# What comes just before each file is written.
FILLED = {
    "checkpoint.pt": (training_run, "save_checkpoint"),
    "results.pkl": (run_log, "write_results"),
    "history.csv": (run_log, "write_csv"),
    "model.safetensors": (training_run, "save_model"),
    "loss_curves.png": (training_run, "plot_loss_curves"),
    "report.html": (training_run, "plot_confusion_matrix"),
    "confusion_matrix.png": (training_run, "write_report"),
}


@pytest.mark.parametrize("name", FILLED)
def test_a_disk_that_is_full_as_a_file_is_written_names_the_file(
    name, disk, whole, plain_figures, monkeypatch, capsys
):
    folder = disk.folder / "run"
    module, attribute = FILLED[name]
    write = getattr(module, attribute)

    def fill_and_write(*args, **kwargs):
        if name == "confusion_matrix.png":  # the report is whole
            write(*args, **kwargs)
            return disk.fill()
        if not disk.filler.exists():
            disk.fill()
        return write(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module, attribute, fill_and_write)
        line = refused(capsys, *FLAGS, *OPTIONS, "--output", folder)
    assert f"cannot write {folder / name} (" in line
    assert "No space left on device" in line
    check_whole_files(folder)
    disk.free()
    finish(capsys, folder, whole)


LIMITED = """
import resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
limit, script, *sys.argv[1:] = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
"""


def test_a_file_of_steps_that_may_grow_no_more_gets_one_line(tmp_path, whole):
    """In a process of its own, whose end would complain of what it cannot write."""
    folder = tmp_path / "run"
    command = [sys.executable, "-c", LIMITED, "1000", ROOT / "train.py", *FLAGS]
    command += ["--log-steps", "--output", folder]
    ended = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True
    )
    (line,) = ended.stderr.strip().splitlines()
    assert ended.returncode == 2
    assert f"cannot write {folder / 'steps.jsonl'} (File too large)" in line
    TRAIN.go_on(folder)
    check_equal(folder, whole)


def limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_checkpoint_that_may_not_be_so_large_gets_one_line(tmp_path, whole):
    """For machines on which no file system can be mounted."""
    folder = tmp_path / "run"
    run = TRAIN.start(folder, prepare=partial(limit_files, 30_000))
    line = run.end().line()
    assert f"cannot write {folder / CHECKPOINT} (" in line
    check_whole_files(folder)
    TRAIN.go_on(folder)
    check_equal(folder, whole)


@pytest.fixture
def read_only(tmp_path):
    """A folder, and a function that forbids or allows to write in those within.

    Root may write wherever it likes, but not on a disk that is read only.
    """
    probe = tmp_path / "probe"
    probe.mkdir(mode=0o555)
    if not os.access(probe, os.W_OK):
        yield tmp_path, lambda run, on: run.chmod(0o555 if on else 0o755)
        return
    with mounted(tmp_path / "disk", "4m") as disk:
        yield disk.folder, lambda run, on: cover(disk.folder, on)


def cover(folder: Path, on: bool) -> None:
    """Lay a read-only view over a disk, or take it away.

    To make the disk itself read-only is refused while a run holds its lock open.
    """
    commands = [["mount", "--bind", folder, folder]]
    commands += [["mount", "-o", "remount,bind,ro", folder]]
    for command in commands if on else [["umount", folder]]:
        subprocess.run(command, check=True)


@pytest.mark.parametrize("step", [5, 15])
def test_a_folder_that_becomes_read_only_gets_one_line(
    step, read_only, whole, plain_figures, monkeypatch, capsys
):
    parent, forbid = read_only
    folder = parent / "run"
    argv = [*FLAGS, "--save-every", "3", "--output", folder]
    with monkeypatch.context() as patch:
        before_step(patch, step, partial(forbid, folder, True))
        line = refused(capsys, *argv)
    forbid(folder, False)
    names = [CHECKPOINT, "results.pkl"]
    assert any(f"cannot write {folder / name} (" in line for name in names)
    assert "Read-only file system" in line or "Permission denied" in line
    state = load_checkpoint(folder / CHECKPOINT)["trainer"]
    assert 15 * state["epoch"] + state["step"] == (step - 1) // 3 * 3
    assert call(capsys, "--save-every", 3, "--output", folder, "--resume")[0] == 0
    check_equal(folder, whole, ("model.safetensors", "results.pkl", "history.csv"))


@pytest.mark.parametrize("step", [5, 15])
def test_a_folder_that_is_removed_gets_one_line(
    step, tmp_path, plain_figures, monkeypatch, capsys
):
    folder = tmp_path / "run"
    before_step(monkeypatch, step, partial(shutil.rmtree, folder))
    line = refused(capsys, *FLAGS, *OPTIONS, "--output", folder)
    names = [CHECKPOINT, "results.pkl"]
    assert any(f"cannot write {folder / name} (" in line for name in names)
    assert "No such file or directory" in line
    assert not folder.exists()
