"""The paper's recipe against the one that public replications commonly use.

    python -m benchmarks.recipes
    python -m benchmarks.recipes --data fashion_mnist --epochs 15

Both train the same model on the same batches for as many epochs, in one process, turn
by turn. The common recipe: PyTorch's default start weights, class token and position
embeddings from N(0, 1), LayerNorm eps 1e-5, Adam with coupled weight decay 0.3, a
constant learning rate, no clipping and no label smoothing.

Writes the curves to images/ and the figures, with seed and hardware, to
benchmarks/results/.
"""

import argparse
import json
import time
from pathlib import Path

import matplotlib
import torch
from torch import nn

import train
from going_modular.engine import train as train_epochs
from going_modular.helper_functions import plot_lines, use_style
from going_modular.optimization import build_optimizer, build_schedule
from going_modular.utils import describe_machine, set_seeds
from going_modular.vit import ViT

ROOT = Path(__file__).parents[1]
COMMON_RATE = 3e-3  # Table 3's, as public replications take it
COMMON_DECAY = 0.3


def spoil_start(model: ViT) -> None:
    """Start a model as PyTorch's defaults and N(0, 1) embeddings would."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-5
    nn.init.normal_(model.patch_embedding.class_token)
    nn.init.normal_(model.patch_embedding.position_embedding)


def run_paper_recipe(plan, train_batches, test_batches) -> dict[str, list[float]]:
    """What train.py does."""
    settings = plan.training
    set_seeds(settings.seed)
    model = ViT(plan.model)
    optimizer = build_optimizer(model, settings.learning_rate, settings.weight_decay)
    steps = settings.epochs * len(train_batches)
    schedule = build_schedule(
        optimizer, steps, round(settings.warmup * steps), settings.decay
    )
    return train_epochs(
        model,
        train_batches,
        test_batches,
        optimizer,
        settings.epochs,
        on_epoch=report("paper's recipe"),
        schedule=schedule,
        clip_norm=settings.clip_norm,
        label_smoothing=settings.label_smoothing,
    )


def run_common_recipe(plan, train_batches, test_batches) -> dict[str, list[float]]:
    """The same model and batches, started and trained as replications often do."""
    set_seeds(plan.training.seed)
    model = ViT(plan.model)
    spoil_start(model)
    optimizer = torch.optim.Adam(
        model.parameters(), lr=COMMON_RATE, weight_decay=COMMON_DECAY
    )
    return train_epochs(
        model,
        train_batches,
        test_batches,
        optimizer,
        plan.training.epochs,
        on_epoch=report("common recipe"),
        clip_norm=None,
    )


def report(name: str):
    """Print a line an epoch."""

    def on_epoch(results: dict[str, list[float]]) -> None:
        accuracy = 100 * results["test_acc"][-1]
        print(f"{name}, epoch {len(results['test_acc'])}: {accuracy:.2f} %", flush=True)

    return on_epoch


def main() -> None:
    matplotlib.use("Agg")
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", default="built-in", choices=list(train.PRESETS))
    parser.add_argument("--epochs", type=int)
    args = parser.parse_args()
    flags = ["--data", args.data]
    if args.epochs:
        flags += ["--epochs", str(args.epochs)]
    options = train.parse(flags)
    plan, _ = train.make_plan(options)
    plan, train_set, test_set = train.load_images(plan, options)
    batches = train.make_batches(
        plan.training, train_set, test_set, torch.device("cpu")
    )

    figures = {"data": args.data, **describe_machine(), "settings": plan.settings()}
    runs = {"paper's recipe": run_paper_recipe, "common recipe": run_common_recipe}
    for name, run in runs.items():
        start = time.perf_counter()
        results = run(plan, *batches)
        seconds = round(time.perf_counter() - start)
        figures[name] = {"seconds": seconds, **results}

    output = ROOT / "benchmarks/results" / f"recipes_{args.data}.json"
    output.parent.mkdir(exist_ok=True)
    output.write_text(json.dumps(figures, indent=1) + "\n")
    use_style()
    accuracies = {name: 100 * torch.tensor(figures[name]["test_acc"]) for name in runs}
    figure = plot_lines(
        torch.arange(1, plan.training.epochs + 1),
        accuracies,
        "epoch",
        "test images classified rightly (%)",
        f"One model, two recipes, {len(train_set):,} training images",
    )
    figure.savefig(ROOT / "images" / f"recipes_{args.data}.png")


if __name__ == "__main__":
    main()
