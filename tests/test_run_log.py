"""The tables, lines and curves of a run hold its numbers, each once."""

import copy
import csv
import json
import math
import sys
import types

import pandas as pd
import pytest
import torch

from going_modular.data_setup import Batches, ImageSet
from going_modular.engine import RESULT_COLUMNS
from going_modular.errors import InputError
from going_modular.optimization import build_optimizer, build_schedule
from going_modular.teaching.toy import toy_config
from going_modular.training import watchers as run_log
from going_modular.training.trainer import Trainer
from going_modular.training.watchers import (
    EpochFiles,
    StepLines,
    TensorBoard,
    global_step,
)
from going_modular.vit import ViT

EPOCHS, STEPS = 3, 4  # of the run, of each epoch


def build(**options) -> Trainer:
    torch.manual_seed(0)
    images = torch.randint(256, (13, 3, 40, 40)).byte()
    data = ImageSet(images, torch.arange(13) % 10, tuple("abcdefghij"))
    model = ViT(toy_config(depth=1))
    torch.nn.init.normal_(model.head.weight)
    optimizer = build_optimizer(model, 3e-3, 0.1)
    schedule = build_schedule(optimizer, EPOCHS * STEPS, 2)
    train_batches = Batches(data, 4, shuffle=True)
    return Trainer(
        model, optimizer, schedule, train_batches, Batches(data, 5), EPOCHS, **options
    )


class Record:
    """Keeps what a watcher is told, and the rate at which each step was taken."""

    def __init__(self, trainer: Trainer):
        self.losses, self.rates = [], []
        trainer.optimizer.register_step_pre_hook(
            lambda optimizer, *_: self.rates.append(optimizer.param_groups[0]["lr"])
        )

    def after_step(self, trainer, loss) -> None:
        self.losses.append(loss.item())

    def after_epoch(self, trainer) -> None:
        pass


def read_lines(folder) -> list[dict]:
    return [json.loads(line) for line in open(folder / "steps.jsonl")]


def write_lines(folder, steps, end: str = "") -> None:
    lines = (json.dumps({"step": step, "loss": 0.5}) + "\n" for step in steps)
    (folder / "steps.jsonl").write_text("".join(lines) + end)


def kept_steps(folder, done: int) -> list[int]:
    """The steps whose lines are there when a run goes on after `done` steps."""
    StepLines(folder, done).file.close()
    return [line["step"] for line in read_lines(folder)]


# Files of the epochs


def test_after_each_epoch_pickle_and_table_hold_every_number_so_far(tmp_path):
    lengths = []

    class Read(EpochFiles):
        def after_epoch(self, trainer):
            super().after_epoch(trainer)
            results = pd.read_pickle(tmp_path / "results.pkl")
            assert results.to_dict("list") == trainer.results
            with open(tmp_path / "history.csv", newline="") as file:
                header, *rows = csv.reader(file)
            assert header == ["epoch", *RESULT_COLUMNS]
            assert [int(row[0]) for row in rows] == list(range(1, trainer.epoch + 1))
            columns = zip(*([float(x) for x in row[1:]] for row in rows), strict=True)
            assert [list(c) for c in columns] == list(trainer.results.values())
            lengths.append(len(rows))

    trainer = build()
    trainer.watchers = [Read(tmp_path)]
    trainer.train(lambda state: None)
    assert lengths == [1, 2, 3]


@pytest.mark.parametrize("seconds", [0, 1000])
def test_curves_are_drawn_only_now_and_then(seconds, monkeypatch, tmp_path):
    monkeypatch.setattr(run_log, "CURVES_EVERY", seconds)
    trainer = build()
    trainer.watchers = [EpochFiles(tmp_path)]
    trainer.train(lambda state: None)
    assert (tmp_path / "loss_curves.png").exists() == (seconds == 0)
    if seconds == 0:
        start = (tmp_path / "loss_curves.png").read_bytes()[:8]
        assert start == b"\x89PNG\r\n\x1a\n"


def test_a_table_is_whole_or_as_before(tmp_path, monkeypatch):
    files = EpochFiles(tmp_path)
    trainer = build()
    trainer.results = {column: [0.5] for column in RESULT_COLUMNS}
    files.after_epoch(trainer)
    before = (tmp_path / "history.csv").read_bytes()

    def half(path, results):
        path.write_text("epoch,train_")
        raise OSError("disk full")

    monkeypatch.setattr(run_log, "write_csv", half)
    with pytest.raises((OSError, InputError), match="disk full"):
        files.after_epoch(trainer)
    assert (tmp_path / "history.csv").read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"history.csv", "results.pkl"}


# A line a step


