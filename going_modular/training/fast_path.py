"""How to compute a step fastest: chosen by measuring, on the machine at hand."""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from going_modular.data_setup import Batches
from going_modular.processes.alone import ALONE, Processes
from going_modular.training.settings import PRECISIONS, TrainingSettings
from going_modular.training.trainer import gradient_step

__all__ = [
    "choose_computation",
    "compilers_reason",
    "first_batch",
    "has_bf16",
    "is_compilers",
    "seconds_per_step",
]

FASTER = 0.85  # share of the time from which another way is taken
ROUNDS, MOST_SECONDS = 5, 15  # of a measurement
LONG = 20 * 60  # seconds of a run that pays for compiling, which takes about one minute


def has_bf16(device: torch.device) -> bool:
    """Whether the hardware computes in bfloat16, and does not merely imitate it."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, name, bool)() for name in names)
    return False


def first_batch(batches: Batches) -> torch.Tensor:
    """The images of a run's first batch."""
    return next(iter(batches))[0]


def seconds_per_step(
    model: nn.Module,
    images: torch.Tensor,
    precisions: Sequence[torch.dtype],
    accumulate: int = 1,
) -> list[float]:
    """Time steps that change nothing: no weight, no random state.

    Args:
        model: In the mode in which it will train.
        images: A batch like those to come.
        precisions: Ways to compute; they take turns.
        accumulate: As for `gradient_step`.

    Returns:
        The least seconds of a step, for each precision.
    """
    labels = torch.zeros(len(images), dtype=torch.long, device=images.device)
    idle = torch.optim.SGD([nn.Parameter(torch.zeros(1))])  # the model is not its own
    least = [float("inf")] * len(precisions)
    began = time.perf_counter()
    devices = [images.device] if images.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        for number in range(ROUNDS + 1):
            for i, precision in enumerate(precisions):
                start = time.perf_counter()
                loss, _ = gradient_step(
                    model, images, labels, idle, None, 0.0, precision, accumulate
                )
                loss.item()  # waits for the device
                if number:  # the first one warms up
                    least[i] = min(least[i], time.perf_counter() - start)
            if number and time.perf_counter() - began > MOST_SECONDS:
                break
    model.zero_grad()
    return least


def choose_computation(
    settings: TrainingSettings,
    model: nn.Module,
    images: torch.Tensor,
    steps: int,
    processes: Processes = ALONE,
) -> TrainingSettings:
    """Replace "auto" in the settings by what is fastest here; compile if so chosen.

    The choice is kept in the settings, so that a run goes on as it began. Of several
    processes the first chooses for all.

    Args:
        settings: Those of the run.
        model: It is compiled in place.
        images: A batch like those to come.
        steps: Steps of the whole run.
        processes: Those that train. Where they share the model out, it may not fit one
            of them, and nothing is measured: "auto" takes bf16 on GPUs that have it,
            and compiles nothing.
    """
    model.train()
    if processes.sharded:
        half = processes.device.type == "cuda" and has_bf16(processes.device)
        if settings.precision == "auto":
            settings = replace(settings, precision="bf16" if half else "fp32")
        if settings.compile == "auto":
            settings = replace(settings, compile="no")
    elif processes.is_first:
        settings = choose_by_measuring(settings, model, images, steps)
    settings = processes.agree(settings)
    if settings.compile == "yes" and (processes.sharded or not processes.is_first):
        model.compile()
    return settings


def choose_by_measuring(
    settings: TrainingSettings, model: nn.Module, images: torch.Tensor, steps: int
) -> TrainingSettings:
    """Do what `choose_computation` says, for one process."""
    names = [settings.precision]
    if settings.precision == "auto":
        names = ["fp32", "bf16"] if has_bf16(images.device) else ["fp32"]
    seconds = {names[0]: 0.0}
    if len(names) > 1 or settings.compile == "auto":
        ways = [PRECISIONS[name] for name in names]
        least = seconds_per_step(model, images, ways, settings.accumulate)
        seconds = dict(zip(names, least, strict=True))
    name = names[-1] if seconds[names[-1]] < FASTER * seconds[names[0]] else names[0]
    settings = replace(settings, precision=name)
    if settings.compile == "no":
        return settings
    eager, auto = seconds[name], settings.compile == "auto"
    if auto and eager * steps < LONG:
        return replace(settings, compile="no")
    model.compile()
    if auto:
        ways, compiled = [PRECISIONS[name]], math.inf
        try:
            (compiled,) = seconds_per_step(model, images, ways, settings.accumulate)
        except RuntimeError as error:
            if not is_compilers(error):
                raise
            print(f"not compiled: {compilers_reason(error)}")
        if compiled > FASTER * eager:
            model._compiled_call_impl = None  # as before compile()
            return replace(settings, compile="no")
    return replace(settings, compile="yes")


def is_compilers(error: Exception) -> bool:
    """Whether torch.compile raised it: there may be no C++ compiler."""
    module = sys.modules.get("torch._dynamo.exc")  # slow to import
    return module is not None and isinstance(error, module.TorchDynamoException)


def compilers_reason(error: Exception) -> str:
    """What is wrong, in one line."""
    return " ".join(str(error).splitlines()[:2])
