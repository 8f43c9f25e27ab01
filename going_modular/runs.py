"""A run's output folder: where it is, what it holds, and what must not be lost."""

import json
import os
from pathlib import Path

from going_modular.checkpoint import load_checkpoint, previous, write_file
from going_modular.utils import InputError

__all__ = ["FILES", "begin_output", "check_output", "choose_output", "read_unfinished"]

CHECKPOINT = "checkpoint.pt"  # after each epoch, and oftener on request
SETTINGS = "settings.json"  # at the start
LOGS = ("history.csv", "steps.jsonl")  # as the run goes on
FILES = (  # at the end
    "model.safetensors",
    "results.pkl",
    "loss_curves.png",
    "confusion_matrix.png",
)


def choose_output(data: str, parent: Path = Path("runs")) -> Path:
    """The first free folder of runs/NAME, runs/NAME-2, runs/NAME-3, ..."""
    name = Path(data).resolve().name
    number = 1
    while (folder := parent / (f"{name}-{number}" if number > 1 else name)).exists():
        number += 1
    return folder


def holds_finished_run(folder: Path) -> bool:
    return all((folder / name).exists() for name in FILES)


def check_output(folder: Path, overwrite: bool) -> None:
    """Refuse, before any work, a folder that cannot be written or holds a run.

    Raises:
        InputError: Says which of these, and what to do.
    """
    nearest = next(
        path for path in (folder, *folder.absolute().parents) if path.exists()
    )
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise InputError(
            f"cannot write to {folder}: {nearest} is no folder that you may write to; "
            "choose another --output"
        )
    if overwrite:
        return
    checkpoint = folder / CHECKPOINT
    if holds_finished_run(folder):
        raise InputError(
            f"{folder} holds a finished run: choose another --output, or add "
            "--overwrite"
        )
    if any(p.exists() for p in (checkpoint, previous(checkpoint))):
        raise InputError(
            f"{folder} holds an unfinished run: add --resume to go on, or --overwrite "
            "to start again"
        )
    taken = [name for name in FILES if (folder / name).exists()]
    if taken:
        raise InputError(
            f"{folder} already has {', '.join(taken)}: choose another --output, or add "
            "--overwrite"
        )


def read_unfinished(folder: Path | None) -> dict:
    """The checkpoint of an unfinished run.

    Raises:
        InputError: There is no folder or no checkpoint, or the run is finished.
    """
    if folder is None:
        raise InputError("--resume needs --output, the folder of the run to go on with")
    if holds_finished_run(folder):
        raise InputError(f"{folder} holds a finished run: there is nothing to resume")
    return load_checkpoint(folder / CHECKPOINT)


def begin_output(folder: Path, settings: dict) -> None:
    """Make the folder, clear what an earlier run left, and write the settings."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_file(
            folder / SETTINGS,
            lambda path: path.write_text(json.dumps(settings, indent=2)),
        )
        before = previous(folder / CHECKPOINT).name
        for name in (CHECKPOINT, before, *FILES, *LOGS):
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror}): choose another --output"
        ) from None
