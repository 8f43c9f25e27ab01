"""Going on with a run: the same settings, the same images, the same machine?"""

import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from going_modular.checkpoint import load_checkpoint
from going_modular.data_setup import ImageSet
from going_modular.errors import InputError
from going_modular.system.progress import print_past
from going_modular.system.text import printable
from going_modular.training.run_folder import CHECKPOINT, holds_finished_run

__all__ = [
    "follow_moved_data",
    "check_same_data",
    "check_same_settings",
    "compare_machines",
    "describe_data",
    "refusing_foreign_checkpoint",
    "read_unfinished",
]


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
    with refusing_foreign_checkpoint(folder):
        saved, *_ = [checkpoint[k] for k in ("settings", "trainer", "data", "machine")]
        if set(saved) != set(settings):
            raise KeyError("settings")
        for name in ("data", "machine"):
            if not all(isinstance(v, str) for v in checkpoint[name].values()):
                raise TypeError(name)
    return checkpoint


@contextmanager
def refusing_foreign_checkpoint(folder: Path) -> Iterator[None]:
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


def follow_moved_data(settings: dict, given: Mapping, names: Collection[str]) -> dict:
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


def describe_data(
    train_set: ImageSet, test_set: ImageSet, val_set: ImageSet | None = None
) -> dict:
    """What is compared to notice that a run would go on with other images.

    Of many images about a thousand are looked at, from first to last.
    """
    sets = {"training": train_set, "test": test_set}
    if val_set is not None:
        sets["validation"] = val_set
    names = "\n".join(train_set.class_names)
    seen, named = 0, zlib.crc32(names.encode(errors="surrogateescape"))
    for data in sets.values():
        some = data.images[:: len(data) // 1000 + 1]
        seen = zlib.crc32(some.numpy().tobytes(), seen)
        named = zlib.crc32(data.labels.numpy().tobytes(), named)
    return {
        **{f"{name} images": f"{len(data):,}" for name, data in sets.items()},
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
        print_past(f"{printable(changed)}: the last bits of the results may differ")
