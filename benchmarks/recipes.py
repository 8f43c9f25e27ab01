"""The paper's recipe against the one that public replications commonly use.

    python -m benchmarks.recipes
    python -m benchmarks.recipes --data fashion_mnist --epochs 15

Both train the same model on the same batches for as many epochs, in one process, an
epoch of one and an epoch of the other, so that both meet the same machine. Only the
training is timed, not the tests.

- The paper's recipe is that of train.py, in its `Trainer`.
- The common recipe: PyTorch's default start weights, class token and position
  embeddings from N(0, 1), LayerNorm eps 1e-5, Adam with coupled weight decay 0.3, a
  constant learning rate, no clipping and no label smoothing, in the plain loop.

Draws accuracy against seconds into images/, and writes the figures, with seed, hardware
and the seconds to reach 80 to 88 %, to benchmarks/results/.
"""

import argparse
import sys
import time
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure

import train
from benchmarks.command import (
    RESULTS,
    check_files,
    check_picture,
    run_command,
    write_json,
)
from benchmarks.recipe_contenders import CommonRecipe, PaperRecipe
from going_modular.command_line.flags import one_line_parser
from going_modular.helper_functions import COLOURS, use_style
from going_modular.plots.style import save_figure
from going_modular.system.signals import Stopped
from going_modular.utils import describe_machine

ROOT = Path(__file__).parents[1]
MARKS = (80, 85, 86, 87, 88)  # % of test images
STYLES = (
    {"color": COLOURS["patch"]},
    {"color": COLOURS["class"], "linestyle": "--"},
)


def take_turns(recipes: dict, epochs: int) -> dict[str, dict[str, list[float]]]:
    """Train an epoch of each in turn.

    Returns:
        For each recipe, by its name, after each epoch: the seconds spent on training
        so far, without testing, and the share of test images classified rightly.
    """
    curves = {name: {"seconds": [], "test_acc": []} for name in recipes}
    for epoch in range(1, epochs + 1):
        for name, recipe in recipes.items():
            start = time.perf_counter()
            recipe.train_epoch()
            recipe.seconds += time.perf_counter() - start
            accuracy = recipe.test()
            curves[name]["seconds"].append(recipe.seconds)
            curves[name]["test_acc"].append(accuracy)
            took = f"{recipe.seconds:.0f} s"
            print(f"{name}, epoch {epoch}, {took}: {100 * accuracy:.2f} %", flush=True)
    return curves


def seconds_to(curve: dict[str, list[float]]) -> dict[str, float | None]:
    """Seconds until each of the `MARKS` was first reached; None where it was not."""
    pairs = list(zip(curve["seconds"], curve["test_acc"], strict=True))
    # Accuracies are float32: .85 is a little less there.
    return {
        f"{mark} %": next((s for s, acc in pairs if acc > mark / 100 - 1e-6), None)
        for mark in MARKS
    }


def plot_curves(curves: dict[str, dict[str, list[float]]], title: str) -> Figure:
    """Test accuracy against seconds of training; each recipe has its own times."""
    figure, ax = plt.subplots()
    for (name, curve), style in zip(curves.items(), STYLES, strict=True):
        percent = [100 * accuracy for accuracy in curve["test_acc"]]
        ax.plot(curve["seconds"], percent, label=name, **style)
    ax.set(
        xlabel="seconds of training",
        ylabel="test images classified rightly (%)",
        title=title,
    )
    ax.legend()
    return figure


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__.split("\n")[0])
    parser.add_argument("--data", default="built-in", choices=list(train.PRESETS))
    parser.add_argument("--epochs", type=int, help="of each (train.py's for the data)")
    parser.add_argument("--output", type=Path, help="PNG (images/recipes_DATA.png)")
    parser.add_argument("--json", type=Path, help="(results/recipes_DATA.json)")
    args = parser.parse_args(argv)
    args.output = args.output or ROOT / f"images/recipes_{args.data}.png"
    args.json = args.json or RESULTS / f"recipes_{args.data}.json"
    check_picture(args.output)
    check_files(args, "output", "json")
    return args


def run(args: argparse.Namespace) -> None:
    flags = ["--data", args.data, "--stem", "patches"]  # the paper's own model
    if args.epochs is not None:
        flags += ["--epochs", str(args.epochs)]
    options = train.parse(flags)
    plan, _ = train.make_plan(options)
    plan, sets = train.load_images(plan, options)
    kinds = {"paper's recipe": PaperRecipe, "common recipe": CommonRecipe}
    device = torch.device("cpu")
    recipes = {
        # Batches of its own for each: they keep their epoch.
        name: kind(plan, **train.make_batches(plan.training, sets, device))
        for name, kind in kinds.items()
    }
    curves = take_turns(recipes, plan.training.epochs)
    figures = {"data": args.data, **describe_machine(), "settings": plan.settings()}
    for name, curve in curves.items():
        figures[name] = {**curve, "seconds_to": seconds_to(curve)}
        print(f"{name}, seconds to reach: {figures[name]['seconds_to']}")
    write_json(args.json, figures)
    matplotlib.use("Agg")
    use_style()
    title = f"One model, two recipes, {len(sets['train']):,} training images"
    save_figure(plot_curves(curves, title), args.output)


def main(argv: list[str] | None = None) -> int:
    try:
        return run_command(parse, run, argv)
    except Stopped as stopped:
        return 128 + stopped.number


if __name__ == "__main__":
    sys.exit(main())
