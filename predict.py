"""Predict the classes of photos with a trained Vision Transformer.

    python predict.py photo.jpg
    python predict.py photo.jpg path/to/photos --weights runs/photos/model.safetensors
    python predict.py photo.jpg --weights vit_b_16 --json predictions.json
    python predict.py path/to/photos --quiet --json - | jq .photos

Prints the likeliest classes of each photo and draws them into a picture. Where folders
have the names of classes, it counts how many photos it got right.
"""

import going_modular.system.early_stop  # noqa: F401
import going_modular.system.openmp  # noqa: F401
import going_modular.system.starting  # noqa: F401

import argparse
from functools import partial
from pathlib import Path
from typing import TextIO

from going_modular.command_line.ending import run_script
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
    json_text,
    talk_apart,
)
from going_modular.errors import InputError
from going_modular.helper_functions import plot_predictions, use_style
from going_modular.plots.style import save_figure
from going_modular.predictions import (
    SUFFIXES,
    Prediction,
    find_photos,
    folder_classes,
    load_classifier,
    predict_photos,
)
from going_modular.system.files import check_file, is_ours, real, write_files
from going_modular.system.leaving import leave
from going_modular.system.progress import print_past, progress_of, saying
from going_modular.system.text import as_text, print_table, printable
from going_modular.training.fast_path import choose_precision, for_prediction
from going_modular.training.settings import CHOICES, PRECISIONS
from going_modular.utils import choose_device
from going_modular.weights.files import weight_files
from going_modular.weights.reading import read_pretrained
from going_modular.weights.sources import BUILT_IN

PICTURES = (".png", ".pdf", ".svg")
FEW = 20  # classes, of which weights say that they know no others
MOST_SHOWN = 24  # photos in the picture


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__)
    parser.add_argument(
        "photos",
        nargs="+",
        type=user_path,
        help="photos, and folders to search for them",
    )
    parser.add_argument(
        "--weights",
        type=user_text,
        default=BUILT_IN,
        help="a file or folder of weights of any common kind, or a name such as "
        f"vit_b_16 or timm:NAME ({BUILT_IN})",
    )
    parser.add_argument(
        "--top", type=int, default=5, help="classes a photo (5; drawn up to 10)"
    )
    parser.add_argument(
        "--output",
        type=user_path,
        help=f"picture to write, {', '.join(PICTURES)} (predictions.png, but none with "
        "--json -)",
    )
    add_result_flags(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument(
        "--precision",
        choices=CHOICES["precision"],
        default="auto",
        help="number format; auto takes bf16 where the hardware computes in it (auto)",
    )
    add_weights_flags(parser)
    add_photo_flag(parser)
    parser.add_argument(
        "--batch-size", type=int, default=32, help="photos in a batch (32)"
    )
    argv = file_arguments(parser, argv)
    args = parser.parse_intermixed_args(argv)  # photos before and after flags
    if args.output is None and args.json != STDOUT:
        args.output = Path("predictions.png")
    return args


def files_of(args: argparse.Namespace) -> dict[str, Path]:
    """The files that are to be written, by their flags."""
    files = {"output": args.output, "json": args.json}
    return {flag: path for flag, path in files.items() if path not in (None, STDOUT)}


def check_flags(args: argparse.Namespace) -> None:
    """Refuse, before any work, what cannot be or would replace a file."""
    for name in ("top", "batch_size"):
        value = getattr(args, name)
        if value < 1:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} must be a positive integer, not {value}")
    if args.output is not None and args.output.suffix.lower() not in PICTURES:
        raise InputError(
            f"--output must end in {', '.join(PICTURES)}: {str(args.output)!r}"
        )
    read = weight_files(args.weights) | {real(path) for path in args.photos}
    folders = [real(path) for path in args.photos if path.is_dir()]
    files = files_of(args)
    for path in files.values():
        if path.suffix.lower() not in SUFFIXES or not path.exists():
            continue
        if any(map(real(path).is_relative_to, folders)) and not is_ours(path):
            raise InputError(f"{path} is one of the photos: choose another name")
    for flag, path in files.items():
        check_file(f"--{flag}", path, read, args.overwrite)
        read.add(real(path))


def run(args: argparse.Namespace) -> None:
    check_flags(args)
    with talk_apart(args) as results:
        predict(args, results)


