"""Show what a Vision Transformer attends to in a photo.

    python explain.py photo.jpg
    python explain.py photo.jpg --weights vit_b_16 --whole --output cat.html
    python explain.py photo.jpg --png cat.png --layer 4 --head 2

Writes one HTML file in which every weight of the attention can be explored, without a
network, or a picture of the class token's attention.
"""

import going_modular.system.early_stop  # noqa: F401
import going_modular.system.openmp  # noqa: F401
import going_modular.system.starting  # noqa: F401

import argparse
from pathlib import Path

from torch import Tensor

from going_modular.command_line.ending import run_script
from going_modular.command_line.flags import (
    add_photo_flag,
    add_weights_flags,
    one_line_parser,
    user_path,
    user_text,
    weights_options,
)
from going_modular.errors import InputError
from going_modular.explorer.data import Exploration, explore_image
from going_modular.explorer.page import page
from going_modular.explorer.picture import plot_explanation
from going_modular.explorer.preparation import (
    add_head,
    choose_layers,
    has_head,
    read_image,
    resize_weights,
)
from going_modular.plots.style import save_figure, use_style
from going_modular.predictions import load_classifier
from going_modular.system.files import check_file, real, write_files
from going_modular.system.leaving import leave
from going_modular.system.progress import print_past, saying
from going_modular.system.text import as_text, print_table, printable
from going_modular.utils import choose_device
from going_modular.weights.files import weight_files
from going_modular.weights.reading import read_pretrained
from going_modular.weights.sources import BUILT_IN

PAGES = (".html", ".htm")
PICTURES = (".png", ".pdf", ".svg")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__)
    parser.add_argument("photo", type=user_path, help="the file of one photo")
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
        help="page to write, .html (explorer.html, unless only --png is given)",
    )
    parser.add_argument(
        "--png", type=user_path, help=f"picture to write, {', '.join(PICTURES)}"
    )
    parser.add_argument(
        "--layers",
        type=whole_numbers,
        help="layers to keep in the page, such as 1,6,12 (all)",
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
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the files of an earlier run"
    )
    args = parser.parse_args(argv)
    if args.output is None and args.png is None:
        args.output = Path("explorer.html")
    return args


def whole_numbers(text: str) -> list[int]:
    """Read a list such as 1,6,12."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of numbers such as 1,6,12"
        ) from None


def check_flags(args: argparse.Namespace) -> None:
    """Refuse, before any work, what cannot be or would replace a file."""
    if args.top < 1:
        raise InputError(f"--top must be a positive integer, not {args.top}")
    taken = {real(args.photo), *weight_files(args.weights)}
    for flag, suffixes in (("output", PAGES), ("png", PICTURES)):
        path = getattr(args, flag)
        if path is None:
            continue
        if path.suffix.lower() not in suffixes:
            raise InputError(
                f"--{flag} must end in {', '.join(suffixes)}: {str(path)!r}"
            )
        check_file(f"--{flag}", path, taken, args.overwrite)
        taken.add(real(path))


def run(args: argparse.Namespace) -> None:
    check_flags(args)
    options = weights_options(args)
    device = choose_device(args.device)
    with saying(f"reading {printable(args.weights)}"):
        try:
            found = read_pretrained(args.weights, **options)
            trained = found.config.grid_shape
            if "image_size" in options:
                sides = options["image_size"]
                sides = (sides, sides) if isinstance(sides, int) else sides
                found = resize_weights(found, sides, args.resize)
        except InputError as error:
            raise named(args.weights, error) from None
    layers, layer = choose_layers(found.config, args.layers, args.layer, args.head)
    image = read_image(args.photo, found.config, args.whole)
    fitted = resize_weights(found, tuple(image.shape[1:]), args.resize)
    try:
        model, class_names = load_classifier(add_head(fitted), args.num_heads)
    except InputError as error:
        raise named(args.weights, error) from None
    with saying(f"looking, with {found.config.depth} layers"):
        exploration = explore_image(
            model.to(device),
            image,
            class_names,
            title=printable(as_text(args.photo.name)),
            layers=layers if args.output else [layer],
            start_layer=layer,
            start_head=args.head,
            top=args.top if has_head(found) else 0,
        )
    with saying("writing"):
        files = write_outputs(args, image, exploration, layer)
    remarks = found.report.remarks()
    if fitted.config.grid_shape != trained:
        height, width = fitted.config.image_shape
        remarks.append(
            f"positions resized for {width} x {height} pixels, as {args.resize}"
        )
    print_results(args, exploration, device, files, remarks)


def write_outputs(
    args: argparse.Namespace, image: Tensor, exploration: Exploration, layer: int
) -> list[Path]:
    """Write the page and the picture that were asked for, and name them."""
    files = {}
    if args.output:
        text = page(exploration).encode()
        files[args.output] = lambda path: path.write_bytes(text)
    if args.png:
        use_style()
        figure = plot_explanation(image, exploration, layer, args.head)
        files[args.png] = lambda path: save_figure(figure, path, dpi=150)
    write_files(files)
    return list(files)


def named(weights: str, error: InputError) -> InputError:
    """The same error, with the name of the weights."""
    return InputError(f"{'' if weights in str(error) else f'{weights}: '}{error}")


def print_results(
    args: argparse.Namespace, exploration: Exploration, device, files, remarks
) -> None:
    about = exploration.description
    height, width = about["image_size"]
    print_table(
        photo=f"{args.photo}" + (", whole" if args.whole else ""),
        weights=args.weights,
        model=f"{width} x {height} pixels, {about['rows']} x {about['columns']} "
        f"patches, {about['depth']} layers of {about['heads']} heads",
        device=device,
    )
    for line in remarks:
        print_past(line)
    print_past()
    for guess in about["predictions"]:
        print_past(f"  {100 * guess['probability']:6.2f} %  {printable(guess['name'])}")
    if not about["predictions"]:
        print_past("  no predictions: the weights have no classification head")
    print_past()
    print_table(written=", ".join(map(str, files)))


def main(argv: list[str] | None = None) -> int:
    return run_script(
        "explain.py", run, parse(argv), "leave out --whole, or choose --device cpu"
    )


if __name__ == "__main__":
    leave(main())
