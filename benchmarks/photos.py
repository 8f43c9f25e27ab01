"""Photos per second of our data path, beside ImageFolder, transforms and DataLoader.

    python -m benchmarks.photos path/to/photos
    python -m benchmarks.photos path/to/photos --sizes 64 --rounds 9

The folder holds one subfolder a class, or train/ with these. All contenders deliver
the same: one epoch of shuffled batches of normalised floats, seen through random
crops, half of them mirrored. They take turns in one process, round by round:

- plain: torchvision's ImageFolder, RandomResizedCrop, RandomHorizontalFlip, ToTensor
  and Normalize, in a DataLoader with 0, 1 or 2 workers that persist;
- ours, cold: every photo is decoded, then the batches are made;
- ours, mapped: the decoded photos are opened in the cache, then the batches are made;
- ours, in memory: as from the second epoch on.

The files themselves are in the system's cache for all. Then a model of train.py's size
for photos is trained for an epoch, and the share of the time noted that its steps
waited for data. Prints a Markdown table of photos per second, medians with lowest and
highest, and writes benchmarks/results/photos.json.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch

import train
from benchmarks.command import (
    RESULTS,
    check_files,
    check_positive,
    run_command,
    write_json,
)
from benchmarks.measuring import markdown_table, spread, take_turns
from benchmarks.photo_contenders import contenders, our_batches, read
from going_modular.command_line.flags import one_line_parser
from going_modular.data_setup import Batches
from going_modular.errors import InputError
from going_modular.optimization import build_optimizer, build_schedule
from going_modular.training.settings import TrainingSettings
from going_modular.training.trainer import Trainer
from going_modular.utils import describe_machine, set_seeds
from going_modular.vit import ViT

CPU = torch.device("cpu")


def measure(folder: Path, image_size: int, args: argparse.Namespace) -> dict:
    """Photos per second of all contenders at one size."""
    settings = TrainingSettings(crop_area=train.PHOTOS["crop_area"])
    with tempfile.TemporaryDirectory() as cache:
        calls = contenders(folder, image_size, settings, Path(cache))
        counts = {call() for call in calls.values()}
        assert len(counts) == 1, f"contenders deliver unlike numbers: {counts}"
        (n,) = counts
        found = take_turns(calls, args.rounds, 60 * args.minutes, CPU)
    speeds = {name: [n / s for s in times] for name, times in found.items()}
    plain = [name for name in speeds if name.startswith("plain")]
    best = max(plain, key=lambda name: spread(speeds[name])[0])
    return {
        "image_size": image_size,
        "photos": n,
        "rounds": len(speeds[best]),
        "photos_per_second": {name: spread(values) for name, values in speeds.items()},
        "best_plain": best,
        "to_best_plain": {
            name: spread([a / b for a, b in zip(values, speeds[best], strict=True)])
            for name, values in speeds.items()
        },
    }


def share_waited(folder: Path) -> dict:
    """Train train.py's model for photos for an epoch, from photos in memory."""
    plan, _ = train.make_plan(train.parse(["--data", str(folder), "--epochs", "1"]))
    photos = read(folder, plan.model.image_size)
    few = photos.subset(torch.arange(min(10, len(photos))))  # tested after the epoch
    set_seeds(0)
    model = ViT(plan.model)
    optimizer = build_optimizer(model, 1e-3, 0.1)
    batches = our_batches(photos, plan.training)
    schedule = build_schedule(optimizer, len(batches), 0)
    test = Batches(few, batch_size=10)
    trainer = Trainer(model, optimizer, schedule, batches, test, epochs=1)
    trainer.train(save=lambda state: None)
    share = trainer.waited / trainer.seconds
    return {"seconds": trainer.seconds, "waited": trainer.waited, "share": share}


def table(rows: list[dict]) -> str:
    """The rows in Markdown."""
    lines = [["photos per second", *(f"{row['image_size']} px" for row in rows)]]
    for name in rows[0]["photos_per_second"]:
        cells = []
        for row in rows:
            median, low, high = row["photos_per_second"][name]
            ratio, least, most = row["to_best_plain"][name]
            cells.append(
                f"{median:,.0f} ({low:,.0f}-{high:,.0f}), "
                f"{ratio:.2f} ({least:.2f}-{most:.2f}) x"
            )
        lines.append([name, *cells])
    return markdown_table(lines)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="one subfolder a class, or train/")
    sizes = [train.PHOTOS["image_size"], 224]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes, help="64 224")
    parser.add_argument("--rounds", type=int, default=7, help="most of a size (7)")
    parser.add_argument("--minutes", type=float, default=5, help="of a size (5)")
    parser.add_argument("--json", type=Path, default=RESULTS / "photos.json")
    args = parser.parse_args(argv)
    check_positive(args, "rounds", "minutes", "sizes")
    if not args.folder.is_dir():
        raise InputError(f"no folder {args.folder}: give one with a subfolder a class")
    check_files(args, "json")
    return args


def run(args: argparse.Namespace) -> None:
    inside = args.folder / "train"
    folder = inside if inside.is_dir() else args.folder
    rows = [measure(folder, size, args) for size in args.sizes]
    waited = share_waited(folder)
    figures = {**describe_machine(CPU), "rows": rows, "training": waited}
    print(table(rows))
    print(
        f"\nSteps of train.py's model waited {100 * waited['share']:.1f} % of the time"
    )
    write_json(args.json, figures)


def main(argv: list[str] | None = None) -> int:
    return run_command(parse, run, argv)


if __name__ == "__main__":
    sys.exit(main())
