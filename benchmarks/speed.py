"""Speed of our model beside those of torchvision, timm, transformers and vit-pytorch.

    python -m benchmarks.speed
    python -m benchmarks.speed --compile --minutes 60
    python -m benchmarks.speed --models B/16 --mode train --precision bf16 --batch 16

Every row of the table is one size, precision and mode. All contenders take turns in
one process, on the same images, with the same weights where they compute the same
function, which is checked first. Ours runs twice: as the scripts run it, on its fast
path, and plain, as the notebooks build it.

- forward: evaluation in inference mode; in bfloat16 ours keeps a copy of its matrices,
  as the scripts do, and the others round theirs in each pass, as autocast has it;
- train: forward, cross-entropy, backward and a step of AdamW, the same for all.

Beside them, `torch.mm` of large square matrices shows what the machine can do in that
precision, and how much of that our model does. bfloat16 is measured where the hardware
has it, or where --precision asks for it. A GPU is taken where there is one, with sizes
that suit it. Prints a Markdown table of medians in images per second, lowest and
highest in brackets, and writes benchmarks/results/speed_DEVICE.json.
"""

import argparse
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.command import (
    RESULTS,
    check_files,
    check_positive,
    run_command,
    write_json,
)
from benchmarks.contenders import PEERS, build_contenders, greatest_difference
from benchmarks.measuring import (
    PRECISIONS,
    forward_call,
    markdown_table,
    matrix_products,
    spread,
    take_turns,
    train_call,
)
from going_modular.command_line.flags import one_line_parser
from going_modular.config import ViTConfig
from going_modular.errors import InputError
from going_modular.training.fast_path import for_prediction, has_bf16
from going_modular.utils import choose_device, describe_machine, set_seeds

OURS = ("ours", "plain")
# Where nothing is said. Steps in a row make one time: a GPU is fed ahead of its work.
ON_CPU = {
    "models": ["Ti/16", "S/16", "B/16"],
    "mode": ["forward", "train"],
    "batch": 8,
    "steps": 1,
}
ON_GPU = {
    "models": ["S/16", "B/16", "L/16"],
    "mode": ["train"],
    "precision": ["bf16"],
    "batch": 64,
    "steps": 10,
}


def measure(
    contenders: dict[str, nn.Module], config: ViTConfig, row: dict, args, seconds: float
) -> dict:
    """Time one row of the table.

    Returns:
        The row, which says mode, precision and compiled, with images per second of
        each contender, ours over the best peer round by round, and the rates of our
        model and of the machine in TFLOP/s.
    """
    device, dtype = args.device, PRECISIONS[row["precision"]]
    x = torch.randn(args.batch, config.in_channels, *config.image_shape, device=device)
    labels = torch.randint(config.num_classes, (args.batch,), device=device)
    slow = row["precision"] == "bf16" and not has_bf16(device)  # minutes for one
    calls = {} if slow else matrix_products(device, dtype)
    sides = list(calls)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        contenders["ours"](x)
    if row["compiled"]:
        torch.compiler.reset()  # there is a limit to the versions of one model
    for name, model in contenders.items():
        model.train(row["mode"] == "train")
        own_precision = name == "ours" and row["mode"] == "forward"
        if own_precision:
            model = for_prediction(model.model, dtype)
        run = torch.compile(model) if row["compiled"] else model
        if own_precision:
            calls[name] = forward_call(run, x)
        elif row["mode"] == "forward":
            calls[name] = forward_call(run, x, dtype)
        else:
            calls[name] = train_call(run, x, labels, dtype)
    found = take_turns(calls, args.rounds, seconds, device, args.steps)
    for model in contenders.values():
        model.zero_grad()  # a row of forward passes needs no gradients' memory

    speeds = {name: [args.batch / s for s in found[name]] for name in contenders}
    # Backward, each matrix product has two.
    work = counter.get_total_flops() * (1 if row["mode"] == "forward" else 3)
    row |= {
        "rounds": len(speeds["ours"]),
        "images_per_second": {name: spread(values) for name, values in speeds.items()},
        "tflops": work / spread(found["ours"])[0] / 1e12,
    }
    if sides:
        rates = [2 * side**3 / spread(found[side])[0] for side in sides]
        row["machine_tflops"] = max(rates) / 1e12
    peers = [name for name in speeds if name not in OURS]
    if peers:
        best = max(peers, key=lambda name: spread(speeds[name])[0])
        row["best_peer"] = best
        for name in OURS:
            pairs = zip(speeds[name], speeds[best], strict=True)
            row[f"{name}_to_best"] = spread([mine / theirs for mine, theirs in pairs])
    return row


