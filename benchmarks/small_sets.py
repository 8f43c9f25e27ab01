"""What train.py makes of few photos by default, beside two simple ways.

    python -m benchmarks.small_sets
    python -m benchmarks.small_sets --data path/to/photos

Sets of 1,000 to 5,000 images are written as folders of PNG files: Fashion-MNIST,
handwritten digits, and letters drawn in several fonts and colours on noisy grounds.
--data adds folders of your own. On each set

- train.py runs with its defaults;
- a convolutional network of four layers and 0.4 million parameters trains for the same
  time, on the same crops of images of the same size;
- logistic regression reads pixels of 32 x 32 images, with the best of four
  regularisations by the accuracy on a fifth of the training images.

Prints a Markdown table of test accuracies, and writes
benchmarks/results/small_sets.json.
"""

import argparse
import contextlib
import io
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageDraw, ImageFont
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import nn

import train
from benchmarks.command import RESULTS, check_files, run_command, write_json
from benchmarks.measuring import markdown_table
from going_modular.command_line.flags import one_line_parser, user_path
from going_modular.data_setup import ImageSet, load_builtin
from going_modular.datasets.folders import load_splits, split
from going_modular.datasets.sources import load_digits
from going_modular.engine import evaluate, train_epoch
from going_modular.optimization import build_schedule
from going_modular.training.settings import Plan
from going_modular.utils import describe_machine, set_seeds

CPU = torch.device("cpu")
LETTERS = "ABCDEFGHKR"
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1)  # C of the logistic regression


def write_set(folder: Path, sets: dict[str, ImageSet]) -> Path:
    """Write images as a folder of splits with class folders in them."""
    for name, data in sets.items():
        for place, (image, label) in enumerate(
            zip(data.images, data.labels.tolist(), strict=True)
        ):
            file = folder / name / data.class_names[label].replace("/", "-")
            file.mkdir(parents=True, exist_ok=True)
            pixels = image.permute(1, 2, 0).squeeze(2).numpy()  # (H, W) or (H, W, 3)
            Image.fromarray(pixels).save(file / f"{place}.png")
    return folder


def some_fashion(count: int) -> dict[str, ImageSet]:
    """A number of the built-in training images, and all of the test images."""
    train_set, test_set = load_builtin()
    stream = torch.Generator().manual_seed(0)
    some = torch.randperm(len(train_set), generator=stream)[:count]
    return {"train": train_set.subset(some), "test": test_set}


def drawn_letters(of_each: int = 165) -> dict[str, ImageSet]:
    """Letters of many fonts, sizes, colours and angles, with lines and noise."""
    numbers = np.random.default_rng(0)
    fonts = Path(matplotlib.get_data_path(), "fonts", "ttf").glob("DejaVu*.ttf")
    fonts = sorted(str(font) for font in fonts if "Display" not in font.name)
    images, labels = [], []
    for label, letter in enumerate(LETTERS):
        for _ in range(of_each):
            images.append(draw_letter(letter, fonts, numbers))
            labels.append(label)
    images = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)  # (n, 3, 100, 100)
    drawn = ImageSet(images, torch.tensor(labels), tuple(LETTERS))
    return dict(zip(("train", "test"), split(drawn, 0.2, seed=0), strict=True))


def draw_letter(letter: str, fonts: list[str], numbers) -> np.ndarray:
    """One of them, (100, 100, 3) uint8."""
    ground = ink = numbers.integers(0, 255, 3)
    while abs(int(ground.sum()) - int(ink.sum())) < 180:  # too alike to see
        ink = numbers.integers(0, 255, 3)
    picture = Image.new("RGB", (140, 140), tuple(map(int, ground)))
    pen = ImageDraw.Draw(picture)
    for _ in range(numbers.integers(0, 4)):
        ends, colour = numbers.integers(0, 140, 4), numbers.integers(0, 255, 3)
        width = int(numbers.integers(1, 4))
        pen.line([*map(int, ends)], tuple(map(int, colour)), width)
    font = ImageFont.truetype(
        fonts[numbers.integers(len(fonts))], int(numbers.integers(45, 95))
    )
    x, y = (70 + int(shift) for shift in numbers.integers(-14, 15, 2))
    pen.text((x, y), letter, tuple(map(int, ink)), font, anchor="mm")
    angle = float(numbers.uniform(-25, 25))
    turned = picture.rotate(
        angle, Image.Resampling.BICUBIC, fillcolor=tuple(map(int, ground))
    )
    pixels = np.asarray(turned.crop((20, 20, 120, 120)), float)
    noise = numbers.normal(0, numbers.uniform(0, 25), pixels.shape)
    return (pixels + noise).clip(0, 255).astype(np.uint8)


def by_defaults(folder: Path, output: Path) -> tuple[float, float, Plan]:
    """Run train.py: its test accuracy, the seconds it took, and its plan."""
    argv = ["--data", str(folder), "--output", str(output), "--quiet"]
    begun = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        plan, _ = train.make_plan(train.parse(argv))
        if train.main(argv):
            raise SystemExit(2)
    results = pd.read_pickle(output / "results.pkl")
    return results["test_acc"].dropna().iloc[-1], time.perf_counter() - begun, plan


