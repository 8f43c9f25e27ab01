"""A run's output folder: where it is, what it holds, and what must not be lost."""

import json
import os
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from going_modular.checkpoint import load_checkpoint, previous, write_file
from going_modular.data_setup import ImageSet
from going_modular.locks import lock
from going_modular.processes import ALONE, Processes
from going_modular.utils import InputError

__all__ = [
    "CHECKPOINT",
    "FILES",
    "at_its_place",
    "check_apart",
    "check_output",
    "check_same_data",
    "check_same_settings",
    "choose_output",
    "clear_output",
    "compare_machines",
    "describe_data",
    "fits",
    "has_checkpoint",
    "hold_output",
    "holds_finished_run",
    "read_unfinished",
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


def choose_output(data: str, ending: str = "", parent: Path = Path("runs")) -> Path:
    """The first free folder of runs/NAME, runs/NAME-2, runs/NAME-3, ..."""
    name = Path(data).resolve().name + ending
    number = 1
    while (folder := parent / (f"{name}-{number}" if number > 1 else name)).exists():
        number += 1
    return folder


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
    files = FILES if is_of_a_run(folder / SETTINGS) else (*FILES, SETTINGS, *LOGS)
    taken = [name for name in files if (folder / name).exists()]
    if taken:
        raise InputError(
            f"{folder} already has {', '.join(taken)}: choose another --output, or add "
            "--overwrite"
        )


def is_of_a_run(settings: Path) -> bool:
    """Whether a run wrote this file; then the logs beside it are a run's, too."""
    try:
        return "learning_rate" in json.loads(settings.read_text())
    except (OSError, ValueError, TypeError):
        return False


def check_apart(read: str, **written: Path | None) -> None:
    """Refuse to write where a run reads its photos or its weights.

    Args:
        read: The photos' folder, or the weights' file or folder.
        written: Folders to write to, by the names of their flags.

    Raises:
        InputError: One of them is in the other.
    """
    source = Path(read).resolve()
    for flag, folder in written.items():
        if folder is None or not source.exists():
            continue
        place = folder.resolve()
        if place.is_relative_to(source) or (
            source.is_file() and source.is_relative_to(place)
        ):
            raise InputError(
                f"--{flag} {folder} and {read}, which the run reads, are in one "
                f"another: choose another --{flag}"
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
    with fits(folder):
        saved, *_ = [checkpoint[k] for k in ("settings", "trainer", "data", "machine")]
        if set(saved) != set(settings):
            raise KeyError("settings")
    return checkpoint


@contextmanager
def fits(folder: Path) -> Iterator[None]:
    """A context that takes up a checkpoint whose contents may be of any kind.

    Raises:
        InputError: They are not what this script writes.
    """
    try:
        yield
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError):
        raise InputError(
            f"the checkpoint in {folder} is of another script, train.py or "
            "train_transferlearning.py, or of another version: go on with that one"
        ) from None


def at_its_place(settings: dict, given: Mapping, names: Collection[str]) -> dict:
    """Settings whose folder of photos is where a flag now says; it may have moved.

    Args:
        settings: Those of the run.
        given: Those that flags name now.
        names: Sets of images that are no folders.
    """
    place = given.get("data", settings["data"])
    moved = place not in names and settings["data"] not in names
    return {**settings, "data": place} if moved else settings


def check_same_settings(saved: Mapping, given: Mapping) -> None:
    """Refuse to go on with other settings than a run began with.

    Args:
        saved: Those of the run. What "auto" stood for has been chosen.
        given: Those that flags name now.

    Raises:
        InputError: Says which differ.
    """
    changed = [k for k in given if given[k] not in (saved[k], "auto")]
    if changed:
        raise InputError(
            "--resume goes on with the settings of the run; it cannot change "
            + ", ".join(f"{k} from {saved[k]!r} to {given[k]!r}" for k in changed)
        )


def describe_data(train_set: ImageSet, test_set: ImageSet) -> dict:
    """What is compared to notice that a run would go on with other images.

    Of many images about a thousand are looked at, from first to last.
    """
    names = "\n".join(train_set.class_names)
    seen, named = 0, zlib.crc32(names.encode(errors="surrogateescape"))
    for data in (train_set, test_set):
        some = data.images[:: len(data) // 1000 + 1]
        seen = zlib.crc32(some.numpy().tobytes(), seen)
        named = zlib.crc32(data.labels.numpy().tobytes(), named)
    return {
        "training images": f"{len(train_set):,}",
        "test images": f"{len(test_set):,}",
        "check sum of pixels": f"{seen:08x}",
        "check sum of labels": f"{named:08x}",
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
    names = [name for name in now if before[name] != now[name]]
    if names:
        changed = ", ".join(f"{n} {before[n]} before, {now[n]} now" for n in names)
        print(f"{changed}: the last bits of the results may differ")


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
            stack.enter_context(lock(folder))
        except BlockingIOError:
            raise InputError(
                f"another run is writing to {folder}: wait for it, or choose another "
                "--output"
            ) from None
        check_output(folder, overwrite)
        yield


def clear_output(folder: Path) -> None:
    """Remove what an earlier run left in a folder."""
    before = previous(folder / CHECKPOINT).name
    for name in (CHECKPOINT, before, *FILES, *LOGS):
        (folder / name).unlink(missing_ok=True)


def write_settings(folder: Path, settings: dict) -> None:
    write_file(
        folder / SETTINGS, lambda path: path.write_text(json.dumps(settings, indent=2))
    )