def table(rows: list[dict], names: list[str]) -> str:
    """The rows in Markdown, in images per second."""

    def cell(values) -> str:
        digits = 0 if values[0] >= 100 else 1 if values[0] >= 10 else 2
        median, low, high = (f"{value:.{digits}f}" for value in values)
        return f"{median} ({low}-{high})"

    ratios = [f"{name} / best" for name in OURS]
    lines = [["model", "mode", *names, *ratios, "of matrix product"]]
    for row in rows:
        mode = f"{row['precision']} {row['mode']}" + " compiled" * row["compiled"]
        speeds = [cell(row["images_per_second"][name]) for name in names]
        ratios = [row.get(f"{name}_to_best") for name in OURS]
        ratios = [cell(ratio) if ratio else "" for ratio in ratios]
        share = ""
        if "machine_tflops" in row:
            share = f"{100 * row['tflops'] / row['machine_tflops']:.0f} %"
        lines.append([row["model"], mode, *speeds, *ratios, share])
    return markdown_table(lines)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__.split("\n")[0])
    parser.add_argument("--models", nargs="+", help="such as Ti/16 B/16")
    parser.add_argument("--mode", choices=("forward", "train"), nargs="+")
    parser.add_argument("--precision", choices=list(PRECISIONS), nargs="+")
    peers = list(PEERS)
    parser.add_argument("--peers", choices=peers, default=peers, nargs="*")
    parser.add_argument("--compile", action="store_true", help="compiled rows too")
    parser.add_argument("--batch", type=int, help="images in a batch (8; GPU 64)")
    parser.add_argument("--steps", type=int, help="in a row for one time (1; GPU 10)")
    parser.add_argument("--image-size", type=int, default=224, help="pixels (224)")
    parser.add_argument("--rounds", type=int, default=15, help="most of a row (15)")
    parser.add_argument("--minutes", type=float, default=9, help="in all, roughly (9)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument("--output", type=Path, help="JSON (results/speed_DEVICE.json)")
    args = parser.parse_args(argv)
    args.device = choose_device(args.device)
    kind = args.device.type
    if args.precision is None and kind != "cuda":
        args.precision = ["fp32", *["bf16"] * has_bf16(args.device)]
    for name, value in (ON_GPU if kind == "cuda" else ON_CPU).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    check_positive(args, "batch", "steps", "rounds", "minutes")
    args.output = args.output or RESULTS / f"speed_{kind}.json"
    check_files(args, "output")
    return args


def run(args: argparse.Namespace) -> None:
    """Measure every row, and print and write what was found."""
    try:
        configs = [ViTConfig.from_variant(m, args.image_size) for m in args.models]
    except ValueError as error:
        raise InputError(str(error)) from None
    kinds = [
        dict(precision=precision, mode=mode, compiled=compiled)
        for compiled in ((False, True) if args.compile else (False,))
        for precision in args.precision
        for mode in args.mode
    ]
    end = time.perf_counter() + 60 * args.minutes
    figures = describe_machine(args.device) | {"batch": args.batch, "steps": args.steps}
    figures |= {"image_size": args.image_size, "greatest_difference": {}, "rows": []}
    left = len(configs) * len(kinds)
    for name, config in zip(args.models, configs, strict=True):
        set_seeds(0)
        contenders = build_contenders(config, args.peers)
        contenders = {key: model.to(args.device) for key, model in contenders.items()}
        x = torch.randn(2, config.in_channels, *config.image_shape, device=args.device)
        figures["greatest_difference"][name] = greatest_difference(contenders, x)
        for kind in kinds:
            seconds = (end - time.perf_counter()) / left
            row = measure(contenders, config, {"model": name, **kind}, args, seconds)
            figures["rows"].append(row)
            left -= 1
            print(table([row], list(contenders)), file=sys.stderr, flush=True)
    print(table(figures["rows"], list(contenders)))
    write_json(args.output, figures)


def main(argv: list[str] | None = None) -> int:
    return run_command(parse, run, argv)


if __name__ == "__main__":
    sys.exit(main())
