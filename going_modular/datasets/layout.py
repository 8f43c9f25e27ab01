"""What a folder of photos is taken for: its splits, its classes, and what is no photo.

Nothing is decoded here; names and places decide.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from going_modular.errors import InputError
from going_modular.system.text import as_text

__all__ = ["Layout", "files_in", "look_at"]

# What splits are called: words of a folder's name, whatever their case.
SPLITS = {
    "train": {"train", "training", "trainset", "trn"},
    "val": {"val", "valid", "validate", "validation", "dev", "valset"},
    "test": {"test", "testing", "testset", "tst", "eval", "evaluation"},
}
IGNORED = ("__MACOSX", "@eaDir")  # folders that archives and servers leave
# Files that stand beside photos, and are none.
NO_PHOTOS = set(
    ".txt .csv .tsv .xml .json .jsonl .yaml .yml .md .html .htm .db .ini .mat .npy "
    ".npz .pkl .pdf .doc .docx .xls .xlsx .zip .tar .gz .rar .7z .py .ipynb .log .lnk "
    ".url .mp4 .mov .avi .mkv .webm .m4v .wav .mp3 .pth .pt .h5 .aae".split()
)


@dataclass
class Layout:
    """What a folder was taken for.

    Attributes:
        folder: The one that holds the splits, or the classes.
        class_names: Sorted, of all splits.
        places: The folder of each split: "train", "val", "test"; or "all", where
            nothing is held out yet.
        photos: Of each split the files and their labels.
        aside: Files that are taken for no photos, and why.
        notes: What else should be said.
    """

    folder: Path
    class_names: tuple[str, ...] = ()
    places: dict[str, Path] = field(default_factory=dict)
    photos: dict[str, list[tuple[Path, int]]] = field(default_factory=dict)
    aside: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def count(self, split: str, label: int) -> int:
        return sum(y == label for _, y in self.photos[split])

    def describe(self) -> str:
        """Splits and classes, in a few words."""
        some = [name for name in self.class_names[:12]]
        more = f" and {len(self.class_names) - 12} more" * (len(self.class_names) > 12)
        sizes = ", ".join(f"{s} {len(p):,}" for s, p in self.photos.items())
        return f"{len(self.class_names)} classes: {', '.join(some)}{more}; {sizes}"


def look_at(folder: str | Path) -> Layout:
    """Say what a folder of photos is.

    Args:
        folder: Holds one subfolder for each class; or splits, which do.

    Raises:
        InputError: It is none, or could be taken for two things.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"no folder {str(folder)!r}: give a folder with one subfolder a class, or "
            "a name that --help lists"
        )
    layout = Layout(folder)
    folder = layout.folder = descend(folder, layout)
    layout.places = find_splits(folder, layout) or {"all": folder}
    first = next(iter(layout.places))
    names = class_folders(layout.places[first], layout)
    if len(names) < 2:
        found = f"only {next(iter(names))!r}" if names else "none"
        raise InputError(
            f"{layout.places[first]} needs one subfolder of images for each class, two "
            f"or more: found {found}"
        )
    layout.class_names = tuple(sorted(names))
    for split, place in layout.places.items():
        layout.photos[split] = list_photos(split, place, layout)
    return layout


def entries(folder: Path) -> list[Path]:
    """What is in a folder, sorted."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(
            f"cannot read {folder} ({error.strerror}): mend that, or remove it"
        ) from None


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted, without hidden ones and what programs leave."""
    return [
        path
        for path in entries(folder)
        if path.is_dir() and path.name not in IGNORED and not path.name.startswith(".")
    ]


def descend(folder: Path, layout: Layout) -> Path:
    """Go into a folder that is alone, as archives pack them, until there are more."""
    while len(inside := subfolders(folder)) == 1 and len(subfolders(inside[0])) > 1:
        if any(path.is_file() for path in entries(folder) if is_photo(path)):
            break
        layout.notes.append(f"{folder} holds {inside[0].name}/ alone, which is taken")
        folder = inside[0]
    return folder


def split_of(name: str) -> tuple[str, str] | None:
    """The split that a folder's name says, and the rest of the name."""
    words = re.findall(r"[a-z]+|[0-9]+|[^\W\d_a-z]+", split_case(name).lower())
    kinds = [
        (kind, place)
        for place, word in enumerate(words)
        for kind, known in SPLITS.items()
        if word in known
    ]
    if len(kinds) != 1:
        return None
    kind, place = kinds[0]
    rest = words[:place] + words[place + 1 :]
    return kind, " ".join(word for word in rest if not word.isdecimal())


