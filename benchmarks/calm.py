"""A training step alone, and beside one other busy process, by how threads wait.

    python -m benchmarks.calm
    python -m benchmarks.calm --seconds 5 --rounds 5

Each row is another way for OpenMP's threads to wait for work: turns that GNU's libgomp
spins before a thread sleeps, or no spinning at all. In each round a process of its own
trains a model for some seconds, once alone and once while another process keeps one
core busy: the model that train.py takes for photos, in batches of 50 of 64 pixels, and
the one that it takes for the built-in clothes, in batches of 100, whose operations are
so short that waking a thread counts. So it wants a machine that does nothing else.
Prints a Markdown table of milliseconds a step, medians with lowest and highest of the
rounds, and writes benchmarks/results/calm.json.
"""

from going_modular.system.openmp import DECIDING, SHORT_SPIN

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.command import (
    RESULTS,
    check_files,
    check_positive,
    run_command,
    write_json,
)
from going_modular.command_line.flags import one_line_parser, user_path

WAYS = {
    "300,000 turns, libgomp's own": {"GOMP_SPINCOUNT": "300000"},
    "10,000 turns": {"GOMP_SPINCOUNT": "10000"},
    "3,000 turns": {"GOMP_SPINCOUNT": "3000"},
    "1,000 turns": {"GOMP_SPINCOUNT": "1000"},
    "none": {"GOMP_SPINCOUNT": "0"},
}
MODELS = ("photos", "clothes")
BUSY = "while True: pass"
STEPS = (
    "import sys; from benchmarks.calm import print_steps; print_steps(*sys.argv[1:])"
)


def print_steps(data: str, seconds: str) -> None:
    """Train for so long, and print the milliseconds of each step as JSON."""
    import torch

    from going_modular.engine import train_step
    from going_modular.optimization import build_optimizer
    from going_modular.training.fast_path import FastPath, choose_precision
    from going_modular.training.presets import PRESETS, suit_photos
    from going_modular.training.settings import Plan

    torch.manual_seed(0)
    if data == "photos":
        settings, batch, channels = suit_photos(2000, 100), 50, 3
    else:
        settings, batch, channels = PRESETS["built-in"]["conv"], 100, 1
    plan = Plan.from_settings({"data": data, "in_channels": channels, **settings})
    precision = choose_precision("auto", torch.device("cpu"))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    model = FastPath(plan.build(), dtype).train()
    optimizer = build_optimizer(model, 1e-3, 0.1)
    images = torch.randn(batch, channels, *plan.model.image_shape)
    labels = torch.zeros(batch, dtype=torch.int64)
    times, end = [], time.perf_counter() + float(seconds)
    while time.perf_counter() < end or len(times) < 3:
        begun = time.perf_counter()
        train_step(model, images, labels, optimizer)
        times.append(1000 * (time.perf_counter() - begun))
    print(json.dumps(times[1:]))  # the first lays out memory


@contextmanager
def neighbour(busy: bool) -> Iterator[None]:
    """Another process that keeps a core busy, or none."""
    if not busy:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def median_step(way: dict[str, str], data: str, busy: bool, seconds: float) -> float:
    """Milliseconds of the step in the middle, in a process of its own."""
    environment = {k: v for k, v in os.environ.items() if k not in DECIDING}
    with neighbour(busy):
        done = subprocess.run(
            [sys.executable, "-c", STEPS, data, str(seconds)],
            env=environment | way,
            stdout=subprocess.PIPE,
            check=True,
        )
    return statistics.median(json.loads(done.stdout))


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=6, help="of a process (6)")
    parser.add_argument("--rounds", type=int, default=3, help="(3)")
    path = RESULTS / "calm.json"
    parser.add_argument("--json", type=user_path, default=path, help=f"({path.name})")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    from benchmarks.measuring import markdown_table, spread
    from going_modular.utils import describe_machine

    check_positive(args, "seconds", "rounds")
    check_files(args, "json")
    columns = [f"{data}, {kind}" for data in MODELS for kind in ("alone", "busy")]
    steps = {name: {column: [] for column in columns} for name in WAYS}
    for _ in range(args.rounds):
        for name, way in WAYS.items():
            for column in columns:
                data, kind = column.split(", ")
                step = median_step(way, data, kind == "busy", args.seconds)
                steps[name][column].append(step)
    heads = ["spinning", *(f"{column}, ms" for column in columns)]
    rows = [
        [f"**{name}**" if way.items() <= SHORT_SPIN.items() else name]
        + [
            "{:.0f} ({:.0f} to {:.0f})".format(*spread(values))
            for values in found.values()
        ]
        for (name, way), found in zip(WAYS.items(), steps.values(), strict=True)
    ]
    print(markdown_table([heads, *rows]))
    machine = describe_machine("cpu")
    write_json(args.json, {"machine": machine, "steps": steps})


def main(argv: list[str] | None = None) -> int:
    return run_command(parse, run, argv)


if __name__ == "__main__":
    sys.exit(main())
