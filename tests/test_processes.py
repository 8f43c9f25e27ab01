"""Two processes train as one does, and nothing is lost when one of them ends.

The processes are real ones, started by torchrun. A start takes seconds, so that the
tests share what a run has left.
"""

import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from accelerate import PartialState

if os.name != "posix":
    pytest.skip("needs signals", allow_module_level=True)

from exactness import check_same
from interrupted_runs import ROOT, Script, check_equal, check_tidy

import train
import train_transferlearning
from going_modular.checkpoint import load_checkpoint, load_model
from going_modular.data_setup import (
    Batches,
)
from going_modular.datasets.sources import load_digits
from going_modular.engine import evaluate, predict_logits
from going_modular.errors import InputError
from going_modular.explorer.encoding import to_data_url
from going_modular.optimization import build_optimizer
from going_modular.processes.alone import Processes
from going_modular.processes.start import start_processes
from going_modular.processes.together import ManyProcesses, device_kind
from going_modular.report.findings import find
from going_modular.training.run_folder import CHECKPOINT, FILES, REPORT
from going_modular.vit import ViT

SLOW = "SLOW" in os.environ
# 1,438 images in batches of 479 leave a last one of a single image, and so nothing for
# the second process. A share of 240 is cut into parts of 35, the last one of 30.
SIZES = "--embedding-dim 12 --depth 1 --num-heads 2 --mlp-size 20"
FLAGS = f"--data digits {SIZES} --batch-size 479 --epochs 20 --accumulate 7"
FLAGS += " --augment crop --average 0.9 --precision fp32 --compile no --device cpu"
FLAGS = FLAGS.split()
OPTIONS = "--save-every 3 --log-steps --quiet".split()
COLUMNS = ("train_loss", "train_acc", "test_loss", "test_acc")
STEPS = 80


