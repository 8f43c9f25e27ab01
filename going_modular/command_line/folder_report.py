"""What a folder of photos is taken for, as a table and as a sheet of pictures.

It is called as `python -m going_modular.datasets.folders FOLDER`.
"""

import hashlib
import sys
from collections import Counter, defaultdict
from pathlib import Path

import torch
from torch import Tensor

from going_modular.command_line.ending import flush, prepare_script
from going_modular.command_line.flags import one_line_parser, user_path
from going_modular.datasets.folders import MANY, say
from going_modular.datasets.layout import Layout, look_at
from going_modular.datasets.photos import open_photo, read_photo, why_unreadable
from going_modular.errors import InputError
from going_modular.system.files import check_file, write_files
from going_modular.system.reading import open_regular
from going_modular.system.text import printable

__all__ = ["main"]

SHEET = (6, 8)  # classes, and photos of each, in the picture
SIDE = 64  # pixels of a photo there


def main(argv: list[str] | None = None) -> int:
    prepare_script()
    parser = one_line_parser("Show what a folder of photos is taken for.")
    parser.prog = "python -m going_modular.datasets.folders"
    parser.add_argument("folder", type=user_path)
    parser.add_argument("--png", type=user_path, help="draw some photos of each class")
    parser.add_argument("--overwrite", action="store_true", help="replace the picture")
    args = parser.parse_args(argv)
    try:
        if args.png is not None:
            if args.png.suffix.lower() != ".png":
                raise InputError(f"--png must end in .png: {str(args.png)!r}")
            check_file("--png", args.png, set(), args.overwrite)
        report(args.folder, args.png)
        flush()
    except (InputError, OSError) as error:
        print(f"{parser.prog}: {printable(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


def report(folder: Path, png: Path | None) -> None:
    """Print the table, and draw the sheet where asked for."""
    layout = look_at(folder)
    say(layout)
    print_counts(layout)
    print_photos(layout)
    print_twins(layout)
    if png is not None:
        draw(layout, png)
        print(printable(f"written  {png}"))


def print_counts(layout: Layout) -> None:
    """Print how many photos each class has in each split."""
    splits = list(layout.photos)
    heads = ["photos" if split == "all" else split for split in splits]
    names = [printable(name) for name in layout.class_names]
    width = max(map(len, [*names, "class"]))
    print(f"\n{'class':<{width}}", *(f"{head:>8}" for head in heads))
    counts = {split: Counter(y for _, y in layout.photos[split]) for split in splits}
    for label, name in enumerate(names):
        cells = [counts[split][label] or "none" for split in splits]
        print(f"{name:<{width}}", *(f"{cell:>8}" for cell in cells))


def print_photos(layout: Layout) -> None:
    """Print sizes and modes of the photos, and which cannot be opened."""
    sizes, modes, bad = [], Counter(), {}
    for photos in layout.photos.values():
        for path, _ in photos:
            try:
                with open_photo(path) as photo:
                    sizes.append(photo.size)
                    modes[f"{photo.format} {photo.mode}"] += 1
            except Exception as error:  # damaged files raise many kinds
                bad[path] = why_unreadable(error)
    if sizes:
        sides = sorted(min(size) for size in sizes)
        middle = sides[len(sides) // 2]
        print(f"\nshorter sides: {sides[0]} to {sides[-1]} pixels, median {middle}")
        print(", ".join(f"{count:,} {mode}" for mode, count in modes.most_common()))
    for path, why in list(bad.items())[:MANY]:
        print(printable(f"cannot be opened: {path} ({why})"))
    if len(bad) > MANY:
        print(f"... and {len(bad) - MANY} more")


def print_twins(layout: Layout) -> None:
    """Print files with the same bytes, above all those in two splits or classes."""
    by_size = defaultdict(list)
    for split, photos in layout.photos.items():
        for path, label in photos:
            if path.is_file():
                by_size[path.stat().st_size].append((path, split, label))
    twins = defaultdict(list)
    for same_size in by_size.values():
        if len(same_size) > 1:
            for path, split, label in same_size:
                with open_regular(path) as file:
                    digest = hashlib.file_digest(file, "sha256").digest()
                twins[digest].append((path, split, label))
    groups = [group for group in twins.values() if len(group) > 1]
    across = [g for g in groups if len({split for _, split, _ in g}) > 1]
    torn = [g for g in groups if len({label for *_, label in g}) > 1]
    print(
        f"\n{len(groups)} photos are there more than once, {len(across)} of them in "
        f"more than one split, {len(torn)} in more than one class"
    )
    worst = list({id(group): group for group in across + torn}.values())
    for group in worst[:MANY]:
        print(printable("  " + " = ".join(str(path) for path, *_ in group)))
    if len(worst) > MANY:
        print(f"  ... and {len(worst) - MANY} more")


def draw(layout: Layout, png: Path) -> None:
    """Draw some photos of the first classes."""
    import matplotlib

    matplotlib.use("Agg")
    from going_modular.plots.images import plot_images
    from going_modular.plots.style import save_figure, use_style

    rows, columns = SHEET
    images, titles = [], []
    photos = next(iter(layout.photos.values()))
    for label, name in list(enumerate(layout.class_names))[:rows]:
        paths = [path for path, y in photos if y == label][:columns]
        of_class = map(read_or_none, paths)
        found = [image for image in of_class if image is not None]
        blank = torch.full((3, SIDE, SIDE), 255, dtype=torch.uint8)
        images += (found + [blank] * columns)[:columns]
        titles += [printable(name)[:14], *[""] * (columns - 1)]
    use_style()
    figure = plot_images(images, titles, columns)
    write_files({png: lambda path: save_figure(figure, path, dpi=150)})


def read_or_none(path: Path) -> Tensor | None:
    try:
        return read_photo(path, SIDE)
    except Exception:  # named above
        return None
