"""Time and memory of loading ViT-B/16 from a file, beside torch alone.

    python -m benchmarks.loading

A torchvision ViT-B/16 with random weights is saved as `.pth`. In a process of its own
each, turn by turn:

- torch: `torch.load`, then `load_state_dict` into torchvision's model;
- ours: `load_pretrained` of the same file into our model.

The models are built before the clock starts. Memory is the growth of the process's
peak over what it held with the model built, and is compared with the file plus the
model. Writes benchmarks/results/loading.json.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.command import (
    RESULTS,
    check_files,
    check_positive,
    run_command,
    write_json,
)
from benchmarks.measuring import resident, spread
from going_modular.command_line.flags import one_line_parser
from going_modular.utils import describe_machine


def peak() -> float:
    """Highest memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(way: str, file: str) -> dict[str, float]:
    """Load once, in this process."""
    if way == "torch":
        from torchvision.models import vit_b_16

        model = vit_b_16(weights=None)
        before, start = resident("VmRSS"), time.perf_counter()
        model.load_state_dict(torch.load(file, weights_only=True))
    else:
        from going_modular.config import ViTConfig
        from going_modular.pretrained import load_pretrained
        from going_modular.vit import ViT

        model = ViT(ViTConfig())
        before, start = resident("VmRSS"), time.perf_counter()
        load_pretrained(model, file, quiet=True)
    seconds = time.perf_counter() - start
    size = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    return {"seconds": seconds, "growth": peak() - before, "model": size}


def run_apart(way: str, file: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.loading", "--way", way, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__.split("\n")[0])
    parser.add_argument("--way", choices=("torch", "ours"), help=argparse.SUPPRESS)
    parser.add_argument("file", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=7, help="pairs of runs (7)")
    parser.add_argument("--json", type=Path, default=RESULTS / "loading.json")
    args = parser.parse_args(argv)
    check_positive(args, "rounds")
    check_files(args, "json")
    return args


def run(args: argparse.Namespace) -> None:
    if args.way:
        print(json.dumps(measure(args.way, args.file)))
        return

    from torchvision.models import vit_b_16

    found: dict[str, list[dict]] = {"torch": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vit_b_16.pth"
        torch.manual_seed(0)
        torch.save(vit_b_16(weights=None).state_dict(), file)
        megabytes = file.stat().st_size / 2**20
        for _ in range(args.rounds):
            for way, runs in found.items():
                runs.append(run_apart(way, file))
    pairs = zip(found["ours"], found["torch"], strict=True)
    ratios = [ours["seconds"] / theirs["seconds"] for ours, theirs in pairs]
    total = megabytes + found["ours"][0]["model"]
    # The model was built, and counted, before.
    used = [run["growth"] + run["model"] for run in found["ours"]]
    figures = {
        **describe_machine(),
        "runs": args.rounds,
        "file_mb": round(megabytes, 1),
        "seconds": {
            way: round(statistics.median(run["seconds"] for run in runs), 3)
            for way, runs in found.items()
        },
        "time_ratio": [round(x, 2) for x in spread(ratios)],
        "memory_ratio": round(statistics.median(used) / total, 2),
    }
    print(json.dumps(figures, indent=1))
    write_json(args.json, figures)


def main(argv: list[str] | None = None) -> int:
    return run_command(parse, run, argv)


if __name__ == "__main__":
    sys.exit(main())
