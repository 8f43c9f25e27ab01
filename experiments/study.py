"""What all experiments share: settings, seeds, a row for each run, going on.

A study compares settings. Each is run with several seeds, and each run adds a row to
the study's table in results/ as it ends. Rows that are there are not run again, so a
study that was stopped goes on where it stopped.

Where a setting leaves something open, such as the learning rate, validation images
choose it: every possibility is tried once, with the first seed, and judged by them. The
test images see only what was chosen.
"""

import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import pandas as pd
import torch

from experiments.intervals import summarise
from going_modular.command_line.flags import one_line_parser
from going_modular.errors import InputError
from going_modular.system.files import write_file
from going_modular.utils import describe_machine

__all__ = [
    "RESULTS",
    "Study",
    "Tried",
    "arguments_of",
    "chosen",
    "read_rows",
    "results",
    "run_study",
    "study_main",
]

RESULTS = Path(__file__).parent / "results"
CHOICE, RESULT = "choice", "result"  # what a row is for
KEYS = ["setting", "purpose", "seed", "arguments"]


class Tried:
    """Values of an argument, of which validation images choose one."""

    def __init__(self, *values):
        self.values = values


@dataclass(frozen=True)
class Study:
    """A question to the Vision Transformer, and how it is put.

    Attributes:
        name: Of the module and of the table.
        question: In a sentence.
        source: Where the paper asks it.
        settings: What is compared: for each name the arguments of `run`.
        run: Runs one setting: `run(seed, judge, **arguments)`, where `judge` says which
            images judge, "val" or "test". It gives figures by name, among them
            "accuracy", a share, which chooses.
        seeds: With how many each setting is run, counted from 0.
    """

    name: str
    question: str
    source: str
    run: Callable[..., dict[str, float]]
    settings: dict[str, dict] = field(default_factory=dict)
    seeds: int = 5

    @property
    def table(self) -> Path:
        return RESULTS / f"{self.name}.csv"


@dataclass(frozen=True)
class Run:
    """One run of a setting: it becomes a row."""

    setting: str
    purpose: str
    seed: int
    arguments: dict

    @property
    def key(self) -> tuple:
        return self.setting, self.purpose, self.seed, as_text(self.arguments)


def as_text(arguments: dict) -> str:
    return json.dumps(arguments, sort_keys=True)


def possibilities(arguments: dict) -> list[dict]:
    """The arguments with each combination of the values that are `Tried`."""
    names = [name for name, value in arguments.items() if isinstance(value, Tried)]
    combinations = itertools.product(*(arguments[name].values for name in names))
    return [
        arguments | dict(zip(names, values, strict=True)) for values in combinations
    ]


def read_rows(study: Study) -> pd.DataFrame:
    """The rows of a study's table, without those of settings that it no longer has."""
    if not study.table.exists():
        return pd.DataFrame(columns=[*KEYS, "accuracy", "seconds"])
    rows = pd.read_csv(study.table, comment="#")
    if missing := {*KEYS, "accuracy", "seconds"} - set(rows.columns):
        raise InputError(
            f"{study.table} is no table of this study: it has no column "
            f"{', '.join(sorted(missing))}; delete it to begin anew"
        )
    known = {
        (name, as_text(arguments))
        for name, setting in study.settings.items()
        for arguments in possibilities(setting)
    }
    pairs = zip(rows["setting"], rows["arguments"], strict=True)
    kept = pd.Series([pair in known for pair in pairs], dtype=bool)
    return rows[kept].reset_index(drop=True)


def chosen(study: Study, name: str, rows: pd.DataFrame) -> dict | None:
    """The arguments of a setting that did best on validation images.

    Returns:
        They, or None as long as one of them has not been tried. Of several that did
        equally well, the first.
    """
    ways = possibilities(study.settings[name])
    if len(ways) == 1:
        return ways[0]
    tried = rows[(rows["setting"] == name) & (rows["purpose"] == CHOICE)]
    accuracies = dict(zip(tried["arguments"], tried["accuracy"], strict=True))
    if not all(as_text(way) in accuracies for way in ways):
        return None
    return max(ways, key=lambda way: accuracies[as_text(way)])


def arguments_of(study: Study, name: str) -> dict:
    """The arguments with which the results of a setting were made.

    Raises:
        InputError: Its choices have not all been tried.
    """
    arguments = chosen(study, name, read_rows(study))
    if arguments is None:
        raise InputError(
            f"{study.table} has not all choices of {name!r}: run "
            f"python -m experiments.{study.name}"
        )
    return arguments


def runs_ahead(study: Study, names: list[str]) -> Iterator[Run]:
    """The runs that can begin now, and have no row yet."""
    rows = read_rows(study)
    done = set(rows[KEYS].itertuples(index=False, name=None))
    for name in names:
        arguments = chosen(study, name, rows)
        if arguments is None:
            ways = possibilities(study.settings[name])
            runs = [Run(name, CHOICE, 0, way) for way in ways]
        else:
            seeds = range(study.seeds)
            runs = [Run(name, RESULT, seed, arguments) for seed in seeds]
        yield from (run for run in runs if run.key not in done)


def count_ahead(study: Study, names: list[str]) -> int:
    """How many runs are left, those among them that wait for a choice."""
    rows = read_rows(study)
    waiting = sum(chosen(study, name, rows) is None for name in names)
    return len(list(runs_ahead(study, names))) + study.seeds * waiting


