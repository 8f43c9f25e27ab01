"""Predict the classes of photos with a trained Vision Transformer.

    python predict.py photo.jpg
    python predict.py photo.jpg path/to/photos --weights runs/photos/model.safetensors
    python predict.py photo.jpg --weights vit_b_16 --json predictions.json

Prints the likeliest classes of each photo and draws them into a picture.
"""

import going_modular.system.early_stop  # noqa: F401
import going_modular.system.openmp  # noqa: F401
import going_modular.system.starting  # noqa: F401

import argparse
import json
from pathlib import Path

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
from going_modular.helper_functions import plot_predictions, use_style
from going_modular.plots.style import save_figure
from going_modular.predictions import (
    SUFFIXES,
    Prediction,
    find_photos,
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
        default=Path("predictions.png"),
        help=f"picture to write, {', '.join(PICTURES)} (predictions.png)",
    )
    parser.add_argument("--json", type=user_path, help="file to write for programs")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the files of an earlier run"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps")
    parser.add_argument(
        "--precision",
        choices=CHOICES["precision"],
        default="auto",
        help="number format; auto takes bf16 where the hardware computes in it (auto)",
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="go on without files that are no readable images",
    )
    add_weights_flags(parser)
    add_photo_flag(parser)
    parser.add_argument(
        "--batch-size", type=int, default=32, help="photos in a batch (32)"
    )
    return parser.parse_intermixed_args(argv)  # photos before and after flags


def check_flags(args: argparse.Namespace) -> None:
    """Refuse, before any work, what cannot be or would replace a file."""
    for name in ("top", "batch_size"):
        value = getattr(args, name)
        if value < 1:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} must be a positive integer, not {value}")
    if args.output.suffix.lower() not in PICTURES:
        raise InputError(
            f"--output must end in {', '.join(PICTURES)}: {str(args.output)!r}"
        )
    read = weight_files(args.weights) | {real(path) for path in args.photos}
    folders = [real(path) for path in args.photos if path.is_dir()]
    for path in (args.output, args.json):
        if path is None or path.suffix.lower() not in SUFFIXES or not path.exists():
            continue
        if any(map(real(path).is_relative_to, folders)) and not is_ours(path):
            raise InputError(f"{path} is one of the photos: choose another name")
    for flag in ("output", "json"):
        if getattr(args, flag) is not None:
            check_file(f"--{flag}", getattr(args, flag), read, args.overwrite)
            read.add(real(getattr(args, flag)))


def run(args: argparse.Namespace) -> None:
    check_flags(args)
    options = weights_options(args)
    device = choose_device(args.device)
    precision = choose_precision(args.precision, device)
    outputs = [path for path in (args.output, args.json) if path is not None]
    photos = find_photos(args.photos, leave_out=outputs)
    try:
        with saying(f"reading {printable(args.weights)}"):
            found = read_pretrained(args.weights, **options)
            size = options.get("image_size")
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

    shown, records, left_out = [], [], []

    def leave_out(path: Path, reason: str) -> None:
        print_past(f"\n{printable(path)}\n  left out: {printable(reason)}")
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
            print_past(prediction_text(prediction))
            records.append(describe(prediction))
            bar.advance()
            if len(shown) < MOST_SHOWN:
                shown.append(prediction)
    if not records:
        raise InputError(f"none of the {len(photos)} files is a readable image")

    about = {"weights": args.weights, "image_size": [height, width]}
    about["precision"] = precision
    with saying("drawing"):
        write_outputs(args, shown, {**about, "photos": records, "left_out": left_out})
    print_past()
    if left_out:
        print_past(
            f"left out {len(left_out)} of {len(photos)} files, no readable images"
        )
    if len(shown) < len(records):
        print_past(f"the picture shows the first {len(shown)} of {len(records)} photos")
    print_table(written=", ".join(map(str, outputs)))


def prediction_text(prediction: Prediction) -> str:
    """A prediction as it is printed, after an empty line."""
    lines = ["", printable(prediction.path)]
    lines += [f"  {printable(note)}" for note in prediction.notes]
    for guess in prediction.guesses:
        lines.append(f"  {100 * guess.probability:6.2f} %  {printable(guess.name)}")
    return "\n".join(lines)


def describe(prediction: Prediction) -> dict:
    """A prediction as the JSON file holds it."""
    guesses = [
        {"class": guess.name, "index": guess.index, "probability": guess.probability}
        for guess in prediction.guesses
    ]
    about = {"file": as_text(prediction.path), "predictions": guesses}
    return {**about, "notes": prediction.notes} if prediction.notes else about


def write_outputs(
    args: argparse.Namespace, shown: list[Prediction], results: dict
) -> None:
    use_style()
    figure = plot_predictions(shown)
    text = json.dumps(results, indent=2) + "\n"  # ASCII, whatever the names
    files = {args.output: lambda path: save_figure(figure, path, dpi=150)}
    if args.json is not None:
        files[args.json] = lambda path: path.write_text(text, encoding="utf-8")
    write_files(files)


def main(argv: list[str] | None = None) -> int:
    return run_script("predict.py", run, parse(argv), "choose a smaller --batch-size")


if __name__ == "__main__":
    leave(main())
