"""Whether a run fits into memory, before it takes any, and if not, what would fit."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import torch

from going_modular.config import VARIANTS
from going_modular.errors import InputError
from going_modular.processes.alone import ALONE, Processes
from going_modular.system.memory import memory_for_process, memory_used
from going_modular.training.fast_path import has_bf16
from going_modular.training.memory import MemoryNeeds, Workload, memory_needs
from going_modular.vit import ViT

__all__ = ["check_memory", "parameters_of", "smaller_runs"]

# An estimate may be wrong by a fifth, and is no reason to refuse a run that fits.
MARGIN = 1.2


def parameters_of(build: Callable[[], ViT]) -> int:
    """How many numbers a model learns that is not built: it has shapes alone."""
    with torch.device("meta"):
        return sum(p.numel() for p in build().parameters())


def check_memory(
    work: Workload,
    smaller: Iterable[Iterable[tuple[str, Workload]]] = (),
    processes: Processes = ALONE,
) -> str:
    """Refuse a run that would not fit into memory, before its model is built.

    Args:
        work: The run.
        smaller: Ways to make it smaller: flags, mildest first, each with the run that
            it makes of this one.
        processes: Those that train together; the first one decides for all.

    Returns:
        What it will take and what there is, in a few words.

    Raises:
        InputError: It would not fit, by a clear margin; the message says which flags
            would help.
    """
    held, there = memory_used(work.device), memory_for_process(work.device)
    needs, problem = memory_needs(work, held), None
    if not fits(needs, there, MARGIN):
        helping = [first_that_fits(way, held, there) for way in smaller]
        problem = describe_problem(needs, there, list(filter(None, helping)))
    if problem := processes.first_process_choice(problem):
        raise InputError(problem)
    return f"about {in_words(needs.total)} of {in_words(there)} free"


def first_that_fits(
    way: Iterable[tuple[str, Workload]], held: int, there: int
) -> tuple[str, int] | None:
    """The mildest flag that makes a run fit, and what it then takes; None if none."""
    for flag, work in way:
        needs = memory_needs(work, held)
        if fits(needs, there):
            return flag, needs.total
    return None


def fits(needs: MemoryNeeds, there: int, margin: float = 1.0) -> bool:
    """Whether what is still to be taken is no more than what is left.

    Args:
        needs: Of the run.
        there: Bytes that the process can have, with those that it has.
        margin: How many times as much it may be.
    """
    left = there - needs.held
    return needs.total - needs.held - needs.mapped <= margin * max(0, left)


def describe_problem(
    needs: MemoryNeeds, there: int, helping: list[tuple[str, int]]
) -> str:
    """In one line what is needed, what there is, and what would fit."""
    problem = (
        f"the run needs about {in_words(needs.total)} of memory, and there are "
        f"{in_words(there)}"
    )
    enough = f"--memory {1 + int(needs.total / 1e9)}"
    if not helping:
        return f"{problem}: no smaller setting fits; {enough} begins all the same"
    flags = ", or ".join(f"{flag} ({in_words(total)})" for flag, total in helping)
    return f"{problem}: add {flags}, or {enough} to begin all the same"


def in_words(number: float) -> str:
    """Bytes in the unit that suits them."""
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def smaller_runs(
    work: Workload,
    any_size: bool = False,
    any_variant: bool = False,
    head_alone: bool = False,
) -> Iterator[Iterable[tuple[str, Workload]]]:
    """Ways to make a run smaller, those first that change its results least.

    Args:
        work: The run.
        any_size: Whether `--image-size` may be another.
        any_variant: Whether `--variant` may be another.
        head_alone: Whether there is `--mode linear`.
    """
    settings = work.training
    if not work.head_only:
        yield in_more_parts(work)
        if settings.precision == "fp32" and has_bf16(work.device):
            halved = replace(settings, precision="bf16")
            yield [("--precision bf16", replace(work, training=halved))]
    if any_size:
        yield alone_or_in_parts(with_smaller_images(work))
    if head_alone and not work.head_only:
        yield [("--mode linear", replace(work, moments=1, head_only=True))]
    if any_variant:
        yield alone_or_in_parts(with_narrower_models(work))


def in_more_parts(work: Workload) -> Iterator[tuple[str, Workload]]:
    """With the batch cut into 2, 4, 8, ... parts, at last into single images."""
    settings = work.training
    counts = [2**k for k in range(1, settings.batch_size.bit_length())]
    for parts in (*counts, settings.batch_size):
        if settings.accumulate < parts:
            cut = replace(settings, accumulate=parts)
            yield f"--accumulate {parts}", replace(work, training=cut)


def alone_or_in_parts(
    way: Iterable[tuple[str, Workload]],
) -> Iterator[tuple[str, Workload]]:
    """Each of these runs and, if none of them suffices, each with its batch cut."""
    runs = []
    for flag, work in way:
        runs.append((flag, work))
        yield flag, work
    for flag, work in runs:
        for also, cut in () if work.head_only else in_more_parts(work):
            yield f"{flag} {also}", cut


def with_smaller_images(work: Workload) -> Iterator[tuple[str, Workload]]:
    """With square images, the largest first, down to a quarter of the side."""
    c = work.config
    whole = max(c.image_shape)
    for side in range(whole - c.patch_size, whole // 4, -c.patch_size):
        yield f"--image-size {side}", work.with_config(replace(c, image_size=side))


def with_narrower_models(work: Workload) -> Iterator[tuple[str, Workload]]:
    """With models of Table 1 that are narrower, the widest first."""
    c = work.config
    for name, sizes in reversed(VARIANTS.items()):
        if sizes["embedding_dim"] < c.embedding_dim:
            yield (
                f"--variant {name}/{c.patch_size}",
                work.with_config(replace(c, **sizes)),
            )
