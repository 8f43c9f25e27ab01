"""A run's output folder: where it is, what it holds, and what must not be lost."""

import json
import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import Timeout

from going_modular.checkpoint import previous
from going_modular.datasets.sources import SOURCES
from going_modular.engine import RESULT_COLUMNS
from going_modular.errors import InputError
from going_modular.processes.alone import ALONE, Processes
from going_modular.system.files import MARK, check_writable, holding, real, write_file
from going_modular.system.reading import open_regular

__all__ = [
    "claim_output",
    "CHECKPOINT",
    "FILES",
    "REPORT",
    "check_apart",
    "check_output",
    "choose_output",
    "clear_output",
    "has_checkpoint",
    "hold_output",
    "holds_finished_run",
    "write_settings",
]

CHECKPOINT = "checkpoint.pt"  # after each epoch, and oftener on request
SETTINGS = "settings.json"  # at the start
LOGS = ("history.csv", "steps.jsonl")  # as the run goes on
FILES = (  # at the end
    "model.safetensors",
    "results.pkl",
    "loss_curves.png",
    "confusion_matrix.png",
)
REPORT = "report.html"  # before the last of these; older finished runs have none
# What a run that died before its first checkpoint may have left, and how each begins.
WRITTEN_ANEW = {
    SETTINGS: f'{{\n  "written by": "{MARK}"',
    LOGS[0]: f"epoch,{','.join(RESULT_COLUMNS[:2])},",
    LOGS[1]: '{"step": ',
}


def choose_output(data: str, ending: str = "", parent: Path = Path("runs")) -> Path:
    """The first free folder of runs/NAME, runs/NAME-2, runs/NAME-3, ..."""
    name = real(Path(data)).name + ending
    number = 1
    while (folder := parent / (f"{name}-{number}" if number > 1 else name)).exists():
        number += 1
    return folder


def claim_output(
    args: Namespace, data: str, ending: str = "", weights: str = "", resuming=False
) -> Path:
    """The folder that a run is to write, looked at before any work.

    Args:
        args: The flags `output`, `cache` and `overwrite`.
        data: A name of `datasets.sources.SOURCES`, or the folder of the photos.
        ending: Added to the name of a folder that is chosen here.
        weights: Those that the run starts from.
        resuming: Whether the folder holds the run to go on with.

    Raises:
        InputError: It cannot be written, or something in it would be lost.
    """
    output = args.output or choose_output(data, ending)
    if data not in SOURCES:
        check_apart(data, cache=args.cache, output=output)
    if weights:
        check_apart(weights, output=output)
    if not resuming:
        check_output(output, args.overwrite)
    return output


def holds_finished_run(folder: Path) -> bool:
    return all((folder / name).exists() for name in FILES)


def has_checkpoint(folder: Path) -> bool:
    newest = folder / CHECKPOINT
    return newest.exists() or previous(newest).exists()


def check_output(folder: Path, overwrite: bool) -> None:
    """Refuse, before any work, a folder that cannot be written or holds a run.

    Raises:
        InputError: Says which of these, and what to do.
    """
    check_writable(folder.absolute(), f"to {folder}")
    if overwrite:
        return
    if holds_finished_run(folder):
        raise InputError(
            f"{folder} holds a finished run: choose another --output, or add "
            "--overwrite"
        )
    if has_checkpoint(folder):
        raise InputError(
            f"{folder} holds an unfinished run: add --resume to go on, or --overwrite "
            "to start again"
        )
    taken = [name for name in (*FILES, REPORT) if os.path.lexists(folder / name)]
    taken += [name for name in WRITTEN_ANEW if is_foreign(folder / name)]
    if taken:
        raise InputError(
            f"{folder} already has {', '.join(taken)}: choose another --output, or add "
            "--overwrite"
        )


def is_foreign(path: Path) -> bool:
    """Whether there is a file that no run of ours has begun with its first line."""
    if not os.path.lexists(path):
        return False
    try:
        with open_regular(path) as file:
            begin = file.read(200).decode("utf-8")
    except (OSError, ValueError):
        return True
    return not begin.startswith(WRITTEN_ANEW[path.name])


def check_apart(read: str, **written: Path | None) -> None:
    """Refuse to write where a run reads its photos or its weights.

    Args:
        read: The photos' folder, or the weights' file or folder.
        written: Folders to write to, by the names of their flags.

    Raises:
        InputError: One of them is in the other.
    """
    source = real(Path(read))
    for flag, folder in written.items():
        if folder is None or not source.exists():
            continue
        place = real(folder)
        if place.is_relative_to(source) or (
            source.is_file() and source.is_relative_to(place)
        ):
            raise InputError(
                f"--{flag} {folder} and {read}, which the run reads, are in one "
                f"another: choose another --{flag}"
            )


@contextmanager
def hold_output(
    folder: Path, overwrite: bool, processes: Processes = ALONE
) -> Iterator[None]:
    """Make the folder, and keep other runs out of it until this one ends.

    Args:
        folder: Of the run.
        overwrite: Whether it may hold a run already. If not, this is looked at again:
            another may have begun there while this one was loading.
        processes: Those of the run; the first one holds it.

    Raises:
        InputError: Another run holds it or has been there, or it cannot be made.
    """
    if not processes.is_first:
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror}): choose another --output"
        ) from None
    with ExitStack() as stack:
        try:
            stack.enter_context(holding(folder))
        except Timeout:
            raise InputError(
                f"another run is writing to {folder}: wait for it, or choose another "
                "--output"
            ) from None
        check_output(folder, overwrite)
        yield


def clear_output(folder: Path) -> None:
    """Remove what an earlier run left in a folder."""
    before = previous(folder / CHECKPOINT).name
    for name in (CHECKPOINT, before, *FILES, REPORT, *LOGS):
        (folder / name).unlink(missing_ok=True)


def write_settings(folder: Path, settings: dict) -> None:
    text = json.dumps({"written by": MARK, **settings}, indent=2)
    write_file(folder / SETTINGS, lambda p: p.write_text(text, encoding="utf-8"))