class SmallCNN(nn.Sequential):
    """Four convolutions, each followed by BatchNorm, ReLU and max-pooling."""

    def __init__(self, channels: int, num_classes: int):
        layers = []
        for width in (32, 64, 128, 256):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)]
            channels = width
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, num_classes)]
        super().__init__(*layers)


def by_convolutions(folder: Path, plan: Plan, seconds: float) -> float:
    """Test accuracy of the `SmallCNN` after about so many seconds of training."""
    sets = load_splits(folder, plan.model.image_size, quiet=True)
    batches = train.make_batches(plan.training, sets, CPU)
    set_seeds(plan.training.seed)
    train_set = sets["train"]
    model = SmallCNN(train_set.images.shape[1], len(train_set.class_names))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.01)

    def epoch(number: int, **options) -> float:
        batches["train_batches"].epoch = number
        begun = time.perf_counter()
        train_epoch(
            model, batches["train_batches"], optimizer, label_smoothing=0.1, **options
        )
        return time.perf_counter() - begun

    # One epoch at a rate of next to nothing tells how many fit into the time.
    idle = build_schedule(optimizer, 10**9, 10**9)
    epochs = max(1, round(seconds / epoch(0, schedule=idle)) - 1)
    steps = epochs * len(batches["train_batches"])
    schedule = build_schedule(optimizer, steps, steps // 10)
    for number in range(epochs):
        epoch(number, schedule=schedule)
    return evaluate(model, batches["test_batches"])[1]


def by_pixels(folder: Path) -> float:
    """Test accuracy of logistic regression on pixels."""
    sets = load_splits(folder, 32, quiet=True)
    kept, held_out = split(sets["train"], 0.2, seed=0)
    warnings.filterwarnings("ignore", category=ConvergenceWarning)  # near enough

    def fitted(data: ImageSet, C: float) -> LogisticRegression:
        return LogisticRegression(C=C, max_iter=300).fit(*pixels_of(data))

    best = max(STRENGTHS, key=lambda C: fitted(kept, C).score(*pixels_of(held_out)))
    return fitted(sets["train"], best).score(*pixels_of(sets["test"]))


def pixels_of(data: ImageSet) -> tuple[np.ndarray, np.ndarray]:
    """(n, C H W) numbers of -1 to 1, and (n,) labels."""
    pixels = data.images.reshape(len(data), -1).float() / 127.5 - 1  # (n, C H W)
    return pixels.numpy(), data.labels.numpy()


SETS: dict[str, Callable[[], dict[str, ImageSet]]] = {
    "Fashion-MNIST, 1,000": lambda: some_fashion(1000),
    "Fashion-MNIST, 5,000": lambda: some_fashion(5000),
    "digits": lambda: dict(zip(("train", "test"), load_digits(), strict=True)),
    "letters": drawn_letters,
}


def folders(args: argparse.Namespace, place: Path) -> Iterator[tuple[str, Path]]:
    """The sets, each written when it is its turn, and those of the user."""
    for name in args.sets:
        yield name, write_set(place / name, SETS[name]())
    for folder in args.data:
        yield folder.name, folder


def measure(folder: Path, output: Path) -> dict:
    """All three ways on one set."""
    accuracy, seconds, plan = by_defaults(folder, output)
    sets = load_splits(folder, plan.model.image_size, quiet=True)
    return {
        "train": len(sets["train"]),
        "test": len(sets["test"]),
        "seconds": seconds,
        "train.py": accuracy,
        "CNN": by_convolutions(folder, plan, seconds),
        "pixels": by_pixels(folder),
    }


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__)
    parser.add_argument("--data", nargs="+", type=user_path, default=[])
    parser.add_argument(
        "--sets", nargs="*", choices=SETS, default=[*SETS], help="which of ours (all)"
    )
    path = RESULTS / "small_sets.json"
    parser.add_argument("--json", type=user_path, default=path, help=f"({path.name})")
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> None:
    check_files(args, "json")
    rows = {}
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        for number, (name, folder) in enumerate(folders(args, place)):
            rows[name] = measure(folder, place / f"run-{number}")
            print(f"{name}: {rows[name]}", flush=True)
    cells = [
        [name, f"{row['train']:,}", f"{row['test']:,}"]
        + [f"{100 * row[way]:.1f} %" for way in ("pixels", "CNN", "train.py")]
        + [f"{row['seconds']:.0f} s"]
        for name, row in rows.items()
    ]
    heads = ["set", "training", "test", "pixels", "CNN", "`train.py`", "time of each"]
    print(markdown_table([heads, *cells]))
    write_json(args.json, {"machine": describe_machine(CPU), "sets": rows})


def main(argv: list[str] | None = None) -> int:
    return run_command(parse, run, argv)


if __name__ == "__main__":
    sys.exit(main())
