"""The photos of explain.py: which files each gets, and what is told of it."""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from going_modular.command_line.results import STDOUT
from going_modular.errors import InputError
from going_modular.explorer.data import Exploration
from going_modular.explorer.picture import class_token_maps
from going_modular.predictions import find_photos
from going_modular.system.files import check_file, is_ours, real
from going_modular.system.text import as_text, printable
from going_modular.weights.files import weight_files

__all__ = ["PICTURES", "Job", "describe", "guesses_text", "holds_several", "plan_files"]

PAGES = (".html", ".htm")
PICTURES = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class Job:
    """A photo, and the files to write of it: a "page", a "picture", or both."""

    photo: Path
    files: dict[str, Path] = field(default_factory=dict)


def holds_several(args: argparse.Namespace) -> bool:
    """Whether there may be several photos, which get folders of files."""
    return len(args.photos) > 1 or any(path.is_dir() for path in args.photos)


def plan_files(args: argparse.Namespace) -> list[Job]:
    """Say which files are to be written, and refuse what would replace others.

    One photo gets the files that --output and --png name. Of several these name
    folders, and each photo has its own place there, as it has in its folder.

    Raises:
        InputError: There is no photo, a file has the wrong ending, or exists.
    """
    several = holds_several(args)
    for flag, suffixes in (("output", PAGES), ("png", PICTURES)):
        path = getattr(args, flag)
        ends_so = path is not None and path.suffix.lower() in suffixes
        if path is not None and several == ends_so:
            where = "name a folder, for several photos" if several else "end in "
            where += "" if several else ", ".join(suffixes)
            raise InputError(f"--{flag} must {where}: {str(path)!r}")
    photos = find_photos(args.photos)
    if several and args.png is not None and args.png.is_dir():
        drawn = real(args.png)
        photos = [p for p in photos if drawn not in real(p).parents or not is_ours(p)]
    taken = {*map(real, photos), *weight_files(args.weights)}
    if args.json not in (None, STDOUT):
        check_file("--json", args.json, taken, args.overwrite)
        taken.add(real(args.json))
    jobs = []
    for photo in photos:
        jobs.append(Job(photo, dict(files_for(photo, args, several))))
        for what, path in jobs[-1].files.items():
            flag = "--output" if what == "page" else "--png"
            check_file(flag, path, taken, args.overwrite)
            taken.add(real(path))
    return jobs


def files_for(
    photo: Path, args: argparse.Namespace, several: bool
) -> Iterator[tuple[str, Path]]:
    """What is written of a photo, and where."""
    for what, path, suffix in (
        ("page", args.output, "html"),
        ("picture", args.png, "png"),
    ):
        if path is None:
            continue
        yield (
            what,
            path / f"{name_of(photo, args.photos)}.{suffix}" if several else path,
        )


def name_of(photo: Path, given: list[Path]) -> Path:
    """A photo's path in the folder that it was found in.

    The folder's own name comes first where more than one was given.
    """
    for folder in given:
        if folder.is_dir() and photo.is_relative_to(folder):
            inside = photo.relative_to(folder)
            own = os.path.basename(os.path.abspath(folder))
            return inside if len(given) == 1 else own / inside
    return Path(photo.name)


def describe(job: Job, exploration: Exploration, layer: int, head: int | None) -> dict:
    """What was found in a photo, as the JSON file holds it."""
    about = exploration.description
    guesses = [
        {"class": g["name"], "index": g["index"], "probability": g["probability"]}
        for g in about["predictions"]
    ]
    maps = class_token_maps(exploration, layer, head)
    columns = about["columns"]
    return {
        "file": as_text(job.photo),
        **{what: as_text(path) for what, path in job.files.items()},
        "predictions": guesses,
        "image_size": about["image_size"],
        "patches": [about["rows"], columns],
        "layers": about["layers"],
        "layer": layer,
        "head": head,
        **{kind: to_lists(weights, columns) for kind, weights in maps.items()},
    }


def to_lists(weights, columns: int) -> dict:
    """(T,) weights of the class token, and of the patches row by row."""
    first, *patches = (float(f"{w:.5g}") for w in weights)  # stored in 255 steps
    rows = [patches[i : i + columns] for i in range(0, len(patches), columns)]
    return {"class_token": first, "patches": rows}


def guesses_text(record: dict, with_name: bool) -> str:
    """The classes of a photo as they are printed, after an empty line."""
    lines = ["", printable(record["file"])] if with_name else [""]
    for guess in record["predictions"]:
        probability, name = 100 * guess["probability"], printable(guess["class"])
        lines.append(f"  {probability:6.2f} %  {name}")
    if not record["predictions"]:
        lines.append("  no predictions: the weights have no classification head")
    return "\n".join(lines)