class Run:
    """A script under torchrun, under way."""

    def __init__(
        self,
        folder: Path,
        *arguments,
        script: str = "train.py",
        count: int = 2,
        meet: Sequence = ("--standalone",),
    ):
        self.folder, self.script = folder, script
        self.command = [sys.executable, "-m", "torch.distributed.run", *meet]
        self.command += ["--nproc-per-node", count, ROOT / script, *arguments]
        self.command += ["--output", folder]
        self.tried = 0
        self.start()

    def start(self) -> None:
        self.tried += 1
        self.began = time.monotonic()
        self.folder.parent.mkdir(exist_ok=True)
        self.logs = [self.folder.with_suffix(f".{name}") for name in ("out", "err")]
        with open(self.logs[0], "w") as out, open(self.logs[1], "w") as err:
            self.process = subprocess.Popen(
                [str(word) for word in self.command],
                stdout=out,
                stderr=err,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def start_again(self) -> bool:
        """Start once more what has died of SIGABRT, as a first start may."""
        again = self.tried == 1 and "SIGABRT" in self.err()
        if again:
            self.start()
        return again

    def ranks(self) -> list[int]:
        """The processes' ids, the first one's first."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return sorted(map(int, children.read_text().split()))

    def reach(self, lines: int) -> None:
        """Wait until so many steps are in the log."""
        path = self.folder / "steps.jsonl"
        while not path.exists() or path.read_bytes().count(b"\n") < lines:
            if self.process.poll() is not None:
                assert self.start_again(), self.err()
            assert time.monotonic() < self.began + 120
            time.sleep(0.002)

    def out(self) -> str:
        return self.logs[0].read_text()

    def err(self) -> str:
        return self.logs[1].read_text()

    def end(self, seconds: float = 120) -> int:
        """Wait for its end, and give torchrun's exit status."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            for rank in self.ranks():
                os.kill(rank, signal.SIGKILL)
            self.process.kill()
            raise
        if self.start_again():
            return self.end(seconds)
        return status

    def lines(self) -> list[str]:
        """What the script itself has complained of."""
        return [x for x in self.err().splitlines() if x.startswith(self.script)]

    def finish(self) -> "Run":
        assert self.end() == 0, self.err()
        return self


def call(capsys, module, *arguments) -> str:
    """Run a script in this process alone, and return what it said."""
    capsys.readouterr()
    status = module.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    assert (status, said.err) == (0, "")
    return said.out


def history(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "history.csv")[list(COLUMNS)]


def check_curves(folder: Path, other: Path) -> None:
    """Assert that two runs have the same losses and accuracies, within rounding."""
    ours, theirs = history(folder), history(other)
    assert len(ours) == len(theirs)
    assert (ours - theirs).abs().max().max() < 1e-4, ours - theirs


def weights(folder: Path) -> dict:
    return load_model(folder / "model.safetensors")[0].state_dict()


def check_weights(ours: dict, theirs: dict, tolerance: float = 1e-3) -> None:
    """Assert that weights, or what an optimiser keeps of them, differ by rounding.

    The keys' bias is left out: softmax takes no notice of it, so that its gradient is
    rounding alone, which AdamW makes as large as any other.
    """
    assert list(ours) == list(theirs)
    for name, w in ours.items():
        other = theirs[name]
        if name.endswith("qkv.bias"):
            w, other = (torch.cat(b.tensor_split(3)[::2]) for b in (w, other))
        assert torch.allclose(w, other, atol=tolerance, rtol=0), name


def load_trainer(folder: Path) -> dict:
    """The state in a run's checkpoint, but for its times."""
    state = load_checkpoint(folder / CHECKPOINT)["trainer"]
    return {k: v for k, v in state.items() if k not in ("seconds", "waited")}


def steps_saved(folder: Path) -> int:
    state = load_trainer(folder)
    return 4 * state["epoch"] + state["step"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def alone(runs) -> Path:
    """The folder of a run in one process."""
    arguments = [*FLAGS, *OPTIONS, "--output", runs / "alone"]
    assert train.main([str(word) for word in arguments]) == 0
    return runs / "alone"


@pytest.fixture(scope="module")
def two(runs) -> Run:
    """The same run in two processes, finished."""
    return Run(runs / "two", *FLAGS, *OPTIONS).finish()


@pytest.fixture(scope="module")
def stopped(runs) -> Run:
    """One that SIGTERM, sent to torchrun, has stopped within an epoch."""
    run = Run(runs / "stopped", *FLAGS, *OPTIONS)
    run.reach(22)
    run.process.terminate()
    assert run.end() != 0
    return run


@pytest.fixture
def copy(stopped, tmp_path) -> Path:
    """A copy of what it has left."""
    return shutil.copytree(stopped.folder, tmp_path / "copy")


# The same run


def test_two_processes_give_the_curve_of_one(alone, two):
    check_curves(two.folder, alone)
    check_weights(weights(two.folder), weights(alone))
    first, last = (history(alone)["train_loss"].iloc[i] for i in (0, -1))
    assert last < first - 0.1, "there is something to learn"


def test_each_step_has_the_loss_of_the_whole_batch(alone, two):
    ours, theirs = (
        pd.read_json(folder / "steps.jsonl", lines=True)
        for folder in (two.folder, alone)
    )
    assert len(ours) == STEPS
    assert (ours - theirs).abs().max().max() < 1e-4


def test_accuracies_count_each_image_once_and_the_test_is_exact(two):
    results = pd.read_pickle(two.folder / "results.pkl")
    train_set, test_set = load_digits()
    for column, data in (("train_acc", train_set), ("test_acc", test_set)):
        for share in results[column]:
            assert abs(share * len(data) - round(share * len(data))) < 1e-9
    model, _ = load_model(two.folder / "model.safetensors")
    loss, accuracy = evaluate(model, Batches(test_set, 500))
    assert results["test_loss"].iloc[-1] == pytest.approx(loss, abs=1e-6)
    assert results["test_acc"].iloc[-1] == pytest.approx(accuracy, abs=1e-6)


def test_only_the_first_process_writes_and_prints(alone, two):
    written = {path.name for path in alone.iterdir()}
    assert {path.name for path in two.folder.iterdir()} == written >= set(FILES)
    check_tidy(two.folder)
    said = two.out()
    assert "device               cpu, 2 processes\n" in said
    for start in (
        "output ",
        "epoch  train loss",
        r"    1 ",
        "test accuracy",
        "written",
    ):
        assert len(re.findall(f"^{start}", said, re.MULTILINE)) == 1, start
    assert len(re.findall(r"^ +\d+  ", said, re.MULTILINE)) == 20, "a line an epoch"
    assert two.lines() == []


def forbid_accelerate() -> None:
    sys.modules["accelerate"] = None


def test_accelerate_is_needed_for_several_processes_only(alone, tmp_path):
    script = Script("train.py", FLAGS, OPTIONS)
    assert script.start(tmp_path / "run", prepare=forbid_accelerate).end().status == 0
    check_equal(tmp_path / "run", alone)


# Stopped, killed, going on


def test_a_signal_to_torchrun_stops_all_after_the_same_step(stopped):
    (line,) = stopped.lines()
    assert line.startswith("train.py: stopped; every step so far is kept: go on with")
    lines = (stopped.folder / "steps.jsonl").read_text().splitlines()
    assert 22 <= steps_saved(stopped.folder) == len(lines) < STEPS
    check_tidy(stopped.folder)


def test_stopped_then_killed_a_run_of_two_goes_on_to_the_same_bytes(copy, two):
    """The kill of one process ends the other, and costs a few steps."""
    done = steps_saved(copy) + 8
    run = Run(copy, *OPTIONS, "--resume", "--device", "cpu")
    run.reach(done)
    began = time.monotonic()
    os.kill(run.ranks()[1], signal.SIGKILL)
    assert run.end(30) != 0 and time.monotonic() - began < 30
    assert "Signal 9 (SIGKILL) received" in run.err(), "torchrun's own report"
    assert all("another process has ended" in line for line in run.lines())
    assert len(run.lines()) <= 1
    check_tidy(copy)
    assert steps_saved(copy) >= done - 3
    run = Run(copy, *OPTIONS, "--resume", "--device", "cpu").finish()
    assert len(re.findall("^going on after epoch", run.out(), re.MULTILINE)) == 1
    assert "may differ" not in run.out() and run.lines() == []
    check_equal(copy, two.folder)
    check_same(*(load_trainer(folder) for folder in (copy, two.folder)))


def test_a_run_of_two_goes_on_in_one_within_rounding(copy, alone, capsys):
    said = call(capsys, train, *OPTIONS, "--output", copy, "--resume")
    assert "processes 2 before, 1 now: the last bits of the results may differ" in said
    check_curves(copy, alone)


# 3 sums in an order of their own, and 1,438 images leave the last of them less.
VARIANTS = {
    "two": (2, "--dropout 0.1"),
    "three": (3, "--dropout 0.1"),
    "three shared out": (3, "--dropout 0.1 --shard"),
    "half precision": (3, "--precision bf16"),
    "compiled": (2, "--compile yes"),
}


@pytest.mark.skipif(not SLOW, reason="minutes")
@pytest.mark.parametrize("name", VARIANTS)
def test_any_number_killed_at_random_goes_on_to_the_same_bytes(name, tmp_path):
    count, more = VARIANTS[name]
    flags = [*FLAGS, "--batch-size", "97", "--epochs", "4", *more.split()]
    again = [*OPTIONS, "--resume", "--device", "cpu"]
    again += ["--shard"] if "--shard" in flags else []
    whole = Run(tmp_path / "whole", *flags, *OPTIONS, count=count).finish()
    draw = random.Random(name)
    run = Run(tmp_path / "killed", *flags, *OPTIONS, count=count)
    for last in (25, 45):
        run.reach(draw.randint(last - 20, last))
        os.kill(draw.choice(run.ranks()), signal.SIGKILL)
        assert run.end(60) != 0
        run = Run(run.folder, *again, count=count)
    run.finish()
    check_equal(run.folder, whole.folder)


@pytest.mark.skipif(not SLOW, reason="some ten seconds each")
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_process_stops_all_after_the_same_step(rank, tmp_path):
    run = Run(tmp_path / "run", *FLAGS, *OPTIONS)
    run.reach(20)
    os.kill(run.ranks()[rank], signal.SIGTERM)
    assert run.end() != 0
    (line,) = run.lines()
    assert line.startswith("train.py: stopped; every step so far is kept")
    lines = (run.folder / "steps.jsonl").read_text().splitlines()
    assert steps_saved(run.folder) == len(lines) < STEPS


@pytest.mark.skipif(not SLOW, reason="some ten seconds")
def test_an_error_of_the_first_process_alone_is_said_once(tmp_path):
    run = Run(tmp_path / "run", *FLAGS, *OPTIONS)
    run.reach(20)
    run.folder.rename(tmp_path / "lost")  # at once: the run still writes
    assert run.end() != 0
    (line,) = run.lines()
    assert line.startswith(f"train.py: cannot write {run.folder}/")


@pytest.mark.skipif(not SLOW, reason="some ten seconds")
def test_two_machines_give_the_curve_of_one_process(alone, tmp_path):
    """Two torchruns on one machine, which find each other as two machines do."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    meet = ["--nnodes", 2, "--rdzv-backend", "c10d", "--rdzv-id", "test"]
    meet += ["--rdzv-endpoint", f"localhost:{port}"]
    runs = [
        Run(tmp_path / name / "run", *FLAGS, *OPTIONS, count=1, meet=meet)
        for name in "ab"
    ]
    for run in runs:
        run.finish()
    (folder,) = (run.folder for run in runs if run.folder.exists())
    check_curves(folder, alone)


# A model shared out


@pytest.fixture(scope="module")
def shared(stopped, runs) -> Run:
    """The stopped run, taken up again with its parameters shared out."""
    folder = shutil.copytree(stopped.folder, runs / "shared")
    arguments = [*OPTIONS, "--resume", "--device", "cpu", "--shard"]
    run = Run(folder, *arguments)
    run.reach(45)
    (runs / "half shared").mkdir()
    while True:
        with suppress(FileNotFoundError):  # it is just being replaced
            shutil.copy(folder / CHECKPOINT, runs / "half shared")
            return run.finish()


def test_shared_out_parameters_train_as_whole_ones(shared, two):
    check_curves(shared.folder, two.folder)
    check_weights(weights(shared.folder), weights(two.folder))
    assert "cpu, 2 processes, parameters shared out" in shared.out()


def test_checkpoints_of_shared_out_parameters_hold_whole_ones(shared, two):
    ours, theirs = (load_trainer(r.folder) for r in (shared, two))
    for part in ("model", "averaged"):
        check_weights(ours[part], theirs[part])
        assert all(type(w) is torch.Tensor for w in ours[part].values())
    check_same(ours["optimizer"]["param_groups"], theirs["optimizer"]["param_groups"])
    model, _ = load_model(two.folder / "model.safetensors")
    for kind in ("exp_avg", "exp_avg_sq"):
        found = [moments(s["optimizer"], model, kind) for s in (ours, theirs)]
        assert found[0].keys() == model.state_dict().keys()
        check_weights(*found, tolerance=1e-2)


def moments(optimizer: dict, model: ViT, kind: str) -> dict:
    """What AdamW keeps of each parameter's gradients, the largest of them as 1."""
    names = {p: name for name, p in model.named_parameters()}
    order = [
        p for g in build_optimizer(model, 0.1, 0.1).param_groups for p in g["params"]
    ]
    assert list(optimizer["state"]) == list(range(len(order)))
    found = {names[p]: optimizer["state"][i][kind] for i, p in enumerate(order)}
    return {name: found[name] / found[name].abs().max() for name in names.values()}


def test_a_shared_out_run_goes_on_in_one_process(shared, alone, runs, tmp_path, capsys):
    folder = shutil.copytree(runs / "half shared", tmp_path / "run")
    assert 22 < steps_saved(folder) < STEPS - 10
    said = call(capsys, train, *OPTIONS, "--output", folder, "--resume")
    epoch, step = divmod(steps_saved(runs / "half shared"), 4)
    assert f"going on after epoch {epoch}, step {step}" in said
    check_curves(folder, alone)
    check_weights(weights(folder), weights(alone))


HELD = """
import torch
from going_modular.optimization import build_optimizer
from going_modular.processes.start import start_processes
from going_modular.teaching.toy import toy_config, toy_images
from going_modular.vit import ViT

with start_processes("cpu", sharded=True) as processes:
    model = ViT(toy_config(depth=3))
    whole = sum(p.numel() for p in model.parameters())
    optimizer = build_optimizer(model, 1e-3, 0.1)
    processes.wrap(model, optimizer)(toy_images()).square().sum().backward()
    optimizer.step()
    parameters = list(model.parameters())
    moments = [optimizer.state[p]["exp_avg"] for p in parameters]
    for tensors in (parameters, [p.grad for p in parameters], moments):
        print(sum(t.to_local().numel() for t in tensors) / whole)
"""


@pytest.mark.skipif(not SLOW, reason="some ten seconds")
def test_each_process_holds_its_part_of_all_that_a_model_needs(tmp_path):
    script = tmp_path / "held.py"
    script.write_text(HELD)
    run = Run(tmp_path / "run", script=script).finish()
    shares = [float(line) for line in run.out().split()]
    assert len(shares) == 3 and all(0.49 < share < 0.54 for share in shares)


def test_one_process_has_nobody_to_share_with():
    with pytest.raises(InputError, match="--shard shares .* start them with torchrun"):
        start_processes("cpu", sharded=True)


# Fine-tuning


def test_fine_tuning_in_two_processes_gives_the_curve_of_one(
    alone, runs, tmp_path, capsys
):
    flags = "--data digits --shots 7 --epochs 3 --recipe paper --device cpu --quiet"
    flags += " --precision fp32 --compile no"
    flags = [*flags.split(), "--weights", alone / "model.safetensors"]
    script = "train_transferlearning.py"
    run = Run(tmp_path / "two", *flags, "--shard", script=script).finish()
    call(capsys, train_transferlearning, *flags, "--output", tmp_path / "one")
    check_curves(run.folder, tmp_path / "one")
    check_weights(weights(run.folder), weights(tmp_path / "one"))
    # Each image in the report stands beside its own scores: there are two batches of
    # test images, and each process has scored a part of both.
    model, _ = load_model(run.folder / "model.safetensors")
    test_set = load_digits()[1]
    logits, labels = predict_logits(model, Batches(test_set, 500))
    report = (run.folder / REPORT).read_text(encoding="utf-8")
    for mistake in find(logits, labels).mistakes[:8]:
        assert to_data_url(test_set.images[mistake.place]) in report
    assert "Where did it look?" in report


# Unusable input


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--epochs", "0"], "train.py: epochs must be a positive integer"),
        pytest.param(
            ["--wrong"],
            "train.py: unrecognized arguments: --wrong",
            marks=pytest.mark.skipif(not SLOW, reason="some ten seconds"),
        ),
    ],
)
def test_what_all_processes_find_wrong_is_said_once(flags, line, tmp_path):
    run = Run(tmp_path / "run", "--data", "digits", "--device", "cpu", *flags)
    assert run.end() != 0
    (said,) = run.lines()
    assert said.startswith(line)
    assert run.out() == "" and not run.folder.exists()


