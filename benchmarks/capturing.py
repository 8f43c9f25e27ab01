"""Time of capturing attention, beside the two ways of running the model itself.

    python -m benchmarks.capturing

One forward pass each, turn by turn, in one process:

- fused: `model(x)`, which computes no attention weights;
- explicit: `model(x, return_intermediates=True)`, which computes and keeps them;
- capture: `capture(model, x)`, the fused pass and the weights of all layers.

For ViT-B/16 with random weights, batches of 1 and 8, and for the built-in model, a
batch of 256, all in float32. Prints a table and writes
benchmarks/results/capturing.json.
"""

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.command import (
    RESULTS,
    check_files,
    check_positive,
    run_command,
    write_json,
)
from benchmarks.measuring import spread, take_turns
from going_modular.command_line.flags import one_line_parser
from going_modular.config import ViTConfig
from going_modular.inspection.capture import capture
from going_modular.pretrained import from_pretrained
from going_modular.utils import describe_machine, set_seeds
from going_modular.vit import ViT

CASES = ("ViT-B/16, batch 1", "ViT-B/16, batch 8", "built-in, batch 256")
MOST_SECONDS = 60  # for each case: small models get more rounds


def make_case(name: str) -> tuple[ViT, Tensor]:
    """The model in evaluation mode, and a batch of random images."""
    set_seeds(0)
    kind, _, batch = name.partition(", batch ")
    if kind == "built-in":
        model = from_pretrained("built-in", quiet=True)
    else:
        model = ViT(ViTConfig.from_variant("B/16"))
    config = model.config
    x = torch.randn(int(batch), config.in_channels, *config.image_shape)
    return model.eval(), x


@torch.no_grad()
def measure(model: ViT, x: Tensor, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round."""
    ways = {
        "fused": lambda: model(x),
        "explicit": lambda: model(x, return_intermediates=True),
        "capture": lambda: capture(model, x),
    }
    return take_turns(ways, rounds, MOST_SECONDS, x.device)


def ratios(found: dict[str, list[float]], other: str) -> tuple[float, float, float]:
    """Capture's time over another way's, round by round: median and range."""
    pairs = zip(found["capture"], found[other], strict=True)
    return spread([mine / theirs for mine, theirs in pairs])


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__.split("\n")[0])
    about = f"most rounds of a case, in {MOST_SECONDS} seconds (15)"
    parser.add_argument("--rounds", type=int, default=15, help=about)
    about = "this one only; may be repeated"
    parser.add_argument("--case", choices=CASES, action="append", help=about)
    parser.add_argument("--json", type=Path, default=RESULTS / "capturing.json")
    args = parser.parse_args(argv)
    check_positive(args, "rounds")
    check_files(args, "json")
    return args


def run(args: argparse.Namespace) -> None:
    figures = describe_machine()
    print(f"{'':22}{'milliseconds':^27}{'capture / explicit':^21}{'/ fused':^21}")
    print(f"{'':22}{'fused':>8}{'explicit':>10}{'capture':>9}", end="")
    print(2 * "  median (range)     ")
    for name in args.case or CASES:
        found = measure(*make_case(name), args.rounds)
        times = {way: spread(seconds) for way, seconds in found.items()}
        to_explicit, to_fused = ratios(found, "explicit"), ratios(found, "fused")
        figures[name] = {
            "rounds": len(found["capture"]),
            "seconds": times,
            "capture_to_explicit": to_explicit,
            "capture_to_fused": to_fused,
        }
        fused, explicit, mine = (1000 * times[way][0] for way in times)
        print(f"{name:22}{fused:8.1f}{explicit:10.1f}{mine:9.1f}", end="")
        for median, least, most in (to_explicit, to_fused):
            print(f"   {median:.2f} ({least:.2f}-{most:.2f})  ", end="")
        print(flush=True)
    write_json(args.json, figures)


def main(argv: list[str] | None = None) -> int:
    return run_command(parse, run, argv)


if __name__ == "__main__":
    sys.exit(main())
