"""Command-line flags, derived from the settings they fill."""

import argparse
import difflib
import inspect
import math
import os
import re
import sys
from dataclasses import MISSING, fields
from pathlib import Path

from going_modular.datasets.photos import MEMORY, Budget
from going_modular.errors import InputError
from going_modular.processes.start import says_first
from going_modular.system.memory import LIMIT, Limit
from going_modular.system.progress import LINE
from going_modular.system.text import printable
from going_modular.training.settings import CHOICES
from going_modular.weights.conversion import RESIZE_METHODS

__all__ = [
    "add_flags",
    "add_photo_flag",
    "add_run_flags",
    "add_weights_flags",
    "check_image_size",
    "one_line_parser",
    "run_options",
    "user_path",
    "user_text",
    "weights_options",
]


# Where presets for the images have another default.
NOT_ALWAYS = dict.fromkeys(
    ("epochs", "batch_size", "learning_rate", "augment", "crop_area"),
    ", or what suits the images",
)
# Flags of other programs, and ours.
OTHERS = {
    "--lr": "--learning-rate",
    "--learning_rate": "--learning-rate",
    "--wd": "--weight-decay",
    "--bs": "--batch-size",
    "--batch": "--batch-size",
    "--img-size": "--image-size",
    "--imgsz": "--image-size",
    "--size": "--image-size",
    "--arch": "--variant",
    "--model": "--variant",
    "--dataset": "--data",
    "--data-dir": "--data",
    "--data-path": "--data",
    "--amp": "--precision bf16",
    "--gpu": "--device cuda",
    "--out": "--output",
    "--output-dir": "--output",
    "--checkpoint": "--weights",
    "--pretrained": "--weights",
}
LARGEST = 8192  # pixels of a side


def one_line_parser(description: str) -> argparse.ArgumentParser:
    """A parser whose errors are one line, with exit status 2; one process prints.

    The flags that it reads have what was `typed` with them, word by word. What showed
    that the script starts is taken away, since help or a complaint may follow.
    """

    class Parser(argparse.ArgumentParser):
        def parse_args(self, args=None, namespace=None):
            typed = sys.argv[1:] if args is None else [*args]
            found = super().parse_args(args, namespace)
            found.typed = typed
            return found

        def error(self, message: str):
            message += suggestion(self, message)
            if says_first():
                print(
                    f"{self.prog}: {printable(message)} (see --help)", file=sys.stderr
                )
            raise SystemExit(2)

        def print_help(self, file=None):
            if says_first():
                super().print_help(file)

    LINE.hide()
    return Parser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def suggestion(parser: argparse.ArgumentParser, message: str) -> str:
    """What was perhaps meant by a flag that there is not."""
    flags = [flag for action in parser._actions for flag in action.option_strings]
    unknown = re.search(r"unrecognized arguments: (--[\w-]+)", message)
    if unknown is None:
        return ""
    typed = unknown[1]
    ours = OTHERS.get(typed, "")
    if ours.split(" ")[0] not in flags:
        ours = next(iter(difflib.get_close_matches(typed, flags, 1, 0.7)), "")
    return f": did you mean {ours}?" if ours else ""


def user_path(text: str) -> Path:
    """A path as typed, with the home folder for a ~ that the shell has left."""
    return Path(user_text(text))


def user_text(text: str) -> str:
    """The same as a text, for what may be a name, too.

    Raises:
        ArgumentTypeError: It is empty, as of a shell's variable that is not set.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty: give a name or a path")
    return os.path.expanduser(text)


def add_weights_flags(parser: argparse.ArgumentParser, image_size: bool = True) -> None:
    """Add the flags for what weights of any kind may leave open.

    Args:
        parser: Of the script.
        image_size: Whether --image-size says the size they were trained at, and
            --resize how their positions are fitted to another.
    """
    parser.add_argument("--num-heads", type=int, help="where the weights do not tell")
    if image_size:
        parser.add_argument(
            "--image-size",
            type=int,
            nargs="+",
            metavar="SIDE",
            help="side of the images, or height and width (those of the weights)",
        )
        parser.add_argument(
            "--resize",
            choices=RESIZE_METHODS,
            default="official",
            help="how positions are fitted to another size (official)",
        )
    for name, what in (("mean", "subtracted from"), ("std", "divides")):
        parser.add_argument(
            f"--{name}",
            type=float,
            nargs="+",
            metavar="NUMBER",
            help=f"what {what} pixels of 0 to 1, one or three numbers (the weights')",
        )
    parser.add_argument(
        "--raw",
        action="store_true",
        default=None,
        help="of weights that lie beside their running average, take the raw ones",
    )


def add_photo_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag for how much memory decoding may take."""
    add_gigabytes(
        parser, "--photo-memory", MEMORY, "most memory for decoding photos (1)"
    )