def predict(args: argparse.Namespace, results: TextIO | None) -> None:
    """Predict all photos; print, or write for programs, to `results`."""
    options = weights_options(args)
    device = choose_device(args.device)
    precision = choose_precision(args.precision, device)
    outputs = list(files_of(args).values())
    photos = find_photos(args.photos, leave_out=outputs)
    try:
        with saying(f"reading {printable(args.weights)}"):
            found = read_pretrained(args.weights, **options)
            size = options.get("image_size")
            check_image_size(size, found.config.patch_size)
            model, class_names = load_classifier(
                found, args.num_heads, size, args.resize
            )
            if len(class_names) < 2:
                raise InputError("the weights have one output, so they tell no classes")
    except InputError as error:
        name = "" if args.weights in str(error) else f"{args.weights}: "
        raise InputError(f"{name}{error}") from None
    model = for_prediction(model.to(device), PRECISIONS[precision])
    height, width = model.config.image_shape
    print_table(
        weights=args.weights,
        model=f"{width} x {height} pixels, {len(class_names)} classes, "
        f"{sum(p.numel() for p in model.parameters()):,} parameters",
        photos=f"{len(photos):,}",
        device=f"{device}, in bfloat16" if precision == "bf16" else device,
    )
    for line in found.report.remarks():
        print_past(line)
    if model.config.grid_shape != found.config.grid_shape:
        print_past(f"positions resized for {width} x {height} pixels, as {args.resize}")
    if len(class_names) <= FEW:
        known = printable(", ".join(class_names))
        print_past(
            f"These weights know {len(class_names)} classes and nothing else: {known}"
        )

    folders = folder_classes(photos, args.photos, class_names)
    to_say = partial(print_past, file=None if args.json == STDOUT else results)
    shown, records, left_out = [], [], []

    def leave_out(path: Path, reason: str) -> None:
        to_say(f"\n{printable(path)}\n  left out: {printable(reason)}")
        left_out.append({"file": as_text(path), "reason": reason})
        bar.advance()

    with progress_of("predicting", len(photos)) as bar:
        for prediction in predict_photos(
            model,
            photos,
            class_names,
            top=args.top,
            batch_size=args.batch_size,
            on_bad=leave_out if args.skip_bad else None,
        ):
            if args.json != STDOUT:
                to_say(prediction_text(prediction))
            records.append(describe(prediction, folders.get(prediction.path)))
            bar.advance()
            if len(shown) < MOST_SHOWN:
                shown.append(prediction)
    if not records:
        raise InputError(f"none of the {len(photos)} files is a readable image")

    about = {"weights": args.weights, "image_size": [height, width]}
    about["precision"] = precision
    about |= count_right(records)
    text = json_text({**about, "photos": records, "left_out": left_out})
    with saying("drawing"):
        write_outputs(args, shown, text)
    if "in_class_folders" in about:
        to_say(f"\n{right_text(about)}")
    print_past()
    if left_out:
        print_past(
            f"left out {len(left_out)} of {len(photos)} files, no readable images"
        )
    if args.output is not None and len(shown) < len(records):
        print_past(f"the picture shows the first {len(shown)} of {len(records)} photos")
    if outputs:
        print_table(written=", ".join(map(str, outputs)))
    if args.json == STDOUT:
        print_past(text.rstrip(), file=results)


def prediction_text(prediction: Prediction) -> str:
    """A prediction as it is printed, after an empty line."""
    lines = ["", printable(prediction.path)]
    lines += [f"  {printable(note)}" for note in prediction.notes]
    for guess in prediction.guesses:
        lines.append(f"  {100 * guess.probability:6.2f} %  {printable(guess.name)}")
    return "\n".join(lines)


def describe(prediction: Prediction, folder_class: str | None) -> dict:
    """A prediction as the JSON file holds it."""
    guesses = [
        {"class": guess.name, "index": guess.index, "probability": guess.probability}
        for guess in prediction.guesses
    ]
    about = {"file": as_text(prediction.path), "predictions": guesses}
    if folder_class is not None:
        about["folder_class"] = folder_class
    if prediction.notes:
        about["notes"] = prediction.notes
    return about


def count_right(records: list[dict]) -> dict[str, int]:
    """How many photos got the class of their folder, where any lies in such a one."""
    known = [record for record in records if "folder_class" in record]
    if not known:
        return {}
    right = sum(r["predictions"][0]["class"] == r["folder_class"] for r in known)
    return {"right": right, "in_class_folders": len(known)}


def right_text(about: dict) -> str:
    """How many were right, in a line."""
    right, count = about["right"], about["in_class_folders"]
    return f"right: {right:,} of {count:,} photos in class folders, {right / count:.1%}"


def write_outputs(args: argparse.Namespace, shown: list[Prediction], text: str) -> None:
    """Write the picture of some photos, and the JSON text, where they are asked for."""
    files = {}
    if args.output is not None:
        use_style()
        figure = plot_predictions(shown)
        files[args.output] = lambda path: save_figure(figure, path, dpi=150)
    if args.json not in (None, STDOUT):
        files[args.json] = lambda path: path.write_text(text, encoding="utf-8")
    write_files(files)


def main(argv: list[str] | None = None) -> int:
    return run_script("predict.py", run, parse(argv), "choose a smaller --batch-size")


if __name__ == "__main__":
    leave(main())
