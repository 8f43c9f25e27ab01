"""A report as one HTML file: no script, no network, nothing to install.

A Content-Security-Policy lets the browser use the one style that stands in the file,
known by its hash, and the pictures in it; it runs and fetches nothing.
"""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import PurePath

from going_modular.explorer.page import fingerprint
from going_modular.plots.predictions import shorten
from going_modular.plots.results import MOST_COUNTED, MOST_NAMED
from going_modular.report.findings import Findings, Mistake, Pair, Share
from going_modular.system.text import as_text, printable

__all__ = ["Photo", "Picture", "Report", "escape", "page"]

LONGEST_NAME = 50  # characters of a class or file
ALL_SHOWN = 30  # classes up to which all stand open in the list
OPEN = 20  # of more, the worst
MOST_LISTED = 1000  # of even more; the others would make the page too large
JOINERS = "\u200c\u200d"  # invisible, but part of Persian words and of emoji

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}: report</title>
<style>{style}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


@dataclass(frozen=True)
class Picture:
    """A drawing, and what those who do not see it are told."""

    address: str
    words: str


@dataclass(frozen=True)
class Photo:
    """A test image.

    Attributes:
        address: The picture itself.
        small: Whether its pixels are to be seen as squares.
        file: Name of its file, if it has one.
        map: The picture of where the model looked, if that was asked for.
    """

    address: str
    small: bool = False
    file: str = ""
    map: str = ""


@dataclass(frozen=True)
class Report:
    """All that the page says; texts are plain and are escaped here.

    Attributes:
        title: Of the run.
        command: As it was typed.
        date: When it ended.
        remarks: Sentences on the accuracy.
        settings, machine: What decided the results, by name.
        class_names: One name a class.
        findings: The numbers.
        curves: Loss and accuracy.
        matrix: The confusion matrix, or None.
        photos: The images that the findings name, by their place in the set.
    """

    title: str
    command: str
    date: str
    settings: Mapping[str, object]
    machine: Mapping[str, object]
    class_names: Sequence[str]
    findings: Findings
    curves: Sequence[Picture] = ()
    matrix: Picture | None = None
    photos: Mapping[int, Photo] = field(default_factory=dict)
    remarks: Sequence[str] = ()


def page(report: Report) -> str:
    """The whole HTML file as text."""
    sheet = files("going_modular.report") / "report.css"
    style = sheet.read_text(encoding="utf-8")
    sections = (
        header, headline, curves, matrix, recalls, pairs, mistakes, looks, circumstances
    )  # fmt: skip
    return TEMPLATE.format(
        policy=(
            "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
            f"style-src '{fingerprint(style)}'"
        ),
        title=escape(report.title),
        style=style,
        body="\n".join(filter(None, (section(report) for section in sections))),
    )


def escape(text) -> str:
    """Any text as HTML that shows it, and does nothing else."""
    text = as_text(text) if isinstance(text, PurePath) else str(text)
    return html.escape("".join(c if c in JOINERS else printable(c) for c in text))


def name_of(text: str) -> str:
    """A name of the user's, shortened; whatever its script, it moves no other word."""
    return f"<bdi>{escape(shorten(text, LONGEST_NAME))}</bdi>"


def percent(share: float) -> str:
    if 0.9995 <= share < 1:
        return "over 99.9\xa0%"
    return f"{100 * share:.1f}\xa0%"


def interval(share: Share) -> str:
    return f"{100 * share.low:.1f} to {percent(share.high)}"


def images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def draw(picture: Picture, kind: str = "drawing") -> str:
    words = escape(picture.words)
    return f'<img class="{kind}" src="{picture.address}" alt="{words}">'


def show(address: str, photo: Photo, words: str) -> str:
    """A photo, or the map over it; the words are HTML already."""
    kind = ' class="pixels"' if photo.small else ""
    return f'<img{kind} src="{address}" alt="{words}">'


def header(report: Report) -> str:
    return (
        f"<h1>{name_of(report.title)}: report of a training run</h1>\n"
        f'<p class="quiet">Written on {escape(report.date)}.</p>\n'
        f"<pre><code>{escape(report.command)}</code></pre>"
    )