def test_the_page_on_scaling_starts_scripts_in_ways_that_torchrun_and_they_understand(
    monkeypatch,
):
    from torch.distributed.run import parse_args

    monkeypatch.setattr(train, "glance", lambda folder: (1000, 500))
    page = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
    lines = re.search("```sh\n(.*?)```", page, re.DOTALL).group(1).splitlines()
    started = [shlex.split(x)[1:] for x in lines if x.startswith("torchrun")]
    assert len(started) == len(lines) - 1 >= 4
    for words in started:
        args = parse_args(words)
        assert args.training_script == "train.py"
        train.make_plan(train.parse(args.training_script_args))


def test_turns_are_taken_one_after_the_other_and_all_leave_together():
    """Six processes on two machines, played by threads."""
    barrier, events = threading.Barrier(6), []

    class Played(ManyProcesses):
        def __init__(self, rank: int):
            self.accelerator = state = SimpleNamespace(
                wait_for_everyone=lambda: barrier.wait(10),
                is_main_process=rank == 0,
                is_local_main_process=rank % 3 == 0,
            )
            state._goes_first = partial(PartialState._goes_first, state)
            for name in ("main_process_first", "local_main_process_first"):
                setattr(state, name, partial(getattr(PartialState, name), state))

    def play(rank: int) -> None:
        with Played(rank).in_turns():
            events.append(("begins", rank))
            time.sleep(0.02 * (6 - rank))
            events.append(("ends", rank))
        events.append(("leaves", rank))

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(play, range(6)))
    assert events[:4] == [("begins", 0), ("ends", 0), ("begins", 3), ("ends", 3)]
    assert {what for what, _ in events[4:12]} == {"begins", "ends"}
    assert {what for what, _ in events[12:]} == {"leaves"}


