"""Which maps point at what a prediction rests on: the deletion test for each kind.

    python -m benchmarks.trust
    python -m benchmarks.trust --output images/trust.png

The built-in model classifies built-in test images. Patches are taken away in the order
that a map gives them, highest or lowest first, and the probability of the predicted
class is watched. Beside the maps of attention (rollout also with the greatest of the
heads and its smallest 0.9 discarded): the gradient times the input, and three orders
that know nothing of the model: brightness, nearness to the centre, chance.
A seed draws the images and the random orders. Patches go in three ways: their tokens
are left out, or their pixels are painted grey or black.

Prints two tables in Markdown, as mean and range over the seeds, and writes
benchmarks/results/trust.json.
"""

import argparse
import sys
import time
from pathlib import Path

import matplotlib
import torch
from torch import Tensor

from benchmarks.command import (
    RESULTS,
    check_files,
    check_picture,
    check_positive,
    run_command,
    write_json,
)
from benchmarks.measuring import markdown_table
from going_modular.attention_maps import (
    attention_flow,
    attention_from,
    attention_rollout,
    to_grid,
)
from going_modular.command_line.flags import one_line_parser
from going_modular.data_setup import ImageSet, load_builtin, normalise
from going_modular.helper_functions import plot_deletion_curves, use_style
from going_modular.inspection.capture import capture
from going_modular.inspection.deletion import DeletionCurves, deletion_test
from going_modular.patch_embedding import patchify
from going_modular.plots.style import save_figure
from going_modular.pretrained import from_pretrained
from going_modular.relevance import relevance
from going_modular.utils import describe_machine
from going_modular.vit import ViT

REMOVALS = {"tokens left out": None, "painted grey": 0.0, "painted black": -1.0}
AREAS = {
    "Area between lowest first and highest first": "area",
    "Area between random order and highest first": "area_over_highest",
}


def gradient_times_input(model: ViT, x: Tensor) -> Tensor:
    """Change of the predicted class's logit with each pixel, times the pixel.

    Returns:
        (B, N) sums over the pixels of each patch.
    """
    x = x.detach().requires_grad_()
    (gradients,) = torch.autograd.grad(model(x).amax(1).sum(), x)
    return patchify((gradients * x).detach(), model.config.patch_size).sum(2)  # (B, N)


def make_maps(model: ViT, x: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Every kind of map of these images: (B, H/P, W/P) or (B, N) scores by name."""
    grid = rows, columns = model.config.grid_shape
    attention = capture(model, x).attention  # (L, B, nh, T, T)
    down = torch.arange(rows) - (rows - 1) / 2
    right = torch.arange(columns) - (columns - 1) / 2
    nearness = -torch.hypot(down[:, None], right[None])  # (H/P, W/P)
    flows = torch.stack([attention_flow(one) for one in attention.unbind(1)])  # (B, T)
    return {
        "attention, last layer": attention_from(attention[-1].mean(1), grid),
        "rollout": attention_from(attention_rollout(attention)[-1], grid),
        "rollout (max, 0.9)": attention_from(
            attention_rollout(attention, "max", 0.9)[-1], grid
        ),
        "attention flow": to_grid(flows, grid),
        "relevance": attention_from(relevance(model, x), grid),
        "gradient times input": gradient_times_input(model, x),
        "brightness": patchify(x, model.config.patch_size).mean(2),  # (B, N)
        "nearness to the centre": nearness.expand(len(x), *grid),  # (B, H/P, W/P)
        "chance": torch.rand(len(x), *grid, generator=generator),
    }


def run_seed(
    model: ViT, data: ImageSet, seed: int, images: int, steps: int
) -> dict[tuple[str, str], DeletionCurves]:
    """The curves of one seed, by kind of removal and of map."""
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(len(data), generator=generator)[:images]
    x = normalise(data.images[chosen], model.config.mean, model.config.std)
    maps = make_maps(model, x, generator)
    # One random order for all, so that they are compared with the same curve.
    order = generator.get_state()
    return {
        (removal, name): deletion_test(
            model, x, scores, steps=steps, fill=fill, generator=restored(order)
        )
        for removal, fill in REMOVALS.items()
        for name, scores in maps.items()
    }


def restored(state: Tensor) -> torch.Generator:
    generator = torch.Generator()
    generator.set_state(state)
    return generator


def joined(runs: list[DeletionCurves]) -> DeletionCurves:
    """The curves of all images of all seeds."""
    return DeletionCurves(
        runs[0].shares,
        *(
            torch.cat([getattr(run, kind) for run in runs], dim=1)
            for kind in ("highest", "lowest", "random")
        ),
    )


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--images", type=int, default=200, help="images of each seed")
    parser.add_argument("--steps", type=int, default=7, help="steps to no patches")
    parser.add_argument("--output", type=Path, help="draw the curves here, as PNG")
    parser.add_argument("--json", type=Path, default=RESULTS / "trust.json")
    args = parser.parse_args(argv)
    check_positive(args, "images", "steps")
    check_picture(args.output)
    check_files(args, "output", "json")
    return args


def run(args: argparse.Namespace) -> None:
    start = time.perf_counter()
    model = from_pretrained("built-in", quiet=True).eval()
    _, data = load_builtin()
    runs = []
    for seed in args.seeds:
        runs.append(run_seed(model, data, seed, args.images, args.steps))
        print(f"seed {seed}: {time.perf_counter() - start:.0f} s", flush=True)
    names = list(dict.fromkeys(name for _, name in runs[0]))

    figures = {**describe_machine(), "seeds": args.seeds}
    figures |= {"images": args.images, "steps": args.steps}
    for title, area in AREAS.items():
        found = {key: [getattr(run[key], area) for run in runs] for key in runs[0]}
        rows = [["map", *REMOVALS]]
        for name in names:
            rows.append([name, *(cell(found[removal, name]) for removal in REMOVALS)])
        print(f"\n{title}:\n\n{markdown_table(rows)}")
        figures[title] = {
            removal: {name: found[removal, name] for name in names}
            for removal in REMOVALS
        }
    figures["seconds"] = round(time.perf_counter() - start)
    write_json(args.json, figures)
    if args.output:
        matplotlib.use("Agg")
        use_style()
        removal = next(iter(REMOVALS))
        figure = plot_deletion_curves(
            {name: joined([run[removal, name] for run in runs]) for name in names}
        )
        question = "Does the prediction rest on the patches that a map points at?"
        figure.legends[0].set_title(question, prop={"size": 10})
        save_figure(figure, args.output)


def cell(values: list[float]) -> str:
    """Mean and range."""
    mean = sum(values) / len(values)
    return f"{mean:.3f} ({min(values):.3f} to {max(values):.3f})"


def main(argv: list[str] | None = None) -> int:
    return run_command(parse, run, argv)


if __name__ == "__main__":
    sys.exit(main())
