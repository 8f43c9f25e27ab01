"""Fine-tune a pretrained Vision Transformer on images of your own.

    python train_transferlearning.py --epochs 5
    python train_transferlearning.py --data path/to/photos --weights vit_b_16
    python train_transferlearning.py --mode linear

Without flags it takes the weights that come with this project, trained on clothes, to
25 handwritten digits of each class. The output folder receives what train.py writes.
"""

import going_modular.system.early_stop  # noqa: F401
import going_modular.system.openmp  # noqa: F401
import going_modular.system.starting  # noqa: F401

import argparse
from dataclasses import replace

from going_modular.command_line.ending import run_training
from going_modular.command_line.flags import (
    add_flags,
    add_run_flags,
    add_weights_flags,
    one_line_parser,
    run_options,
    user_text,
    weights_options,
)
from going_modular.data_setup import ImageSet
from going_modular.datasets.fitting import fit_set
from going_modular.datasets.sources import SOURCES, load_data
from going_modular.errors import InputError
from going_modular.pretrained import load_pretrained
from going_modular.processes.alone import Processes
from going_modular.system.leaving import leave
from going_modular.system.progress import saying
from going_modular.system.text import printable
from going_modular.training.fast_path import choose_precision
from going_modular.training.resuming import (
    check_same_settings,
    follow_moved_data,
    read_unfinished,
    refusing_foreign_checkpoint,
)
from going_modular.training.run import complete_run
from going_modular.training.run_folder import claim_output
from going_modular.training.settings import TRAINING_FIELDS, TrainingSettings
from going_modular.training.state_check import check_model_size
from going_modular.transfer.few_shot import choose_shots
from going_modular.transfer.fine_tuning import (
    MODES,
    TransferPlan,
    fitted_config,
    set_up,
)
from going_modular.utils import set_seeds
from going_modular.weights.conversion import RESIZE_METHODS
from going_modular.weights.reading import Pretrained, read_pretrained
from going_modular.weights.sources import BUILT_IN

# Photos of one's own in mode "full": more varied than digits, seen through crops.
PHOTOS = dict(augment="crop", crop_area=0.3, batch_size=50, epochs=10)
SHOTS = {"digits": 25}
SMOKE = dict(epochs=2, shots=5)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__)
    about = f"{', '.join(SOURCES)}, or a folder (digits)"
    parser.add_argument("--data", type=user_text, help=about)
    parser.add_argument(
        "--weights",
        type=user_text,
        help=f"{BUILT_IN}, a file, a folder, or a name: vit_b_16 of torchvision, "
        "timm:NAME, transformers:NAME, official:FILE",
    )
    parser.add_argument("--mode", choices=MODES, help="train everything, or a head")
    parser.add_argument("--shots", type=int, help="labelled images a class, 0 for all")
    parser.add_argument("--image-size", type=int, help="side in pixels (the weights')")
    add_weights_flags(parser, image_size=False)
    parser.add_argument("--resize", choices=RESIZE_METHODS, help="of the positions")
    add_run_flags(parser, smoke="a try-out, in under a minute")
    add_flags(parser.add_argument_group("training"), TrainingSettings)
    return parser.parse_args(argv)


def make_plan(args: argparse.Namespace) -> tuple[TransferPlan, dict | None]:
    """Fill in what the flags leave open; with --resume, from the checkpoint."""
    names = ("data", "weights", "mode", "shots", "image_size", "num_heads", "resize")
    names += ("mean", "std", "raw", *TRAINING_FIELDS)
    flags = {**vars(args), **weights_options(args), "raw": args.raw}
    given = {k: v for k, v in flags.items() if k in names and v is not None}
    if args.smoke:
        given = {**SMOKE, **given}
    if args.resume:
        checkpoint = read_unfinished(args.output, names)
        saved = follow_moved_data(checkpoint["settings"], given, SOURCES)
        check_same_settings(saved, given)
        with refusing_foreign_checkpoint(args.output):
            return TransferPlan.from_settings(saved), checkpoint
    data = given.setdefault("data", "digits")
    mode = given.setdefault("mode", "full")
    photos = PHOTOS if data not in SOURCES and mode == "full" else {}
    defaults = dict(weights=BUILT_IN, shots=SHOTS.get(data, 0), image_size=0)
    defaults |= dict(num_heads=0, resize="official", mean=(), std=(), raw=False)
    return TransferPlan.from_settings(
        {**defaults, **MODES[mode], **photos, **given}
    ), None


def load_images(
    plan: TransferPlan, found: Pretrained, args: argparse.Namespace
) -> dict[str, ImageSet]:
    """Load the data, in the size that the model reads."""
    size = plan.image_size or max(found.config.image_shape)
    seed = plan.training.seed
    return load_data(plan.data, size, args.download, args.skip_bad, seed, args.cache)


def with_chosen_precision(plan: TransferPlan, processes: Processes) -> TransferPlan:
    """With the precision that "auto" stands for: features are computed in it."""
    precision = choose_precision(plan.training.precision, processes.device)
    precision = processes.first_process_choice(precision)
    return replace(plan, training=replace(plan.training, precision=precision))


def run(args: argparse.Namespace, processes: Processes) -> None:
    options = run_options(args)
    with processes.in_turns():
        plan, checkpoint = make_plan(args)
        if processes.sharded and plan.mode == "linear":
            raise InputError("--shard needs --mode full: a head alone fits one device")
        args.output = claim_output(
            args, plan.data, f"-{plan.mode}", plan.weights, checkpoint is not None
        )
        with saying(f"reading {printable(plan.weights)}", "reading weights"):
            found = read_pretrained(plan.weights, **plan.told())
        if plan.num_heads not in (0, found.config.num_heads):
            raise InputError(
                f"the weights have {found.config.num_heads} heads, not {plan.num_heads}"
            )
        sets = load_images(plan, found, args)
    config = fitted_config(plan, found, len(sets["train"].class_names))
    if checkpoint is not None and plan.mode == "full":
        with refusing_foreign_checkpoint(args.output):
            check_model_size(checkpoint, config)
    model = found.build(config)
    report = load_pretrained(model, found, plan.resize, new_head=True, quiet=True)
    set_seeds(plan.training.seed)
    processes.place(model)
    plan = with_chosen_precision(plan, processes)
    sets = {name: fit_set(data, model.config) for name, data in sets.items()}
    note = f"weights: {report.summary()}"
    if plan.shots:
        labels = sets["train"].labels
        fewer = int((labels.unique(return_counts=True)[1] < plan.shots).sum())
        if fewer:
            note += (
                f"\nclasses with fewer than {plan.shots} images: {fewer}, taken whole"
            )
        chosen = choose_shots(labels, plan.shots, plan.training.seed)
        sets["train"] = sets["train"].subset(chosen)
    complete_run(
        args.output,
        plan,
        model,
        set_up(plan, model, sets, processes.device),
        sets["test"],
        checkpoint,
        args.overwrite,
        options,
        processes,
        note=note,
        command=["train_transferlearning.py", *args.typed],
    )


def main(argv: list[str] | None = None) -> int:
    return run_training("train_transferlearning.py", run, parse(argv))


if __name__ == "__main__":  # worker processes import this file without running it
    leave(main())
