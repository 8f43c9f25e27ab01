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
from functools import partial

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
from going_modular.config import ViTConfig
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
from going_modular.training.memory import Workload
from going_modular.training.memory_check import (
    check_memory,
    parameters_of,
    smaller_runs,
)
from going_modular.training.resuming import (
    check_same_settings,
    follow_moved_data,
    read_unfinished,
    refusing_foreign_checkpoint,
)
from going_modular.training.run import Parts, complete_run
from going_modular.training.run_folder import claim_output
from going_modular.training.settings import TRAINING_FIELDS, TrainingSettings
from going_modular.training.state_check import check_model_size
from going_modular.transfer.few_shot import choose_shots
from going_modular.transfer.fine_tuning import (
    TransferPlan,
    fitted_config,
    head_parts,
    set_up,
    usual_size,
)
from going_modular.transfer.recipes import (
    MODES,
    RECIPES,
    recipe_settings,
    suited_epochs,
)
from going_modular.transfer.starting import find_start
from going_modular.utils import set_seeds
from going_modular.variants.building import stem_of
from going_modular.vit import ViT
from going_modular.weights.conversion import RESIZE_METHODS
from going_modular.weights.reading import Pretrained, read_pretrained
from going_modular.weights.sources import BUILT_IN

# Photos of one's own in mode "full": more varied than digits, seen through crops.
PHOTOS = dict(augment="crop", crop_area=0.5)
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
    parser.add_argument(
        "--recipe", choices=RECIPES, help="what suits few photos, or Table 4 (auto)"
    )
    parser.add_argument("--shots", type=int, help="labelled images a class, 0 for all")
    parser.add_argument("--image-size", type=int, help="side in pixels (the weights')")
    add_weights_flags(parser, image_size=False)
    parser.add_argument("--resize", choices=RESIZE_METHODS, help="of the positions")
    add_run_flags(parser, smoke="a try-out, in under a minute")
    training = parser.add_argument_group("training")
    training.add_argument(
        "--learning-rate",
        type=rate_or_auto,
        metavar="RATE|auto",
        help="highest learning rate; auto tries a few on images held out (auto)",
    )
    add_flags(training, TrainingSettings, leave_out=("learning_rate",))
    return parser.parse_args(argv)


def rate_or_auto(text: str) -> float | str:
    """A learning rate as typed, or the word that has it searched for."""
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be a number or auto, not {text!r}"
        ) from None


def given_flags(args: argparse.Namespace) -> dict:
    """What was typed, and what --smoke stands for."""
    flags = {**vars(args), **weights_options(args), "raw": args.raw}
    given = {k: v for k, v in flags.items() if v is not None}
    return {**SMOKE, **given} if args.smoke else given


