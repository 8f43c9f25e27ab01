"""A run's output folder: where it is, what it holds, and what must not be lost."""

import json
import os
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from going_modular.checkpoint import load_checkpoint, previous, write_file
from going_modular.data_setup import ImageSet
from going_modular.utils import InputError

__all__ = [
    "FILES",
    "begin_output",
    "check_output",
    "check_same_data",
    "choose_output",
    "compare_machines",
    "describe_data",
    "hold_output",
    "read_unfinished",
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


def read_unfinished(folder: Path | None, settings: Collection[str]) -> dict:
    """The checkpoint of an unfinished run.

    Args:
        folder: Of the run.
        settings: Names of the settings that a run of this script has.

    Raises:
        InputError: There is no folder or no checkpoint, the run is finished, or it is
            one of another script.
    """
    if folder is None:
        raise InputError("--resume needs --output, the folder of the run to go on with")
    if holds_finished_run(folder):
        raise InputError(f"{folder} holds a finished run: there is nothing to resume")
    checkpoint = load_checkpoint(folder / CHECKPOINT)
    parts = {"settings", "trainer", "data", "machine"}
    if parts - set(checkpoint) or set(checkpoint["settings"]) != set(settings):
        raise InputError(
            f"the checkpoint in {folder} is of another script, train.py or "
            "train_transferlearning.py, or of another version: go on with that one"
        )
    return checkpoint


def describe_data(train_set: ImageSet, test_set: ImageSet) -> dict:
    """What is compared to notice that a run would go on with other images."""
    labels = [data.labels.numpy().tobytes() for data in (train_set, test_set)]
    return {
        "training images": f"{len(train_set):,}",
        "test images": f"{len(test_set):,}",
        "labels": f"{zlib.crc32(b''.join(labels)):08x}",
    }


def check_same_data(folder: Path, before: dict, now: dict) -> None:
    """Refuse to go on with other images than a run began with.

    Raises:
        InputError: Says what differs.
    """
    changed = [f"{k}: {before[k]}, now {now[k]}" for k in now if before[k] != now[k]]
    if changed:
        raise InputError(
            f"the images are not those that the run in {folder} began with "
            f"({'; '.join(changed)}): bring them back, or start again with --overwrite"
        )


def compare_machines(before: dict, now: dict) -> None:
    """Say so if a run goes on where numbers may be rounded otherwise."""
    before = {"processes": "1", **before}  # not noted by earlier versions
    names = [name for name in now if before[name] != now[name]]
    if names:
        changed = ", ".join(f"{n} {before[n]} before, {now[n]} now" for n in names)
        print(f"{changed}: the last bits of the results may differ")


@contextmanager
def hold_output(folder: Path) -> Iterator[None]:
    """Make the folder, and keep other runs out of it until this one ends.

    However a run ends, the system lets go of its folder.

    Raises:
        InputError: Another run holds it, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write to {folder} ({error.strerror}): choose another --output"
        ) from None
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another run is writing to {folder}: wait for it, or choose another "
                "--output"
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)


def begin_output(folder: Path, settings: dict) -> None:
    """Clear what an earlier run left in a folder, and write the settings."""
    write_file(
        folder / SETTINGS, lambda path: path.write_text(json.dumps(settings, indent=2))
    )
    before = previous(folder / CHECKPOINT).name
    for name in (CHECKPOINT, before, *FILES, *LOGS):
        (folder / name).unlink(missing_ok=True)