def test_each_step_has_a_line_with_its_numbers_as_soon_as_it_is_done(tmp_path):
    trainer = build()
    record = Record(trainer)

    class Read(StepLines):
        def after_step(self, trainer, loss):
            super().after_step(trainer, loss)
            last = read_lines(tmp_path)[-1]
            assert last["step"] == global_step(trainer)
            assert last["epoch"] == trainer.epoch + 1
            assert last["loss"] == loss.item()

    trainer.watchers = [record, Read(tmp_path, 0)]
    trainer.train(lambda state: None)
    lines = read_lines(tmp_path)
    assert [line["step"] for line in lines] == list(range(1, EPOCHS * STEPS + 1))
    assert [line["loss"] for line in lines] == record.losses


def test_a_lines_learning_rate_is_the_one_its_step_was_taken_at(tmp_path):
    trainer = build()
    record = Record(trainer)
    trainer.watchers = [record, StepLines(tmp_path, 0)]
    trainer.train(lambda state: None)
    assert [line["learning_rate"] for line in read_lines(tmp_path)] == record.rates


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_is_null_for_json_has_none(loss, tmp_path):
    StepLines(tmp_path, 0).after_step(build(), torch.tensor(loss))
    text = (tmp_path / "steps.jsonl").read_text()
    line = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert line["loss"] is None


@pytest.mark.parametrize("done", [0, 1, 5, 9, 10])
def test_lines_after_the_checkpoint_are_dropped(done, tmp_path):
    write_lines(tmp_path, range(1, 11))
    assert kept_steps(tmp_path, done) == list(range(1, done + 1))


def test_a_line_that_was_being_written_when_the_run_died_is_dropped(tmp_path):
    write_lines(tmp_path, range(1, 6), end='{"step": 6, "lo')
    assert kept_steps(tmp_path, 5) == [1, 2, 3, 4, 5]
    assert (tmp_path / "steps.jsonl").read_text().endswith("}\n")


@pytest.mark.parametrize("line", ["[]", "3", "null", "{}", '{"step": "a"}', "[" * 9999])
def test_lines_that_are_about_no_step_are_dropped(line):
    assert run_log.step_of(line) == math.inf
    assert run_log.step_of('{"step": 7}') == 7


def test_a_run_without_lines_so_far_begins_them(tmp_path):
    assert kept_steps(tmp_path, 7) == []


def test_no_line_is_doubled_where_the_lines_began_in_the_middle_of_the_run(tmp_path):
    """The first session ran without --log-steps, or one in between did."""
    write_lines(tmp_path, range(31, 56))
    assert kept_steps(tmp_path, 50) == list(range(31, 51))
    write_lines(tmp_path, [*range(1, 21), *range(41, 46)])
    assert kept_steps(tmp_path, 40) == list(range(1, 21))


# TensorBoard


class Writer:
    """Stands in for SummaryWriter: keeps what it is given."""

    events: dict = {}

    def __init__(self, folder, purge_step):
        assert purge_step == 1

    def add_scalar(self, name, value, step):
        assert (name, step) not in self.events, "twice"
        self.events[name, step] = value

    def flush(self):
        pass


@pytest.fixture
def writer(monkeypatch):
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(Writer, "events", {})
    return Writer


def check_curves(events: dict, results: dict) -> None:
    for column, values in results.items():
        part, kind = column.split("_")
        for epoch, value in enumerate(values, start=1):
            assert events[f"{kind}/{part}", epoch * STEPS] == pytest.approx(value)
    assert len(events) == 5 * len(values), "four curves and the learning rate"


def test_tensorboard_gets_each_number_at_the_step_that_ended_its_epoch(
    writer, tmp_path
):
    trainer = build()
    trainer.watchers = [TensorBoard(tmp_path, 0)]
    trainer.train(lambda state: None)
    check_curves(writer.events, trainer.results)


def test_a_missing_tensorboard_is_named_with_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match="pip install tensorboard"):
        TensorBoard(tmp_path, 0)


def test_tensorboard_itself_reads_the_numbers_back(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    saved = []
    trainer = build()
    trainer.watchers = [TensorBoard(tmp_path, 0)]
    trainer.train(lambda state: saved.append(copy.deepcopy(state)))
    trainer = build()
    trainer.load_state_dict(saved[1])  # as if the third epoch had not been saved
    trainer.watchers = [TensorBoard(tmp_path, trainer.epoch * STEPS)]
    trainer.train(lambda state: None)
    reader = EventAccumulator(str(tmp_path / "tensorboard"))
    reader.Reload()
    scalars = [
        ((name, event.step), event.value)
        for name in reader.Tags()["scalars"]
        for event in reader.Scalars(name)
    ]
    assert len(dict(scalars)) == len(scalars), "no point is doubled"
    check_curves(dict(scalars), trainer.results)
