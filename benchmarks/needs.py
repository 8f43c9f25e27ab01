"""Memory and time that training needs, from the model's shapes.

    python -m benchmarks.needs
    python -m benchmarks.needs --models L/16 --batch 128 --tflops 300 --devices 16

Counted are, for a model in bf16 autocast with AdamW and without dropout:

- the model's part: weights, gradients and AdamW's two averages in fp32, and the bf16
  copies of the weights that the backward pass needs;
- the activations of an image: what the blocks keep for the backward pass;
- the operations of a training step, and from these the hours of a long run, at the
  rate that --tflops says each device sustains.

Both are summed, as if all gradients and activations were held at once. FSDP shares the
model's part out over the devices; the whole weights of the block at work come on top.

The counts are then checked: the activations against what autograd saves, and the
memory of a real step, in fp32 on this machine, against the count for it (--check none
leaves this out). Prints Markdown tables and writes benchmarks/results/needs.json.
"""

import argparse
import ctypes
import sys
from pathlib import Path

import torch

from benchmarks.command import (
    RESULTS,
    check_files,
    check_positive,
    run_command,
    write_json,
)
from benchmarks.counting import saved_per_image, step_flops
from benchmarks.measuring import (
    PRECISIONS,
    markdown_table,
    peak_memory,
    train_call,
)
from going_modular.command_line.flags import one_line_parser
from going_modular.config import ViTConfig, count_parameters
from going_modular.errors import InputError
from going_modular.training.memory import activation_bytes, model_bytes
from going_modular.utils import describe_machine, set_seeds
from going_modular.vit import ViT

IMAGENET = 1_281_167  # training images of ImageNet-1k
CPU = torch.device("cpu")


def map_large_blocks() -> None:
    """Let what is freed leave the process at once, so that its peak is the tensors'.

    glibc would keep freed blocks of up to 32 MiB, and find no use for some of them.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(-3, 2**17)  # M_MMAP_THRESHOLD, in bytes


def check(name: str, image_size: int, batch: int) -> dict:
    """Measure what was counted, with a real model."""
    set_seeds(0)
    config = ViTConfig.from_variant(name, image_size=image_size)
    model = ViT(config)
    found = {"model": name, "batch": batch, "activations": {}}
    found["parameters"] = sum(p.numel() for p in model.parameters())
    for precision, dtype in PRECISIONS.items():
        found["activations"][precision] = {
            "counted": activation_bytes(config, dtype),
            "saved": saved_per_image(model, dtype),
        }
    x = torch.randn(batch, config.in_channels, *config.image_shape)
    call = train_call(model, x, torch.zeros(batch, dtype=torch.long), torch.float32)
    call()  # gradients and AdamW's averages are there from now on
    peak = peak_memory(call, CPU)
    # The old gradients go before the new ones come: the peak is the activations'.
    found["step"] = {
        "counted": batch * activation_bytes(config, torch.float32),
        "measured": None if peak is None else peak * 2**20,
    }
    return found


def row(name: str, args: argparse.Namespace) -> dict:
    """What one model needs."""
    c = ViTConfig.from_variant(name, image_size=args.image_size)
    dtype = torch.bfloat16
    model, image = model_bytes(c, dtype), activation_bytes(c, dtype)
    hours = step_flops(c) * IMAGENET * args.epochs / (args.tflops * 1e12) / 3600
    return {
        "model": name,
        "parameters": sum(count_parameters(c).values()),
        "model_bytes": model,
        "activation_bytes": image,
        "one_device_bytes": {n: model + n * image for n in args.batch},
        "fsdp_bytes": {n: model / args.devices + n * image for n in args.batch},
        "step_flops": step_flops(c),
        "hours": {n: hours / n for n in dict.fromkeys((1, args.devices))},
    }


def table(rows: list[dict], args: argparse.Namespace) -> str:
    """The rows in Markdown."""
    head = ["model", "parameters, M", "model's part, GB", "an image, MB"]
    head += [f"batch {n}, GB" for n in args.batch]
    head += [f"batch {n}, FSDP over {args.devices}, GB" for n in args.batch]
    head += ["GFLOP an image and step"]
    head += [f"hours on {n}" for n in rows[0]["hours"]]
    lines = [head]
    for found in rows:
        memory = (found["one_device_bytes"], found["fsdp_bytes"])
        numbers = [found["parameters"] / 1e6, found["model_bytes"] / 1e9]
        numbers += [found["activation_bytes"] / 1e6]
        numbers += [value / 1e9 for part in memory for value in part.values()]
        numbers += [found["step_flops"] / 1e9, *found["hours"].values()]
        cells = [f"{n:.0f}" if n >= 100 else f"{n:.1f}" for n in numbers]
        lines.append([found["model"], *cells])
    return markdown_table(lines)


def check_table(found: dict) -> str:
    """Counted beside measured, in Markdown."""
    lines = [[f"ViT-{found['model']}", "counted, MB", "measured, MB", "ratio"]]
    pairs = [
        (f"kept for an image, {precision}", pair["counted"], pair["saved"])
        for precision, pair in found["activations"].items()
    ]
    step = found["step"]
    name = f"peak of a step, batch {found['batch']}, fp32, beside the model's part"
    pairs.append((name, step["counted"], step["measured"]))
    for name, counted, measured in pairs:
        known = measured is not None
        numbers = [f"{measured / 1e6:.1f}", f"{measured / counted:.3f}"] * known
        lines.append([name, f"{counted / 1e6:.1f}", *(numbers or ["unknown", ""])])
    return markdown_table(lines)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__.split("\n")[0])
    models = ["B/16", "L/16", "H/14"]
    parser.add_argument("--models", nargs="+", default=models, help=" ".join(models))
    parser.add_argument("--image-size", type=int, default=224, help="pixels (224)")
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--devices", type=int, default=8, help="that FSDP shares (8)")
    parser.add_argument("--tflops", type=float, default=400, help="of a device (400)")
    parser.add_argument("--epochs", type=int, default=300, help="of ImageNet-1k (300)")
    parser.add_argument("--check", default="B/16", help="model to measure (B/16), none")
    parser.add_argument("--check-batch", type=int, default=8, help="its batch (8)")
    parser.add_argument("--json", type=Path, default=RESULTS / "needs.json")
    args = parser.parse_args(argv)
    check_positive(args, "devices", "tflops", "epochs", "check_batch", "batch")
    check_files(args, "json")
    return args


def run(args: argparse.Namespace) -> None:
    try:
        rows = [row(name, args) for name in args.models]
        checked = args.check != "none"
        map_large_blocks()
        found = check(args.check, args.image_size, args.check_batch) if checked else {}
    except ValueError as error:
        raise InputError(str(error)) from None
    asked = {k: v for k, v in vars(args).items() if k not in ("json", "check")}
    figures = {**describe_machine(CPU), **asked, "rows": rows, "check": found}
    print(table(rows, args))
    if checked:
        print(f"\n{check_table(found)}")
    write_json(args.json, figures)


def main(argv: list[str] | None = None) -> int:
    return run_command(parse, run, argv)


if __name__ == "__main__":
    sys.exit(main())
