"""Train a Vision Transformer from scratch.

    python train.py --epochs 5
    python train.py --data path/to/photos --epochs 30
    python train.py --data fashion_mnist

The output folder receives the weights, the results, their curves, a confusion matrix,
report.html to look at in a browser and, after each epoch, a checkpoint from which
--resume goes on.
"""

import going_modular.system.early_stop  # noqa: F401
import going_modular.system.openmp  # noqa: F401
import going_modular.system.starting  # noqa: F401

import argparse
from dataclasses import replace

import torch

from going_modular.command_line.ending import run_training
from going_modular.command_line.flags import (
    add_flags,
    add_run_flags,
    one_line_parser,
    run_options,
    user_text,
)
from going_modular.config import VARIANTS, ViTConfig
from going_modular.data_setup import ImageSet
from going_modular.datasets.fast_batches import FastBatches, normaliser
from going_modular.datasets.folders import glance
from going_modular.datasets.sources import OF_ONE_SIZE, SOURCES, load_data
from going_modular.errors import InputError
from going_modular.optimization import build_optimizer
from going_modular.processes.alone import Processes
from going_modular.system.leaving import leave
from going_modular.system.progress import print_past
from going_modular.training.fast_path import choose_precision
from going_modular.training.memory import Workload, evaluation_batch_size
from going_modular.training.memory_check import (
    check_memory,
    parameters_of,
    smaller_runs,
)
from going_modular.training.presets import (
    HYBRID,
    PHOTOS,
    PRESETS,
    SMOKE,
    explain,
    suit_photos,
)
from going_modular.training.resuming import (
    check_same_settings,
    follow_moved_data,
    read_unfinished,
    refusing_foreign_checkpoint,
)
from going_modular.training.run import Parts, complete_run
from going_modular.training.run_folder import claim_output
from going_modular.training.settings import (
    MODEL_FIELDS,
    STEMS,
    TRAINING_FIELDS,
    Plan,
    TrainingSettings,
)
from going_modular.training.state_check import check_model_size
from going_modular.utils import set_seeds

NO_FLAG = ("in_channels", "num_classes", "representation_size", "mean", "std")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = one_line_parser(__doc__)
    about = f"{', '.join(SOURCES)}, or a folder (built-in)"
    parser.add_argument("--data", type=user_text, help=about)
    add_run_flags(parser, smoke="a try-out on the digits, in under a minute")
    training = (
        "training (the default in brackets; the images may have one of their own)"
    )
    add_flags(parser.add_argument_group(training), TrainingSettings)
    title = "model (in brackets ViT-B/16's; without flags, sizes that suit the images)"
    model = parser.add_argument_group(title)
    model.add_argument(
        "--stem",
        metavar="|".join(STEMS),
        help="tokens of patches of pixels, or of a few convolutions' feature map: the "
        "hybrid of section 3.1 (patches)",
    )
    model.add_argument("--variant", help='a size of Table 1 and a patch side, "B/16"')
    add_flags(model, ViTConfig, NO_FLAG)
    return parser.parse_args(argv)


def make_plan(args: argparse.Namespace) -> tuple[Plan, dict | None]:
    """Fill in what the flags leave open; with --resume, from the checkpoint.

    Returns:
        The plan, and the checkpoint to go on from, if any.
    """
    settings = ("data", "stem", "variant", *MODEL_FIELDS, *TRAINING_FIELDS)
    given = {k: v for k, v in vars(args).items() if k in settings and v is not None}
    if args.smoke:
        given = {**SMOKE, **given}
    if not args.resume:
        return Plan.from_settings({**preset_for(given), **given}), None
    expected = ("data", "stem", *MODEL_FIELDS, *TRAINING_FIELDS)
    checkpoint = read_unfinished(args.output, expected)
    saved = follow_moved_data(checkpoint["settings"], given, SOURCES)
    if "variant" in given:
        given = {**sizes_of(given.pop("variant"), saved["image_size"]), **given}
    check_same_settings(saved, given)
    with refusing_foreign_checkpoint(args.output):
        plan = Plan.from_settings(saved)
        check_model_size(checkpoint, plan.model)
        return plan, checkpoint