def headline(report: Report) -> str:
    found = report.findings
    remarks = "".join(f"<p>{escape(remark)}</p>\n" for remark in report.remarks)
    return (
        "<h2>How often is it right?</h2>\n"
        "<p>The test accuracy is the share of the test images, which were kept out of "
        "training, that the model recognises.</p>\n"
        f'<p class="headline">{percent(found.accuracy.value)} <small>of '
        f"{images(found.accuracy.total)}</small></p>\n"
        f"<p>95 % interval (Wilson): {interval(found.accuracy)}. That is how far luck "
        "in the choice of the test images may have moved the figure.</p>\n"
        "<p>For comparison: always naming one class, the commonest, would be right "
        f"for {percent(found.commonest.value)}.</p>\n{remarks}"
    ).rstrip()


def curves(report: Report) -> str:
    if not report.curves:
        return ""
    drawn = "\n".join(map(draw, report.curves))
    return (
        "<h2>How did it learn?</h2>\n"
        "<p>Loss should fall and accuracy rise from epoch to epoch. Where training "
        "goes on getting better and the other curve does not, the model learns its "
        "training images by heart, and more images or a shorter run may help. The "
        "training curve is measured on the way, on images that may be cropped and "
        "mirrored, so it can look worse than it is.</p>\n"
        f'<div class="panels">\n{drawn}\n</div>'
    )


def matrix(report: Report) -> str:
    if report.matrix is None:
        return ""
    K = len(report.class_names)
    inside = "Brighter is a larger share of the row"
    if K <= MOST_COUNTED:
        inside = "The numbers count images; brighter is a larger share of the row"
    kind = "drawing wide" if MOST_COUNTED < K <= MOST_NAMED else "drawing"
    return (
        "<h2>Which class is taken for which?</h2>\n"
        "<p>A row for each true class, a column for what it was taken for: what lies "
        f"on the diagonal is right. {inside}.</p>\n"
        '<div class="frame" role="region" aria-label="Confusion matrix" tabindex="0">'
        f"{draw(report.matrix, kind)}</div>"
    )


def recalls(report: Report) -> str:
    found, order = report.findings, report.findings.worst_first()
    listed = order[:MOST_LISTED]
    shown = listed if len(listed) <= ALL_SHOWN else listed[:OPEN]
    parts = [
        "<h2>How well is each class recognised?</h2>\n"
        "<p>The recall of a class is the share of its images that are recognised; the "
        "worst class comes first. The line across each bar is the 95 % interval: where "
        "it is long there were few images, and the class may stand so high or low by "
        "luck.</p>",
        recall_table(report, shown),
    ]
    rest = listed[len(shown) :]
    if rest:
        of_all = "" if len(order) == len(listed) else f" of {len(order) - len(shown):,}"
        parts.append(
            f"<details><summary>The next {len(rest):,}{of_all} classes</summary>\n"
            f"{recall_table(report, rest)}\n</details>"
        )
    without = [label for label, share in enumerate(found.recalls) if not share.total]
    if without:
        some = ", ".join(name_of(report.class_names[i]) for i in without[:OPEN])
        more = len(without) - OPEN
        more = f" and {more:,} more" if more > 0 else ""
        parts.append(
            f"<p>Classes without test images, of which nothing is known: "
            f"{some}{more}.</p>"
        )
    return "\n".join(parts)


def recall_table(report: Report, labels: Sequence[int]) -> str:
    rows = "\n".join(
        recall_row(report.class_names[label], report.findings.recalls[label])
        for label in labels
    )
    return (
        '<table class="recalls">\n<thead><tr><th>class</th><th>recall (interval)</th>'
        f"<th>images</th></tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"
    )


def recall_row(name: str, share: Share) -> str:
    value, low, high = (100 * x for x in (share.value, share.low, share.high))
    bar = (
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" '
        f'aria-hidden="true"><path class="value" d="M0 0H{value:.1f}V8H0z"/>'
        f'<path class="interval" d="M{low:.1f} 4H{high:.1f}"/></svg>'
    )
    return (
        f'<tr><th scope="row">{name_of(name)}</th><td class="number">'
        f'{percent(share.value)} <span class="quiet">({interval(share)})</span>{bar}'
        f'</td><td class="number">{share.count:,} of {share.total:,}</td></tr>'
    )


