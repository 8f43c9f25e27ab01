"""How a Vision Transformer's cost grows with its size: the question of figure 12.

    python -m benchmarks.growth
    python -m benchmarks.growth --output images/growth.png

From one model, one size at a time is changed: image size, depth, width or batch. All
forward passes take turns in one process. Measured are images per second and, on Linux
and on GPUs, the most memory that a pass needs beside the weights. The line expected
from the multiplications goes through the common model: where images per second stay
above it, larger sizes use the machine better.

Prints a Markdown table, writes benchmarks/results/growth_DEVICE.json, and draws both
where --output says so.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib
import torch

from benchmarks.command import (
    RESULTS,
    check_files,
    check_picture,
    check_positive,
    run_command,
    write_json,
)
from benchmarks.growth_figure import LABELS, plot_growth
from benchmarks.measuring import (
    PRECISIONS,
    forward_call,
    markdown_table,
    multiply_adds,
    peak_memory,
    spread,
    take_turns,
)
from going_modular.command_line.flags import one_line_parser
from going_modular.config import ViTConfig
from going_modular.errors import InputError
from going_modular.helper_functions import use_style
from going_modular.plots.style import save_figure
from going_modular.utils import choose_device, describe_machine, set_seeds
from going_modular.vit import ViT

# Two halvings and two doublings around the common model.
FACTORS = (0.25, 0.5, 1, 2, 4)


@dataclass(frozen=True)
class Case:
    """A model and a batch."""

    config: ViTConfig
    batch: int

    def grow(self, dimension: str, factor: float) -> tuple[int, "Case"]:
        """Change one size by a factor; give its new value, too."""
        c = self.config
        if dimension == "batch":
            batch = scale(self.batch, factor)
            return batch, replace(self, batch=batch)
        if dimension == "image size":
            side = c.patch_size * scale(c.image_size // c.patch_size, factor)
            return side, replace(self, config=replace(c, image_size=side))
        if dimension == "depth":
            depth = scale(c.depth, factor)
            return depth, replace(self, config=replace(c, depth=depth))
        # Heads keep their width, and the MLP its proportion, as in Table 1.
        heads = scale(c.num_heads, factor)
        width, mlp_size = heads * c.head_dim, heads * c.mlp_size // c.num_heads
        wider = replace(c, num_heads=heads, embedding_dim=width, mlp_size=mlp_size)
        return width, replace(self, config=wider)


def scale(size: int, factor: float) -> int:
    return max(1, round(size * factor))


def prepare(case: Case, args: argparse.Namespace) -> Callable:
    """Build a model and give its forward pass on a batch of noise."""
    set_seeds(0)
    model = ViT(case.config).to(args.device).eval()
    shape = (case.batch, case.config.in_channels, *case.config.image_shape)
    x = torch.randn(shape, device=args.device)
    return forward_call(model, x, PRECISIONS[args.precision])


def measure(common: Case, args: argparse.Namespace) -> list[dict]:
    """One row for each value of each dimension."""
    grown = [
        (dimension, *common.grow(dimension, factor))
        for dimension in LABELS
        for factor in FACTORS
    ]
    # The common model stands in all four dimensions, and is measured once.
    cases = dict.fromkeys(case for *_, case in grown)
    calls = {case: prepare(case, args) for case in cases}
    calls[common]()  # what libraries keep from their first use is no model's memory
    memory = {case: peak_memory(call, args.device) for case, call in calls.items()}
    times = take_turns(calls, args.rounds, 60 * args.minutes, args.device)
    work = {case: multiply_adds(case.config) for case in calls}
    rate = common.batch * work[common] / spread(times[common])[0]  # a second
    return [
        {
            "dimension": dimension,
            "value": value,
            "multiply_adds": work[case],
            "images_per_second": spread([case.batch / s for s in times[case]]),
            "expected": rate / work[case],
            "peak_mib": memory[case],
        }
        for dimension, value, case in grown
    ]


def table(rows: list[dict]) -> str:
    """The rows in Markdown."""
    lines = [["", "value", "images/s", "expected", "memory of the pass, MiB"]]
    for row in rows:
        median, low, high = row["images_per_second"]
        memory = "unknown" if row["peak_mib"] is None else f"{row['peak_mib']:.0f}"
        speed = f"{median:.3g} ({low:.3g}-{high:.3g})"
        numbers = [str(row["value"]), speed, f"{row['expected']:.3g}", memory]
        lines.append([row["dimension"], *numbers])
    return markdown_table(lines)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__.split("\n")[0])
    parser.add_argument("--model", default="Ti/16", help="the common model (Ti/16)")
    parser.add_argument("--image-size", type=int, default=192, help="pixels (192)")
    parser.add_argument("--batch", type=int, default=8, help="images in a batch (8)")
    parser.add_argument("--precision", choices=list(PRECISIONS), default="fp32")
    parser.add_argument("--rounds", type=int, default=9, help="most rounds (9)")
    parser.add_argument("--minutes", type=float, default=5, help="roughly (5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--output", type=Path, help="draw here, as PNG")
    parser.add_argument("--json", type=Path, help="(results/growth_DEVICE.json)")
    args = parser.parse_args(argv)
    args.device = choose_device(args.device)
    args.json = args.json or RESULTS / f"growth_{args.device.type}.json"
    check_positive(args, "batch", "rounds", "minutes")
    check_picture(args.output)
    check_files(args, "output", "json")
    return args


def run(args: argparse.Namespace) -> None:
    try:
        config = ViTConfig.from_variant(args.model, image_size=args.image_size)
    except ValueError as error:
        raise InputError(str(error)) from None
    rows = measure(Case(config, args.batch), args)
    names = ("model", "image_size", "batch", "precision")
    asked = {name: getattr(args, name) for name in names}
    figures = {**describe_machine(args.device), **asked, "rows": rows}
    print(table(rows))
    write_json(args.json, figures)
    if args.output:
        matplotlib.use("Agg")
        use_style()
        title = (
            f"ViT-{args.model} at {args.image_size} pixels, {args.precision}, "
            f"batch of {args.batch}, one size changed at a time"
        )
        save_figure(plot_growth(rows, title), args.output)


def main(argv: list[str] | None = None) -> int:
    return run_command(parse, run, argv)


if __name__ == "__main__":
    sys.exit(main())