FROM_TORCHRUN = ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@pytest.mark.parametrize("size", ["abc", "0", "-1", ""])
def test_a_world_of_no_size_gets_one_line(size, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", size)
    assert train.main(["--device", "cpu"]) == 2
    assert f"WORLD_SIZE is {size!r}: unset it" in capsys.readouterr().err


@pytest.mark.parametrize("missing", FROM_TORCHRUN)
def test_a_world_without_torchrun_gets_one_line(missing, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in FROM_TORCHRUN:
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv(missing)
    line = f"WORLD_SIZE is 2, but {missing} is not set"
    with pytest.raises(InputError, match=line):
        start_processes("cpu")
    if missing.startswith("MASTER"):  # nobody to agree with who complains
        assert train.main(["--device", "cpu"]) == 2
        assert line in capsys.readouterr().err


@pytest.mark.parametrize(
    ("device", "gpus", "message"),
    [
        ("cuda:1", 4, "take --device cpu or cuda, not 'cuda:1'"),
        ("mps", 0, "take --device cpu or cuda, not 'mps'"),
        ("cuda", 1, "2 processes on this machine, which has GPUs for 1"),
        ("auto", 1, "2 processes on this machine, which has GPUs for 1"),
    ],
)
def test_devices_that_processes_cannot_share_get_one_line(
    device, gpus, message, monkeypatch
):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(InputError, match=message):
        device_kind(device)


def test_without_accelerate_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(InputError, match="pip install accelerate"):
        ManyProcesses("cpu")


def test_one_process_alone_is_left_as_it_is():
    processes = start_processes("cpu")
    assert type(processes) is Processes and str(processes) == "cpu"
    batches, model = Batches(load_digits()[1], 2), torch.nn.Linear(2, 2)
    assert processes.share(batches) is batches
    assert processes.wrap(model) is model is processes.whole_model(model)
    assert processes.stop_signal(15) == 15 and processes.stop_signal(None) is None
