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
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from going_modular.attention_capture import capture
from going_modular.config import ViTConfig
from going_modular.utils import describe_machine, set_seeds
from going_modular.vit import ViT

OUTPUT = Path(__file__).parent / "results/capturing.json"
CASES = ("ViT-B/16, batch 1", "ViT-B/16, batch 8", "built-in, batch 256")
MOST_SECONDS = 60  # for each case: small models get more rounds


def make_case(name: str) -> tuple[ViT, Tensor]:
    """The model in evaluation mode, and a batch of random images."""
    set_seeds(0)
    kind, _, batch = name.partition(", batch ")
    if kind == "built-in":
        model = ViT.from_pretrained("built-in", quiet=True)
    else:
        model = ViT(ViTConfig.from_variant("B/16"))
    config = model.config
    x = torch.randn(int(batch), config.in_channels, *config.image_shape)
    return model.eval(), x


def seconds_for(call: Callable) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@torch.no_grad()
def measure(model: ViT, x: Tensor, rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round, after one round to warm up."""
    ways = {
        "fused": lambda: model(x),
        "explicit": lambda: model(x, return_intermediates=True),
        "capture": lambda: capture(model, x),
    }
    found = {way: [] for way in ways}
    stop = None
    for number in range(-1, rounds):
        for way, call in ways.items():
            seconds = seconds_for(call)
            if number >= 0:
                found[way].append(seconds)
        stop = stop or time.perf_counter() + MOST_SECONDS
        if number >= 2 and time.perf_counter() > stop:
            break
    return found


def spread(values: list[float]) -> list[float]:
    """Median, least and greatest."""
    return [round(f(values), 4) for f in (statistics.median, min, max)]


def ratios(found: dict[str, list[float]], other: str) -> list[float]:
    """Capture's time over another way's, round by round: median and range."""
    pairs = zip(found["capture"], found[other], strict=True)
    return spread([mine / theirs for mine, theirs in pairs])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--rounds",
        type=int,
        default=15,
        help=f"most rounds of a case, in {MOST_SECONDS} seconds (default: 15)",
    )
    parser.add_argument(
        "--case", choices=CASES, action="append", help="this one only; may be repeated"
    )
    args = parser.parse_args()
    if args.rounds < 1:
        parser.error(f"--rounds must be a positive integer, not {args.rounds}")

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
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"written to {OUTPUT}")


if __name__ == "__main__":
    main()
