"""Whatever ends a run, the script says it in one line and gives the right status."""

import argparse
import signal
from pathlib import Path

import pytest
import torch

import train
from going_modular.checkpoint import previous
from going_modular.command_line import ending as script_ends
from going_modular.command_line.ending import run_training
from going_modular.engine import TrainingDiverged
from going_modular.errors import InputError
from going_modular.system.signals import Stopped
from going_modular.training.run_folder import CHECKPOINT, FILES

STEPS = "every step so far is kept"
KEPT = "what the last checkpoint holds is kept"


def end(error: BaseException | None = None, output: Path | None = None, **flags) -> int:
    """Run a script that chooses its output folder, then meets an error."""
    flags = {"output": None, "device": "cpu", "shard": False, **flags}

    def run(args, processes):
        args.output = output
        if error is not None:
            raise error

    return run_training("train.py", run, argparse.Namespace(**flags))


@pytest.fixture
def output(tmp_path) -> Path:
    """A folder with a checkpoint."""
    (tmp_path / CHECKPOINT).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("no folder x"), 2, "train.py: no folder x"),
        (TrainingDiverged("loss became nan"), 2, "train.py: loss became nan"),
        (OSError("lost x"), 2, "train.py: lost x; nothing was saved yet"),
    ],
)
def test_an_error_has_its_status_and_its_line(error, status, line, capsys):
    assert end(error) == status
    said = capsys.readouterr()
    assert said.err.strip() == line and said.out == ""


STOPS = [
    (Stopped(signal.SIGINT), 130, f"train.py: stopped; {STEPS}"),
    (Stopped(signal.SIGTERM), 143, f"train.py: stopped; {STEPS}"),
    (Stopped(getattr(signal, "SIGHUP", 1)), 129, f"train.py: stopped; {STEPS}"),
    (KeyboardInterrupt(), 130, f"train.py: stopped at once; {KEPT}"),
]


@pytest.mark.parametrize(("error", "status", "line"), STOPS)
@pytest.mark.parametrize("name", [CHECKPOINT, previous(Path(CHECKPOINT)).name])
def test_a_stop_says_how_to_go_on(name, error, status, line, output, capsys):
    (output / CHECKPOINT).rename(output / name)
    assert end(error, output) == status
    said = capsys.readouterr()
    assert said.err.strip() == f"{line}: go on with --output {output} --resume"
    assert said.out == ""


def test_a_stop_says_only_what_can_be_done(output, capsys):
    """Nothing to go on from, or nothing to go on with."""
    for folder in (None, output / "new"):
        assert end(KeyboardInterrupt(), folder) == 130
        said = capsys.readouterr().err.strip()
        assert said == "train.py: stopped at once; nothing was saved yet"
    for name in FILES:
        (output / name).touch()
    assert end(KeyboardInterrupt(), output) == 130  # comparing, say
    said = capsys.readouterr().err.strip()
    assert said == f"train.py: stopped at once; the run in {output} is finished"


def test_a_run_that_is_done_says_nothing_more(capsys):
    assert end() == 0
    assert capsys.readouterr() == ("", "")


def test_an_error_that_nobody_foresaw_shows_where_it_is():
    with pytest.raises(RuntimeError, match="Connection closed by peer"):
        end(RuntimeError("Connection closed by peer"))  # there is no peer here
    with pytest.raises(ZeroDivisionError):
        end(ZeroDivisionError())


def test_a_lost_process_is_told_from_an_error_of_ones_own(output, monkeypatch, capsys):
    monkeypatch.setattr("going_modular.processes.start.world_size", lambda: 2)
    monkeypatch.setattr(
        script_ends, "start_processes", lambda *_: script_ends.Processes()
    )
    monkeypatch.setattr(script_ends, "says_first", lambda: True)
    lost = RuntimeError("[gloo/pair.cc] Connection closed by peer")
    assert end(lost, output) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    about = "another process has ended, so this run ends"
    go_on = f"go on with --output {output} --resume"
    assert line == f"train.py: {about}; {KEPT}: {go_on}"
    with pytest.raises(RuntimeError, match="shapes"):
        end(RuntimeError("shapes cannot be multiplied"))


def test_a_device_that_is_not_there_gets_one_line(capsys):
    assert end(device="cuda:99") == 2
    assert "no device 'cuda:99' here" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to"),
    ],
)
def test_too_little_memory_says_what_to_choose(error, output, capsys):
    assert end(error, output) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("train.py: not enough memory: ") and "--accumulate" in line
    assert line.endswith(f"go on with --output {output} --resume")


def test_a_compiler_that_is_missing_is_named(capsys):
    from torch._dynamo.exc import TorchDynamoException

    assert end(TorchDynamoException("raised:\nNo C++ compiler\nSet X=1")) == 2
    line = capsys.readouterr().err.strip()
    about = "cannot compile (raised: No C++ compiler): add --compile no"
    assert line == f"train.py: {about}; nothing was saved yet"


@pytest.mark.parametrize(
    "sizes",
    ["--mlp-size 9223372036854775808", "--mlp-size 4611686018427387904",
     "--embedding-dim 12884901888 --num-heads 1"],
)  # fmt: skip
def test_a_model_beyond_all_numbers_is_one_line(sizes, tmp_path, capsys):
    argv = ["--data", "digits", "--output", str(tmp_path / "run"), *sizes.split()]
    assert train.main(argv) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("train.py: not enough memory: ")