def split_case(name: str) -> str:
    """The name with its words apart: TrainImages becomes Train Images."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def find_splits(folder: Path, layout: Layout) -> dict[str, Path]:
    """The folders of the splits, if there is one to train on and another.

    Raises:
        InputError: Two folders are the same split, or one to train on is missing.
    """
    inside = subfolders(folder)
    by_rest: dict[str, dict[str, list[Path]]] = {}
    for path in inside:
        if (said := split_of(path.name)) and subfolders(path):
            kind, rest = said
            by_rest.setdefault(rest, {}).setdefault(kind, []).append(path)
    for kinds in by_rest.values():
        for kind, paths in kinds.items():
            if len(paths) > 1:
                names = ", ".join(path.name for path in paths)
                raise InputError(f"{folder} has {names}, all for {kind}: keep one")
        if len(kinds) > 1 and "train" not in kinds:
            names = ", ".join(paths[0].name for paths in kinds.values())
            raise InputError(
                f"{folder} has {names}, but nothing to train on: add a folder train, "
                "or name one of them so"
            )
    whole = [kinds for kinds in by_rest.values() if len(kinds) > 1]
    if len(whole) > 1:
        raise InputError(f"{folder} holds several sets of splits: give one of them")
    if not whole:
        for kinds in by_rest.values():
            for kind, (path, *_) in kinds.items():
                if not holds_folders_alone(path):
                    continue  # a class, with photos of its own
                others = " or ".join(name for name in SPLITS if name != kind)
                raise InputError(
                    f"{path} holds folders, but beside it is no {others}: name that "
                    f"one so, or give {path} alone"
                )
        names = [path.name for path in inside]
        if len(names) > 1 and all(map(split_of, names)):
            raise InputError(
                f"{folder} holds {', '.join(names)}, but no folder in them for each "
                "class: put the photos of a class into one"
            )
        return {}
    places = {kind: whole[0][kind][0] for kind in SPLITS if kind in whole[0]}
    others = [path.name for path in inside if path not in places.values()]
    if others:
        layout.notes.append(f"not used, beside the splits: {', '.join(others)}")
    return {kind: descend(path, layout) for kind, path in places.items()}


def holds_folders_alone(folder: Path) -> bool:
    """Whether there are folders, and no photos beside them."""
    return bool(subfolders(folder)) and not any(
        path.is_file() and is_photo(path) for path in entries(folder)
    )


def class_folders(folder: Path, layout: Layout) -> dict[str, Path]:
    """The class folders of a folder by name; what lies beside them is put aside."""
    classes = {}
    for path in entries(folder):
        if path.name.startswith("."):
            continue
        if path.is_symlink() and not path.exists():
            layout.aside[path] = "a link that leads nowhere"
        elif path.is_file():
            layout.aside[path] = "beside the class folders"
    for path in subfolders(folder):
        if not any(is_photo(file) for file in entries(path) if not file.is_dir()):
            if subfolders(path):
                raise InputError(
                    f"{path} holds folders only, so it is no class: a folder of photos "
                    "has one subfolder for each class, and the photos in these. Give "
                    "the folder that does, or move the photos up"
                )
        classes[as_text(path.name)] = path
    return classes


def list_photos(split: str, folder: Path, layout: Layout) -> list[tuple[Path, int]]:
    """The photos of each class in a folder, with their labels.

    Raises:
        InputError: A class is unknown, or has no photo to train on.
    """
    found = class_folders(folder, layout)
    unknown = set(found) - set(layout.class_names)
    if unknown:
        raise InputError(
            f"{folder} has classes that {next(iter(layout.places.values()))} has not: "
            f"{', '.join(sorted(unknown))}; give both the same subfolders"
        )
    photos = []
    for label, name in enumerate(layout.class_names):
        files = files_in(found[name], layout.aside) if name in found else []
        of_class = []
        for path in files:
            if is_photo(path):
                of_class.append((path, label))
            else:
                layout.aside[path] = f"{path.suffix} files are no photos"
        if not of_class and split in ("train", "all"):
            raise InputError(f"{folder / name} holds no image: add some or remove it")
        if not of_class:
            layout.notes.append(f"{split} has no photos of {name}")
        photos += of_class
    if not photos:
        raise InputError(f"{folder} holds no image: add some or remove it")
    return photos


def is_photo(path: Path) -> bool:
    """Whether a file may be a photo, as far as its name tells."""
    hidden = path.name.startswith(".") or path.name in ("Thumbs.db", "desktop.ini")
    return not hidden and path.suffix.lower() not in NO_PHOTOS


def files_in(folder: Path, aside: dict[Path, str] | None = None) -> list[Path]:
    """The files in a folder and below, sorted, without what is hidden.

    Links to folders are followed, each folder once, but none to a folder above. Links
    that lead nowhere count: they stand for files that are missing.

    Args:
        folder: Where to look.
        aside: Is told what was not taken, and why.

    Raises:
        InputError: A folder cannot be read, whose photos would be missing.
    """
    return sorted(walk(folder, {} if aside is None else aside))


def walk(folder: Path, aside: dict[Path, str]) -> Iterator[Path]:
    def refuse(error: OSError):
        raise InputError(
            f"cannot read {error.filename} ({error.strerror}): mend that, or remove it"
        ) from None

    seen = set()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in folders:
            path = Path(place, name)
            if path.is_symlink() and Path(real).is_relative_to(path.resolve()):
                aside[path] = "a link to a folder above"
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in IGNORED
            and Path(place, name) not in aside
        )
        for name in names:
            path = Path(place, name)
            if name.startswith("."):
                continue
            if path.is_file() or path.is_symlink():
                yield path
            else:
                aside[path] = "a pipe or a device, no file"
