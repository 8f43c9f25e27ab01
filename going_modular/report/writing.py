"""From a finished run's scores to its report.html."""

import math
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from going_modular.data_setup import ImageSet
from going_modular.plots.predictions import shorten
from going_modular.report.findings import Findings, find
from going_modular.report.page import LONGEST_NAME, Photo, Picture, Report, page
from going_modular.report.pictures import (
    SMALL,
    encode_figure,
    encode_panels,
    encode_photo,
    rollout_maps,
)
from going_modular.system.files import write_file
from going_modular.vit import ViT

__all__ = ["write_report"]

MAPS = 6  # mistakes for which it is shown where the model looked


def write_report(
    path: Path,
    model: ViT,
    data: ImageSet,
    logits: Tensor,
    command: Sequence[str],
    settings: Mapping[str, object],
    machine: Mapping[str, object],
    results: Mapping[str, Sequence[float]],
    curves: Figure,
    confusion: Figure,
    remarks: Sequence[str] = (),
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: Of report.html; its folder names the run.
        model: It is put in evaluation mode.
        data: The test images, (n, C, H, W) as the model sees them.
        logits: (n, K) scores of these images, in this order.
        command: The script and what was typed after it.
        settings, machine: What decided the results, by name.
        results: One list for each column, one number an epoch.
        curves, confusion: Their drawings, as `plots.results` makes them.
        remarks: Sentences that belong to the accuracy.

    Raises:
        InputError: It cannot be written.
    """
    found = find(logits, data.labels)
    report = Report(
        title=path.absolute().parent.name,
        command=shlex.join(["python", *command]) if command else "",
        date=f"{datetime.now().astimezone():%d %B %Y, %H:%M %Z}",
        settings=settings,
        machine=machine,
        class_names=data.class_names,
        findings=found,
        curves=[
            Picture(address, about_curves(title, results))
            for title, address in encode_panels(curves).items()
        ],
        matrix=Picture(encode_figure(confusion), about_matrix(found, data.class_names)),
        photos=photos_of(found, model, data),
        remarks=remarks,
    )
    text = page(report)
    write_file(path, lambda p: p.write_text(text, encoding="utf-8", newline="\n"))


def photos_of(found: Findings, model: ViT, data: ImageSet) -> dict[int, Photo]:
    """The images that the findings name, by their place in the set."""
    worst = [mistake.place for mistake in found.mistakes]
    places = dict.fromkeys(
        [*worst, *(i for pair in found.pairs for i in pair.examples)]
    )
    seen = [data.images[place] for place in worst[:MAPS]]
    found_maps = rollout_maps(model.eval(), seen, data.class_names)  # or none
    maps = dict(zip(worst, found_maps, strict=False))
    paths = getattr(data, "paths", ())
    return {
        place: Photo(
            encode_photo(data.images[place]),
            small=max(data.images.shape[2:]) <= SMALL,
            file=paths[place].name if paths else "",
            map=maps.get(place, ""),
        )
        for place in places
    }


def about_curves(title: str, results: Mapping[str, Sequence[float]]) -> str:
    """The panel of "Loss" or of "Accuracy" in a sentence, with its last numbers."""
    percent = title == "Accuracy"
    ends = {
        name.partition("_")[0]: f"{100 * column[-1]:.1f} %" if percent
        else f"{column[-1]:.3f}"
        for name, column in results.items()
        if name.endswith("acc") == percent and not math.isnan(column[-1])
    }  # fmt: skip
    last = ", ".join(f"{part} {value}" for part, value in ends.items())
    return f"{title} after each epoch; after the last one: {last}"


def about_matrix(found: Findings, class_names: Sequence[str]) -> str:
    """The confusion matrix in a sentence."""
    K, right = len(class_names), found.accuracy
    words = (
        f"Matrix of {K} by {K} classes; {right.count} of {right.total} images lie on "
    )
    words += "its diagonal"
    if not found.pairs:
        return words
    pair = found.pairs[0]
    true, guess = (
        shorten(class_names[label], LONGEST_NAME) for label in (pair.true, pair.guess)
    )
    return (
        f"{words}; most often confused: {true}, taken for {guess} ({pair.count} times)"
    )
