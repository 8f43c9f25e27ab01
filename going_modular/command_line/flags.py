"""Command-line flags, derived from the settings they fill."""

import argparse
import inspect
import os
import re
import sys
from dataclasses import MISSING, fields
from pathlib import Path

from going_modular.errors import InputError
from going_modular.processes.start import says_first
from going_modular.system.text import printable

__all__ = ["add_flags", "add_run_flags", "one_line_parser", "run_options", "user_path"]


def one_line_parser(description: str) -> argparse.ArgumentParser:
    """A parser whose errors are one line, with exit status 2; one process prints."""

    class Parser(argparse.ArgumentParser):
        def error(self, message: str):
            if says_first():
                print(
                    f"{self.prog}: {printable(message)} (see --help)", file=sys.stderr
                )
            raise SystemExit(2)

        def print_help(self, file=None):
            if says_first():
                super().print_help(file)

    return Parser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def user_path(text: str) -> Path:
    """A path as typed, with the home folder for a ~ that the shell has left."""
    return Path(os.path.expanduser(text))


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
        "quiet": "no progress bars",
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


def run_options(args: argparse.Namespace) -> dict:
    """What the flags of `add_run_flags` say to `train_with_checkpoints`."""
    if args.save_every < 0:
        raise InputError(f"--save-every must be 0 or more, not {args.save_every}")
    names = ("quiet", "save_every", "log_steps", "tensorboard")
    return {name: getattr(args, name) for name in names}


def add_flags(parser, settings: type, leave_out: tuple[str, ...] = ()) -> None:
    """Add a flag for every field of a dataclass, with the help its docstring gives.

    A flag that is not given is None, so that presets can fill it.
    """
    docs = inspect.cleandoc(settings.__doc__)  # as Python 3.13 stores it already
    for field in fields(settings):
        if field.name in leave_out:
            continue
        assert field.default is not MISSING  # a flag needs a type
        text = re.search(rf"^    {field.name}: (.+(?:\n {{8}}.+)*)", docs, re.M)
        parser.add_argument(
            "--" + field.name.replace("_", "-"),
            type=type(field.default),
            help=" ".join(text.group(1).split()),
        )
