"""Where a script's results go, and how they are kept apart from what it tells.

`--json -` writes JSON to standard output and nothing else; `--quiet` tells nothing at
all. Errors still have their one line.
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO

from going_modular.command_line.flags import user_path

__all__ = ["STDOUT", "add_result_flags", "file_arguments", "json_text", "talk_apart"]

STDOUT = "-"  # instead of a file's name


def add_result_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of scripts that look at photos and write files about them."""
    parser.add_argument(
        "--json",
        type=file_or_stdout,
        metavar="FILE",
        help="file to write for programs; - for standard output, where then nothing "
        "else goes and no picture or page is written unless it is asked for",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the files of an earlier run"
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="go on without files that are no readable images",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="print the results alone: no progress"
    )


def file_or_stdout(text: str) -> Path | str:
    """A path, or `STDOUT`; a file of that name is ./- as everywhere."""
    return STDOUT if text == STDOUT else user_path(text)


def file_arguments(
    parser: argparse.ArgumentParser, argv: list[str] | None
) -> list[str]:
    """The arguments, with ./ before the names of files that begin like a flag.

    `python predict.py *.jpg` may bring a file named -1.jpg. What follows a -- is never
    a flag.

    Args:
        parser: Knows the flags.
        argv: As typed; those of this process if None.
    """
    argv = sys.argv[1:] if argv is None else [*argv]
    end = argv.index("--") if "--" in argv else len(argv)
    flags = {flag for action in parser._actions for flag in action.option_strings}

    def is_file(text: str) -> bool:
        is_flag = text.partition("=")[0] in flags
        return (
            text[:1] == "-" and text != STDOUT and not is_flag and os.path.exists(text)
        )

    typed = [f"./{text}" if is_file(text) else text for text in argv[:end]]
    return typed + [f"./{t}" if t[:1] == "-" else t for t in argv[end + 1 :]]


@contextmanager
def talk_apart(args: argparse.Namespace) -> Iterator[TextIO | None]:
    """Keep what a script tells away from its results, which `print` sends to `file`.

    Without `--quiet` and `--json -` both go to standard output. With the latter, what
    is told goes to standard error instead; with the former nowhere.

    Args:
        args: The flags of `add_result_flags`.

    Yields:
        Where the results go.
    """
    results = sys.stdout
    with ExitStack() as stack:
        if args.quiet:
            nowhere = stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            stack.enter_context(redirect_stdout(nowhere))
            stack.enter_context(redirect_stderr(nowhere))
        elif args.json == STDOUT:
            stack.enter_context(redirect_stdout(sys.stderr))
        yield results


def json_text(results: dict) -> str:
    """Results as JSON, in ASCII: what no UTF-8 can hold of a name is escaped."""
    return json.dumps(results, indent=2, allow_nan=False) + "\n"