def add_memory_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag for how much memory a run may take."""
    about = "most memory for each process of the run, by an estimate (what is free)"
    add_gigabytes(parser, "--memory", LIMIT, about)


def add_gigabytes(
    parser: argparse.ArgumentParser, flag: str, limit: Budget | Limit, about: str
) -> None:
    """Add a flag that sets the `most` bytes of a limit."""

    def gigabytes(text: str) -> float:
        try:
            limit.most = 1e9 * positive(flag, float(text))
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"must be a positive number of gigabytes, not {text!r}"
            ) from None
        return limit.most

    parser.add_argument(flag, type=gigabytes, metavar="GB", help=about)


def weights_options(args: argparse.Namespace) -> dict:
    """What the flags of `add_weights_flags` say to `read_pretrained`.

    Raises:
        InputError: A number is out of range.
    """
    options = dict(num_heads=args.num_heads, raw=bool(args.raw))
    if args.num_heads is not None:
        positive("--num-heads", args.num_heads)
    for name in ("mean", "std"):
        values = getattr(args, name)
        if values is None:
            continue
        if len(values) not in (1, 3) or not all(map(math.isfinite, values)):
            raise InputError(f"--{name} must be one number or three, not {values}")
        if name == "std":
            positive("--std", min(values))
        options[name] = tuple(values)
    size = getattr(args, "image_size", None)
    if isinstance(size, list):
        if len(size) > 2:
            raise InputError(f"--image-size must be one side, or two, not {size}")
        positive("--image-size", min(size))
        if max(size) > LARGEST:
            raise InputError(f"--image-size must be at most {LARGEST}, not {max(size)}")
        options["image_size"] = size[0] if len(size) == 1 else tuple(size)
    return options


def check_image_size(size: int | tuple[int, int] | None, patch_size: int) -> None:
    """Refuse a size that patches do not fill, with the nearest ones that they do.

    Args:
        size: As `weights_options` reads it from --image-size.
        patch_size: The patch side of the weights.
    """
    sides = size if isinstance(size, tuple) else (size,)
    for side in (side for side in sides if side is not None and side % patch_size):
        below = side // patch_size * patch_size
        nearest = [str(s) for s in (below, below + patch_size) if s > 0]
        raise InputError(
            f"--image-size {side} is no multiple of the patch side {patch_size}: "
            f"choose {' or '.join(nearest)}"
        )


def positive(flag: str, value: float) -> float:
    if not 0 < value < math.inf:
        kind = "positive integer" if isinstance(value, int) else "positive number"
        raise InputError(f"{flag} must be a {kind}, not {value}")
    return value


def add_run_flags(parser: argparse.ArgumentParser, **more: str) -> None:
    """Add the flags that every training script has, and switches of its own.

    Args:
        parser: Of the script.
        more: Help of each further switch, by its name.
    """
    parser.add_argument("--output", type=user_path, help="folder to write (runs/NAME)")
    for flag, text in {
        **more,
        "resume": "go on from the checkpoint in --output",
        "overwrite": "replace the run in --output",
        "download": "fetch the images of a torchvision set",
        "skip-bad": "go on without files that are no readable images",
        "quiet": "do not show how far it is",
        "log-steps": "write a line of JSON for each step to steps.jsonl",
        "tensorboard": "write curves for TensorBoard",
        "shard": "share the model out over torchrun's processes, if it fits no device",
    }.items():
        parser.add_argument(f"--{flag}", action="store_true", help=text)
    parser.add_argument(
        "--cache",
        type=user_path,
        help="folder that keeps the decoded photos of a folder, for the next run",
    )
    parser.add_argument(
        "--save-every",
        type=int,
        default=0,
        help="steps from one checkpoint to the next (one an epoch)",
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    add_photo_flag(parser)
    add_memory_flag(parser)


def run_options(args: argparse.Namespace) -> dict:
    """What the flags of `add_run_flags` say to `train_with_checkpoints`."""
    if args.save_every < 0:
        raise InputError(f"--save-every must be 0 or more, not {args.save_every}")
    names = ("save_every", "log_steps", "tensorboard")
    return {name: getattr(args, name) for name in names}


def add_flags(parser, settings: type, leave_out: tuple[str, ...] = ()) -> None:
    """Add a flag for every field of a dataclass, with the help that its source gives.

    A flag that is not given is None, so that presets can fill it. The help shows the
    default.
    """
    for field in fields(settings):
        if field.name in leave_out:
            continue
        assert field.default is not MISSING  # a flag needs a type
        words = described(settings, field.name)
        choices = {**CHOICES, "gelu": ("erf", "tanh")}.get(field.name)
        kind = type(field.default).__name__.upper()
        parser.add_argument(
            "--" + field.name.replace("_", "-"),
            type=type(field.default),
            metavar="|".join(choices) if choices else kind,
            help=f"{words} ({field.default}{NOT_ALWAYS.get(field.name, '')})",
        )


def described(settings: type, name: str) -> str:
    """What a dataclass says of a field: in its docstring, or in a comment beside it."""
    docs = inspect.cleandoc(settings.__doc__)  # as Python 3.13 stores it already
    text = re.search(rf"^    {name}: (.+(?:\n {{8}}.+)*)", docs, re.M)
    if text is None:
        source = inspect.getsource(settings)
        text = re.search(rf"^    {name}: .*  # (.+)$", source, re.M)
    return " ".join(text.group(1).split()).rstrip(".")