class ThisProcess(Executor):
    """Runs one thing after another, at once."""

    def submit(self, function: Callable, *arguments) -> Future:
        future = Future()
        future.set_result(function(*arguments))
        return future


def take_one_core() -> None:
    """Several runs at once are quickest with a core each."""
    torch.set_num_threads(1)


def perform(function: Callable[..., dict[str, float]], run: Run) -> dict:
    """One run, and the row that comes of it."""
    begun = time.perf_counter()
    judge = "val" if run.purpose == CHOICE else "test"
    figures = function(run.seed, judge, **run.arguments)
    figures = {name: round(value, 6) for name, value in figures.items()}
    seconds = round(time.perf_counter() - begun, 1)
    return dict(zip(KEYS, run.key, strict=True)) | figures | {"seconds": seconds}


def write_row(study: Study, row: dict) -> None:
    """Add a row to the table, which begins with what one must know to read it."""
    machine = describe_machine("cpu") | {"threads": 1}
    about = ", ".join(f"{name} {value}" for name, value in machine.items())
    line = f"# machine: {about}, Python {sys.version.split()[0]}"
    table = pd.DataFrame([row])
    if not study.table.exists():
        head = [f"# {study.question} ({study.source})"]
        head += [f"# python -m experiments.{study.name}", line]
        text = "\n".join(head) + "\n" + table.to_csv(index=False, lineterminator="\n")
    else:
        text = study.table.read_text(encoding="utf-8")
        columns = pd.read_csv(study.table, comment="#", nrows=0).columns
        unknown = set(table.columns) ^ set(columns)
        if unknown:
            raise InputError(
                f"{study.table} has other columns ({', '.join(sorted(unknown))}): "
                "delete it to begin anew"
            )
        if line not in text:
            first, rest = text.split("\n", 1)
            text = f"{first}\n{line}\n{rest}"
        text += table[columns].to_csv(index=False, header=False, lineterminator="\n")
    RESULTS.mkdir(exist_ok=True)
    write_table(study, text)


def write_table(study: Study, text: str) -> None:
    """Replace the table at once, so that no row is lost if this is stopped."""
    write_file(study.table, lambda path: path.write_bytes(text.encode()))


def drop_stale_rows(study: Study) -> None:
    """Leave out the rows of settings that the study no longer has."""
    if not study.table.exists():
        return
    rows = pd.read_csv(study.table, comment="#")
    kept = read_rows(study)
    if len(kept) == len(rows):
        return
    lines = study.table.read_text(encoding="utf-8").splitlines()
    head = [line for line in lines if line.startswith("#")]
    text = "\n".join(head) + "\n" + kept.to_csv(index=False, lineterminator="\n")
    write_table(study, text)
    print(f"{len(rows) - len(kept)} rows of settings that are no more are left out")


def run_study(study: Study, names: list[str], processes: int) -> None:
    """Run what has no row yet, several runs at once.

    Args:
        study: The study.
        names: Which of its settings.
        processes: How many runs at once.
    """
    drop_stale_rows(study)
    ended, total, begun = 0, count_ahead(study, names), time.perf_counter()
    if not total:
        return
    if processes == 1:
        take_one_core()
        pool = ThisProcess()
    else:
        pool = ProcessPoolExecutor(processes, get_context("spawn"), take_one_core)
    with pool:
        running = {}
        while True:
            started = {run.key for run in running.values()}
            for run in runs_ahead(study, names):
                if len(running) < processes and run.key not in started:
                    running[pool.submit(perform, study.run, run)] = run
            if not running:
                return
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                run, row = running.pop(future), future.result()
                write_row(study, row)
                ended += 1
                minutes = (time.perf_counter() - begun) / ended * (total - ended) / 60
                print(
                    f"{ended} of {total}, {minutes:.0f} min left: {run.setting}, "
                    f"{run.purpose}, seed {run.seed}: {row['accuracy']:.2%}",
                    flush=True,
                )


def study_main(study: Study, argv: list[str] | None = None) -> int:
    """The command `python -m experiments.NAME`."""
    parser = one_line_parser(f"{study.question} ({study.source})")
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="SETTING",
        choices=study.settings,
        help="these (all)",
    )
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count(), help="runs at once (all cores)"
    )
    parser.add_argument("--list", action="store_true", help="say what there is to run")
    args = parser.parse_args(argv)
    names = args.only or list(study.settings)
    try:
        if args.list:
            return list_settings(study, names)
        run_study(study, names, max(1, args.processes))
    except KeyboardInterrupt:
        print(f"stopped; the rows of {study.table} are kept", file=sys.stderr)
        return 130
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(summarise(results(study)).to_string(float_format="{:.4f}".format))
    return 0


def list_settings(study: Study, names: list[str]) -> int:
    """Say how many rows of each setting there are, and how long a row takes."""
    rows = read_rows(study)
    print(f"{study.question} ({study.source})")
    for name in names:
        own = rows[rows["setting"] == name]
        took = f", {own['seconds'].mean():.0f} s each" if len(own) else ""
        print(f"  {name}: {len(own)} rows, {count_ahead(study, [name])} to run{took}")
    return 0


def results(study: Study) -> pd.DataFrame:
    """The rows that count: of what was chosen, judged by test images."""
    rows = read_rows(study)
    return rows[rows["purpose"] == RESULT].reset_index(drop=True)
