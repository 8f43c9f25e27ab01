"""Show what a Vision Transformer attends to in photos.

    python explain.py photo.jpg
    python explain.py photo.jpg --weights vit_b_16 --whole --output cat.html
    python explain.py photo.jpg --png cat.png --layer 4 --head 2
    python explain.py path/to/photos --output pages
    python explain.py photo.jpg --beside other.jpg
    python explain.py --live photo.jpg

Writes one HTML file for each photo, in which every weight of the attention can be
explored, without a network, or a picture of the class token's attention. With --live
the model itself is in the file: the browser runs it, on any image.
"""

import going_modular.system.early_stop  # noqa: F401
import going_modular.system.openmp  # noqa: F401
import going_modular.system.starting  # noqa: F401

import argparse
import json
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import TextIO

from torch import Tensor

from going_modular.command_line.ending import run_script
from going_modular.command_line.explained import (
    PICTURES,
    Job,
    describe,
    guesses_text,
    holds_several,
    plan_files,
)
from going_modular.command_line.flags import (
    add_photo_flag,
    add_weights_flags,
    check_image_size,
    one_line_parser,
    user_path,
    user_text,
    weights_options,
)
from going_modular.command_line.results import (
    STDOUT,
    add_result_flags,
    file_arguments,
    talk_apart,
)
from going_modular.errors import InputError
from going_modular.explorer.data import Exploration, explore_image
from going_modular.explorer.live_page import live_page
from going_modular.explorer.page import page, pair_page
from going_modular.explorer.picture import plot_explanation
from going_modular.explorer.preparation import (
    add_head,
    choose_layers,
    has_head,
    read_image,
    resize_weights,
)
from going_modular.explorer.room import FEWEST, find_room, why_less
from going_modular.plots.style import save_figure, use_style
from going_modular.predictions import load_classifier
from going_modular.system.files import write_files
from going_modular.system.leaving import leave
from going_modular.system.memory import memory_for_process, memory_used
from going_modular.system.progress import print_past, progress_of, saying
from going_modular.system.text import as_text, print_table, printable
from going_modular.utils import choose_device
from going_modular.vit import ViT
from going_modular.weights.reading import read_pretrained
from going_modular.weights.sources import BUILT_IN


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__)
    parser.add_argument(
        "photos",
        nargs="+",
        type=user_path,
        help="a photo; or several, and folders to search for them",
    )
    parser.add_argument(
        "--weights",
        type=user_text,
        default=BUILT_IN,
        help="a file or folder of weights of any common kind, or a name such as "
        f"vit_b_16 or timm:NAME ({BUILT_IN})",
    )
    parser.add_argument(
        "--output",
        type=user_path,
        help="page to write, .html, or for several photos a folder of pages "
        "(explorer.html or explorer, unless only --png or --json - is given)",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="pages in which the model runs: every number of it, and what changes it "
        "(live.html or live)",
    )
    parser.add_argument(
        "--beside",
        metavar="PHOTO",
        type=user_path,
        help="a second photo, which stands beside the first in the same page",
    )
    parser.add_argument(
        "--png",
        type=user_path,
        help=f"picture to write, {', '.join(PICTURES)}, or a folder of pictures",
    )
    add_result_flags(parser)
    parser.add_argument(
        "--layers",
        type=whole_numbers,
        help="layers to keep in the page, such as 1,6,12 (as many as have room)",
    )
    parser.add_argument(
        "--layer",
        type=int,
        help="layer that the picture shows, and the page at first (the last)",
    )
    parser.add_argument("--head", type=int, help="the same of the head (mean of all)")
    parser.add_argument(
        "--whole",
        action="store_true",
        help="keep the whole photo, not only its central square",
    )
    parser.add_argument("--top", type=int, default=5, help="classes to name (5)")
    add_weights_flags(parser)
    add_photo_flag(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    argv = file_arguments(parser, argv)
    args = parser.parse_intermixed_args(argv)  # photos before and after flags
    if args.output is None and args.png is None and args.json != STDOUT:
        name = "live" if args.live else "explorer"
        args.output = Path(name if holds_several(args) else f"{name}.html")
    args.written = []  # files, so far
    return args


def whole_numbers(text: str) -> list[int]:
    """Read a list such as 1,6,12."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of numbers such as 1,6,12"
        ) from None


def run(args: argparse.Namespace) -> None:
    if args.top < 1:
        raise InputError(f"--top must be a positive integer, not {args.top}")
    if args.beside is not None:
        check_beside(args)
    jobs = plan_files(args)
    with talk_apart(args) as results:
        explain(args, jobs, results)


def check_beside(args: argparse.Namespace) -> None:
    """Raise an InputError where two photos cannot share a page."""
    if holds_several(args):
        raise InputError("--beside takes a second photo, so give only one before it")
    if args.live:
        raise InputError("--live takes one photo: leave out --beside, or --live")
    if args.output is None:
        raise InputError("--beside is for a page: name one with --output")


class Looker:
    """Weights that look at photos, each of a size that there is room for."""

    def __init__(self, args: argparse.Namespace):
        """Read the weights, and check what is asked of them.

        Args:
            args: All flags.
        """
        self.args, self.device = args, choose_device(args.device)
        options = weights_options(args)
        try:
            self.found = read_pretrained(args.weights, **options)
            sides = options.get("image_size", self.found.config.image_shape)
            check_image_size(sides, self.found.config.patch_size)
        except InputError as error:
            raise named(args.weights, error) from None
        sides = (sides, sides) if isinstance(sides, int) else sides
        self.config = replace(self.found.config, image_size=sides)
        self.layer = choose_layers(self.config, args.layers, args.layer, args.head)[1]
        self.model_for = lru_cache(maxsize=1)(self.build)  # sizes are often the same
        self.remarks = dict.fromkeys(self.found.report.remarks())

    def build(self, image_shape: tuple[int, int]) -> tuple[ViT, tuple[str, ...]]:
        """The model for images of a size, and the names of its classes."""
        fitted = resize_weights(self.found, image_shape, self.args.resize)
        if fitted.config.grid_shape != self.found.config.grid_shape:
            size = f"{image_shape[1]} x {image_shape[0]} pixels"
            self.remarks[f"positions resized for {size}, as {self.args.resize}"] = None
        try:
            model, names = load_classifier(add_head(fitted), self.args.num_heads)
        except InputError as error:
            raise named(self.args.weights, error) from None
        return model.to(self.device), names

    def read(self, photo: Path) -> tuple[Tensor, list[int]]:
        """A photo, smaller if it has to be, and the layers that there is room for."""
        args, config, asked = self.args, self.config, None
        layers = args.layers if args.output and not args.live else [self.layer]
        fewest = FEWEST if args.image_size is None else 1  # a size asked for is kept
        memory = memory_for_process() - memory_used()
        while True:
            image = read_image(photo, config, args.whole)
            seen = replace(config, image_size=tuple(image.shape[1:]))
            asked = asked or seen
            sides, kept = find_room(seen, layers, self.layer, memory, fewest)
            if sides == seen.image_shape:
                break
            sides = (min(sides), min(sides)) if args.whole else sides
            config = replace(config, image_size=sides)
        wanted = len(layers or range(config.depth))
        if less := why_less(asked, seen, wanted, kept, memory):
            self.remarks[less] = None
        return image, kept

    def look(self, photo: Path, image: Tensor, layers: list[int]) -> Exploration:
        """What the model attends to in a photo that was read."""
        model, class_names = self.model_for(tuple(image.shape[1:]))
        return explore_image(
            model,
            image,
            class_names,
            title=title_of(photo),
            layers=layers,
            start_layer=self.layer,
            start_head=self.args.head,
            top=self.args.top if has_head(self.found) else 0,
        )

    def page_of(self, photo: Path, image: Tensor, exploration: Exploration) -> str:
        """The page of a photo as text: what was found in it, or the model itself."""
        if beside := self.args.beside:
            other, _ = self.read(beside)
            layers = exploration.description["layers"]
            return pair_page(exploration, self.look(beside, other, layers))
        if not self.args.live:
            return page(exploration)
        model, class_names = self.model_for(tuple(image.shape[1:]))
        try:
            return live_page(model, class_names, image, title_of(photo))
        except InputError as error:
            raise named(self.args.weights, error) from None


def title_of(photo: Path) -> str:
    """What a page calls a photo."""
    return printable(as_text(photo.name))


def explain(args: argparse.Namespace, jobs: list[Job], results: TextIO | None) -> None:
    """Explain all photos; print, or write for programs, to `results`."""
    with saying(f"reading {printable(args.weights)}"):
        looker = Looker(args)
    say = partial(print_past, file=None if args.json == STDOUT else results)
    several = holds_several(args)
    records, left_out, told = [], [], set()
    with progress_of("photos", len(jobs)) if several else nullcontext() as bar:
        for job in jobs:
            try:
                image, layers = looker.read(job.photo)
            except InputError as error:
                if not (several and args.skip_bad):
                    raise InputError(f"{error}{ways_on(args)}") from None
                say(f"\n{printable(job.photo)}\n  left out: {printable(error)}")
                left_out.append({"file": as_text(job.photo), "reason": str(error)})
            else:
                record = explain_photo(args, job, looker, image, layers)
                if not records:
                    print_head(args, len(jobs), record, looker)
                for remark in [r for r in looker.remarks if r not in told]:
                    print_past(remark)
                    told.add(remark)
                if args.json != STDOUT:
                    say(guesses_text(record, with_name=several or args.quiet))
                records.append(record)
                args.written += job.files.values()
            if several:
                bar.advance()
    if not records:
        raise InputError(f"none of the {len(jobs)} files is a readable image")
    text = json.dumps(
        {"weights": args.weights, "photos": records, "left_out": left_out},
        allow_nan=False,
    )
    print_past()
    if left_out:
        print_past(f"left out {len(left_out)} of {len(jobs)} files")
    finish(args, f"{text}\n", results)


def ways_on(args: argparse.Namespace) -> str:
    """What to do about an unreadable photo among several."""
    if not holds_several(args):
        return ""
    written = f" ({len(args.written):,} files are written: add --overwrite, too)"
    return ", or add --skip-bad to go on without it" + written * bool(args.written)


def explain_photo(
    args: argparse.Namespace,
    job: Job,
    looker: Looker,
    image: Tensor,
    layers: list[int],
) -> dict:
    """Write the files of one photo, and say what was found in it."""
    told = nullcontext if holds_several(args) else saying
    with told(f"looking, with {looker.config.depth} layers"):
        exploration = looker.look(job.photo, image, layers)
    files = {}
    if "page" in job.files:
        text = looker.page_of(job.photo, image, exploration).encode()
        files[job.files["page"]] = lambda path: path.write_bytes(text)
    if "picture" in job.files:
        use_style()
        figure = plot_explanation(image, exploration, looker.layer, args.head)
        files[job.files["picture"]] = lambda path: save_figure(figure, path, dpi=150)
    with told("writing"):
        write_files(files)
    return describe(job, exploration, looker.layer, args.head)


def finish(args: argparse.Namespace, text: str, results: TextIO | None) -> None:
    """Write the JSON text where it is asked for, and name the files."""
    if args.json == STDOUT:
        print_past(text.rstrip(), file=results)
    elif args.json is not None:
        write_files({args.json: lambda path: path.write_text(text, encoding="utf-8")})
        args.written.append(args.json)
    if holds_several(args) and args.written:
        folders = [path for path in (args.output, args.png, args.json) if path]
        names = ", ".join(map(str, folders))
        print_table(written=f"{len(args.written):,} files in {names}")
    elif args.written:
        print_table(written=", ".join(map(str, args.written)))


def named(weights: str, error: InputError) -> InputError:
    """The same error, with the name of the weights."""
    return InputError(f"{'' if weights in str(error) else f'{weights}: '}{error}")


def print_head(
    args: argparse.Namespace, count: int, record: dict, looker: Looker
) -> None:
    """Print what is looked at with what."""
    height, width = record["image_size"]
    rows, columns = record["patches"]
    whole = ", whole" if args.whole else ""
    photos = f"{count:,}" if holds_several(args) else str(args.photos[0])
    print_table(
        **{"photos" if holds_several(args) else "photo": photos + whole},
        weights=args.weights,
        model=f"{width} x {height} pixels, {rows} x {columns} patches, "
        f"{looker.config.depth} layers of {looker.config.num_heads} heads",
        device=looker.device,
    )


def main(argv: list[str] | None = None) -> int:
    return run_script(
        "explain.py", run, parse(argv), "leave out --whole, or choose --device cpu"
    )


if __name__ == "__main__":
    leave(main())