def make_plan(args: argparse.Namespace) -> tuple[TransferPlan, dict | None]:
    """Fill in what the flags leave open; with --resume, from the checkpoint."""
    names = ("data", "weights", "mode", "recipe", "shots", "image_size", "num_heads")
    names += ("resize", "mean", "std", "raw", *TRAINING_FIELDS)
    given = {k: v for k, v in given_flags(args).items() if k in names}
    if given.get("learning_rate") == "auto":
        del given["learning_rate"]
    if args.resume:
        checkpoint = read_unfinished(args.output, names)
        saved = follow_moved_data(checkpoint["settings"], given, SOURCES)
        check_same_settings(saved, given)
        with refusing_foreign_checkpoint(args.output):
            return TransferPlan.from_settings(saved), checkpoint
    data = given.setdefault("data", "digits")
    mode = given.setdefault("mode", "full")
    recipe = given.setdefault("recipe", "auto")
    photos = PHOTOS if data not in SOURCES and mode == "full" else {}
    defaults = dict(weights=BUILT_IN, shots=SHOTS.get(data, 0), image_size=0)
    defaults |= dict(num_heads=0, resize="official", mean=(), std=(), raw=False)
    return TransferPlan.from_settings(
        {**defaults, **recipe_settings(mode, recipe), **photos, **given}
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


def check_plan(
    plan: TransferPlan,
    found: Pretrained,
    config: ViTConfig,
    sets: dict[str, ImageSet],
    args: argparse.Namespace,
    processes: Processes,
) -> str:
    """Refuse a run that would not fit into memory; say what it takes."""
    precision = choose_precision(plan.training.precision, processes.device)
    work = Workload(
        config,
        parameters_of(partial(found.build, config)),
        replace(plan.training, precision=precision),
        moments=2 if plan.mode == "full" and plan.recipe == "auto" else 1,
        device=processes.device,
        sets=sets,
        on_disk=args.cache is not None and plan.data not in SOURCES,
        stem=stem_of(found.weights),
        head_only=plan.mode == "linear",
        tries_rates=plan.mode == "full" and searches(args, plan, processes),
        processes=processes.count,
        sharded=processes.sharded,
    )
    smaller = smaller_runs(
        work,
        any_size=True,
        head_alone=args.augment in (None, "none") and not processes.sharded,
    )
    return check_memory(work, () if args.resume else smaller, processes)


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
        notes = []
        if checkpoint is None and not plan.image_size:
            plan = replace(plan, image_size=usual_size(found.config))
            if plan.image_size:
                own = max(found.config.image_shape)
                notes += [
                    f"image size {plan.image_size}: the weights' own is {own}, which "
                    f"--image-size {own} takes, more slowly"
                ]
    config = fitted_config(plan, found, found.config.num_classes)
    check_plan(plan, found, config, {}, args, processes)  # before photos are decoded
    with processes.in_turns():
        sets = load_images(plan, found, args)
    config = fitted_config(plan, found, len(sets["train"].class_names))
    if checkpoint is not None and plan.mode == "full":
        with refusing_foreign_checkpoint(args.output):
            check_model_size(checkpoint, config)
    memory = check_plan(plan, found, config, sets, args, processes)
    model = found.build(config)
    report = load_pretrained(model, found, plan.resize, new_head=True, quiet=True)
    del found  # with its weights, which the model has by now
    set_seeds(plan.training.seed)
    processes.place(model)
    plan = with_chosen_precision(plan, processes)
    sets = {name: fit_set(data, model.config) for name, data in sets.items()}
    notes += [f"weights: {report.summary()}"]
    if plan.shots:
        sets["train"] = draw_shots(plan, sets["train"], notes)
    if checkpoint is None:
        plan, parts = begin(plan, model, sets, args, processes, notes)
    else:
        parts = set_up(plan, model, sets, processes.device)
    complete_run(
        args.output,
        plan,
        model,
        parts,
        sets["test"],
        checkpoint,
        args.overwrite,
        options,
        processes,
        note="\n".join(notes),
        command=["train_transferlearning.py", *args.typed],
        memory=memory,
    )


def draw_shots(plan: TransferPlan, data: ImageSet, notes: list[str]) -> ImageSet:
    """As many training images of each class as the plan says."""
    fewer = int((data.labels.unique(return_counts=True)[1] < plan.shots).sum())
    if fewer:
        notes += [f"classes with fewer than {plan.shots} images: {fewer}, taken whole"]
    return data.subset(choose_shots(data.labels, plan.shots, plan.training.seed))


def searches(
    args: argparse.Namespace, plan: TransferPlan, processes: Processes
) -> bool:
    """Whether learning rates are tried before the run begins."""
    if args.resume or processes.sharded:
        return False
    asked = args.learning_rate
    return asked == "auto" or asked is None and plan.recipe == "auto"


def begin(
    plan: TransferPlan,
    model: ViT,
    sets: dict[str, ImageSet],
    args: argparse.Namespace,
    processes: Processes,
    notes: list[str],
) -> tuple[TransferPlan, Parts]:
    """Choose what the flags leave open: how long, at which rate, from which head.

    Where processes share a model out, none of them can try anything with it alone.
    """
    if "epochs" not in given_flags(args) and plan.recipe == "auto":
        epochs = suited_epochs(plan.mode, len(sets["train"]))
        plan = replace(plan, training=replace(plan.training, epochs=epochs))
    if processes.sharded:
        if plan.recipe == "auto":
            notes += [
                "with --shard training begins with a head of zeros, and no search"
            ]
        return plan, set_up(plan, model, sets, processes.device)
    search = searches(args, plan, processes)
    start = find_start(plan, model, sets, processes.device, search)
    plan = processes.first_process_choice(start.plan)
    notes += [start.note] if start.note else []
    if start.features is None:
        parts = set_up(plan, model, sets, processes.device)
    else:
        parts = head_parts(plan.training, model.head, start.features, processes.device)
    accuracy = processes.first_process_choice(start.probe_accuracy)
    return plan, replace(parts, to_beat=accuracy)


def main(argv: list[str] | None = None) -> int:
    return run_training("train_transferlearning.py", run, parse(argv))


if __name__ == "__main__":  # worker processes import this file without running it
    leave(main())