def pairs(report: Report) -> str:
    begin = "<h2>Which classes are confused most?</h2>\n"
    if not report.findings.pairs:
        return begin + "<p>None: every test image is recognised.</p>"
    rows = "\n".join(pair_rows(report, pair) for pair in report.findings.pairs)
    return (
        f"{begin}<p>Each line says how many images of a class were taken for another "
        "one; below are those that the model was surest of.</p>\n"
        "<table>\n<thead><tr><th>true class</th><th>taken for</th><th>how often</th>"
        f"</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"
    )


def pair_rows(report: Report, pair: Pair) -> str:
    true, guess = (name_of(report.class_names[i]) for i in (pair.true, pair.guess))
    words = plain_name(report, pair.true)
    seen = (report.photos.get(place) for place in pair.examples)
    photos = "".join(show(photo.address, photo, words) for photo in seen if photo)
    row = (
        f'<tr><th scope="row">{true}</th><td>{guess}</td><td class="number">'
        f"{pair.count:,} of {pair.total:,}</td></tr>"
    )
    if not photos:
        return row
    return f'{row}\n<tr><td class="examples" colspan="3"><div>{photos}</div></td></tr>'


def plain_name(report: Report, label: int) -> str:
    """A class's name for an attribute, which holds no elements."""
    return escape(shorten(report.class_names[label], LONGEST_NAME))


def mistakes(report: Report) -> str:
    worst = [m for m in report.findings.mistakes if m.place in report.photos]
    if not worst:
        return ""
    cards = "\n".join(
        f"<li><figure>{show(photo.address, photo, plain_name(report, m.true))}"
        f"<figcaption>{caption(report, m)}</figcaption></figure></li>"
        for m in worst
        for photo in (report.photos[m.place],)
    )
    return (
        "<h2>Where was it surest and wrong?</h2>\n"
        "<p>These are the mistakes to which the model gave the highest probability, "
        "which stands in brackets. Look at each image before you blame the model: now "
        "and then it is the label that is wrong.</p>\n"
        f'<ul class="photos">\n{cards}\n</ul>'
    )


def caption(report: Report, mistake: Mistake) -> str:
    true, guess = (
        name_of(report.class_names[i]) for i in (mistake.true, mistake.guess)
    )
    file = report.photos[mistake.place].file
    return f"{true}, taken for {guess} ({percent(mistake.probability)})" + (
        f"<br>{name_of(file)}" if file else ""
    )


def looks(report: Report) -> str:
    worst = [m for m in report.findings.mistakes if m.place in report.photos]
    worst = [m for m in worst if report.photos[m.place].map]
    if not worst:
        return ""
    cards = "\n".join(
        f"<li><figure><div>{show(photo.address, photo, plain_name(report, m.true))}"
        f"{show(photo.map, photo, 'the same image, its weightiest patches bright')}"
        f"</div><figcaption>{caption(report, m)}</figcaption></figure></li>"
        for m in worst
        for photo in (report.photos[m.place],)
    )
    return (
        "<h3>Where did it look?</h3>\n"
        "<p>Beside each photo is its attention rollout: the attention of all layers "
        "multiplied, heads averaged, as in figure 6 of the paper. Yellow patches came "
        "through to the class token most, dark ones least. It tells where the model "
        "looked, not why it erred. Each map has its own scale; its brightest 2 % are "
        "drawn as one.</p>\n"
        f'<ul class="photos looks">\n{cards}\n</ul>'
    )


def circumstances(report: Report) -> str:
    shown = len(report.photos)
    photos = f"{images(shown)} of the test set, and " if shown else ""
    return (
        "<h2>What was run?</h2>\n"
        "<p>The same command with the same settings, on a machine of the same kind, "
        "computes the same again.</p>\n"
        f"<h3>Machine</h3>\n{listing(report.machine)}\n"
        f"<h3>Settings</h3>\n<details><summary>All {len(report.settings)} of them"
        f"</summary>\n{listing(report.settings)}\n</details>\n"
        f'<p class="quiet">This page holds {photos}the names of classes, folders and '
        "files: think of that before you pass it on.</p>"
    )


def listing(values: Mapping[str, object]) -> str:
    rows = "\n".join(
        f"<dt>{escape(name.replace('_', ' '))}</dt><dd>{escape(value)}</dd>"
        for name, value in values.items()
    )
    return f"<dl>\n{rows}\n</dl>"