def preset_for(given: dict) -> dict:
    """What the flags leave open: the settings that suit the images.

    Args:
        given: What the flags say; "data" is set where they do not.
    """
    data = given.setdefault("data", "built-in")
    own_patches = "variant" in given or "patch_size" in given
    stem = given.get("stem") or ("patches" if own_patches else None)
    if data in PRESETS:
        presets = PRESETS[data]
        preset = presets.get(stem) or next(iter(presets.values()))
        if stem is None and preset.get("stem") == "conv":
            print_past(HYBRID)
    elif data in SOURCES:
        preset = PHOTOS
    else:
        count, side = glance(data)
        preset = suit_photos(count, side, stem or "conv", given.get("image_size"))
        print_past(explain({**preset, **given}, count, side))
    if "variant" in given:  # Table 1 decides the sizes
        preset = {k: v for k, v in preset.items() if k not in MODEL_FIELDS}
    return preset


def sizes_of(variant: str, image_size: int) -> dict:
    """The model's fields that a variant decides."""
    try:
        config = ViTConfig.from_variant(variant, image_size)
    except ValueError as error:
        raise InputError(str(error)) from None
    return {name: getattr(config, name) for name in ("patch_size", *VARIANTS["B"])}


def load_images(
    plan: Plan, args: argparse.Namespace
) -> tuple[Plan, dict[str, ImageSet]]:
    """Load the data and let it decide the model's channels and classes."""
    size = plan.model.image_size
    sets = load_data(
        plan.data, size, args.download, args.skip_bad, plan.training.seed, args.cache
    )
    train_set = sets["train"]
    channels, *shape = train_set.images.shape[1:]
    if tuple(shape) != plan.model.image_shape:
        side, P = shape[0], plan.model.patch_size
        sides = ", ".join(str(p) for p in range(2, side // 2 + 1) if side % p == 0)
        wanted = f"--image-size {side}"
        if side % P:
            wanted += f" and patches that divide it: {sides} pixels, such as B/7"
        raise InputError(
            f"the images of {plan.data} are {side} x {shape[1]} pixels, and the model "
            f"reads {size}: choose {wanted}"
        )
    classes = len(train_set.class_names)
    config = replace(plan.model, in_channels=channels, num_classes=classes)
    return replace(plan, model=config), sets


def check_plan(
    plan: Plan,
    sets: dict[str, ImageSet],
    args: argparse.Namespace,
    processes: Processes,
) -> str:
    """Refuse a run that would not fit into memory; say what it takes."""
    precision = choose_precision(plan.training.precision, processes.device)
    work = Workload(
        plan.model,
        parameters_of(plan.build),
        replace(plan.training, precision=precision),
        moments=2,
        device=processes.device,
        sets=sets,
        on_disk=args.cache is not None and plan.data not in SOURCES,
        stem="conv" if plan.stem == "conv" else "",
        processes=processes.count,
        sharded=processes.sharded,
    )
    any_size = plan.data not in OF_ONE_SIZE
    smaller = smaller_runs(work, any_size=any_size, any_variant=True)
    return check_memory(work, () if args.resume else smaller, processes)


def run(args: argparse.Namespace, processes: Processes) -> None:
    options = run_options(args)
    with processes.in_turns():
        plan, checkpoint = make_plan(args)
        args.output = claim_output(args, plan.data, resuming=checkpoint is not None)
    check_plan(plan, {}, args, processes)  # before much time goes into decoding
    with processes.in_turns():
        plan, sets = load_images(plan, args)
    memory = check_plan(plan, sets, args, processes)
    settings = plan.training
    set_seeds(settings.seed)
    model = processes.place(plan.build())
    optimizer = build_optimizer(model, settings.learning_rate, settings.weight_decay)
    at_once = evaluation_batch_size(plan.model, processes.device)
    batches = make_batches(settings, sets, processes.device, at_once)
    complete_run(
        args.output,
        plan,
        model,
        Parts(model, optimizer, **batches),
        sets["test"],
        checkpoint,
        args.overwrite,
        options,
        processes,
        command=["train.py", *args.typed],
        memory=memory,
    )


def make_batches(
    settings: TrainingSettings,
    sets: dict[str, ImageSet],
    device: torch.device,
    test_batch: int = 500,
) -> dict[str, FastBatches]:
    """Batches of each set, as `Parts` names them, of `test_batch` images to test."""
    batches = {
        f"{name}_batches": FastBatches(data, test_batch, device=device)
        for name, data in sets.items()
    }
    batches["train_batches"] = FastBatches(
        sets["train"],
        settings.batch_size,
        shuffle=True,
        **settings.crops,
        transform=normaliser(),
        seed=settings.seed,
        device=device,
    )
    return batches


def main(argv: list[str] | None = None) -> int:
    return run_training("train.py", run, parse(argv))


if __name__ == "__main__":  # worker processes import this file without running it
    leave(main())
