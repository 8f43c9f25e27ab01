"""The report of a run: its numbers, and a page that anybody's names cannot break."""

import re
from base64 import b64decode
from functools import cache
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, recall_score
from test_explorer import HOSTILE, make_model

import train
import train_transferlearning
from going_modular.data_setup import ImageSet
from going_modular.datasets.fast_batches import FastBatches
from going_modular.plots.results import plot_confusion_matrix, plot_loss_curves
from going_modular.plots.style import use_style
from going_modular.processes.alone import ALONE
from going_modular.report.findings import find, share_of
from going_modular.report.pictures import encode_photo, light_up
from going_modular.report.writing import write_report
from going_modular.training import run as training_run
from going_modular.training.run_folder import REPORT, holds_finished_run

RESULTS = {
    "train_loss": [2.0, 1.5],
    "train_acc": [0.25, 0.5],
    "test_loss": [1.75, 1.5],
    "test_acc": [0.375, 0.5],
}
TINY = "--data digits --embedding-dim 12 --depth 1 --num-heads 2 --mlp-size 20"
TINY = [*TINY.split(), "--epochs", "1", "--quiet"]
MOST_BYTES = 3_000_000


class Page(HTMLParser):
    """A page's elements, with their attributes, and its text."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(text)
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        if self.elements and self.elements[-1][0] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def make_set(shape=(3, 16, 16), classes=4, n=60, names=None, seed=0) -> ImageSet:
    """Noise, which no JPEG makes small, with labels that leave out the last class."""
    stream = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, *shape), generator=stream).byte()
    labels = torch.randint(0, max(1, classes - 1), (n,), generator=stream)
    names = names or [f"class {i}" for i in range(classes)]
    return ImageSet(images, labels, tuple(names))


def make_logits(data: ImageSet, seed: int = 0) -> torch.Tensor:
    """Scores that are right for about half of the images."""
    stream = torch.Generator().manual_seed(seed)
    K = len(data.class_names)
    logits = torch.randn(len(data), K, generator=stream)
    chosen = torch.rand(len(data), generator=stream) < 0.5
    logits[chosen, data.labels[chosen]] += 5
    return logits


@cache
def drawings() -> dict:
    """Of another run: drawing takes longer than all the rest."""
    use_style()
    labels = torch.arange(3)
    matrix = plot_confusion_matrix(labels, labels, ("a", "b", "c"))
    return dict(curves=plot_loss_curves(RESULTS), confusion=matrix)


def make_page(folder, data: ImageSet, model=None, logits=None, **more) -> str:
    """The text of a report that was written, after a look at its size."""
    logits = make_logits(data) if logits is None else logits
    arguments = dict(
        **drawings(),
        command=["train.py", "--data", "photos"],
        settings={"epochs": 2},
        machine={"device": "cpu"},
        results=RESULTS,
    )
    if model is None:
        channels, *sides = data.images.shape[1:]
        config = dict(in_channels=channels, num_classes=logits.shape[1], depth=2)
        config |= dict(patch_size=8 if min(sides) < 100 else 32)
        model = make_model(image_size=tuple(sides), **config)
    path = folder / REPORT
    write_report(path, model, data, logits, **{**arguments, **more})
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) <= MOST_BYTES
    return text


# ---- Numbers


@pytest.mark.parametrize(("count", "total"), [(0, 9), (9, 9), (1, 3), (311, 372)])
def test_intervals_are_those_of_scipy(count, total):
    share = share_of(count, total)
    right = binomtest(count, total).proportion_ci(0.95, "wilson")
    assert (share.low, share.high) == pytest.approx((right.low, right.high), abs=1e-6)
    assert share.value == count / total


def test_nothing_counted_is_nothing_known():
    share = share_of(0, 0)
    assert (share.low, share.high) == (0, 1) and np.isnan(share.value)


def test_findings_are_those_of_scikit_learn_and_of_counting():
    data = make_set(classes=6, n=200)
    logits = make_logits(data)
    found = find(logits, data.labels, pairs=4, examples=2, worst=7)
    labels, guesses = data.labels.numpy(), logits.argmax(dim=1).numpy()
    counts = confusion_matrix(labels, guesses, labels=range(6))
    assert (found.accuracy.count, found.accuracy.total) == (counts.trace(), 200)
    assert [s.total for s in found.recalls] == counts.sum(axis=1).tolist()
    right = recall_score(labels, guesses, labels=range(5), average=None)
    assert [s.value for s in found.recalls[:5]] == pytest.approx(right.tolist())
    assert found.worst_first() == np.argsort(right).tolist(), "and not class 5"
    assert found.commonest.value == counts.sum(axis=1).max() / 200

    np.fill_diagonal(counts, 0)
    assert [p.count for p in found.pairs] == sorted(counts.ravel())[::-1][:4]
    probabilities = logits.softmax(dim=1).amax(dim=1).numpy()
    for pair in found.pairs:
        assert counts[pair.true, pair.guess] == pair.count
        places = np.flatnonzero((labels == pair.true) & (guesses == pair.guess))
        surest = places[np.argsort(-probabilities[places])]
        assert list(pair.examples) == surest[:2].tolist()
    wrong = np.flatnonzero(labels != guesses)
    surest = wrong[np.argsort(-probabilities[wrong])][:7]
    assert [m.place for m in found.mistakes] == surest.tolist()
    for m in found.mistakes:
        assert (m.true, m.guess) == (labels[m.place], guesses[m.place])
        assert m.probability == pytest.approx(probabilities[m.place])


def test_a_model_that_is_always_right_has_no_mistakes(tmp_path):
    data = make_set()
    logits = 9 * torch.nn.functional.one_hot(data.labels, 4).float()
    page = Page(make_page(tmp_path, data, logits=logits))
    assert "None: every test image is recognised." in page.text
    assert "100.0 % of 60 images" in page.text
    assert len(page.all("img")) == 3, "two curves and the matrix"


def test_the_page_says_the_numbers_that_were_found(tmp_path):
    data = make_set()
    logits = make_logits(data)
    text = Page(make_page(tmp_path, data, logits=logits)).text
    found = find(logits, data.labels)
    a, worst = found.accuracy, found.mistakes[0]
    assert f"{100 * a.value:.1f} % of 60 images" in text
    assert f"(Wilson): {100 * a.low:.1f} to {100 * a.high:.1f} %." in text
    places = []
    for label in found.worst_first():
        s = found.recalls[label]
        row = f"class {label}{100 * s.value:.1f} % ({100 * s.low:.1f} to "
        places.append(text.index(f"{row}{100 * s.high:.1f} %){s.count} of {s.total}"))
    assert places == sorted(places), "the worst class first"
    assert "of which nothing is known: class 3." in text
    pair = found.pairs[0]
    assert f"class {pair.true}class {pair.guess}{pair.count} of {pair.total}" in text
    shown = f"class {worst.true}, taken for class {worst.guess} "
    assert f"{shown}({100 * worst.probability:.1f} %)" in text
    assert "python train.py --data photos" in text and "device" in text


# ---- A page that is safe, small and offline


def test_hostile_names_are_shown_and_add_no_element(tmp_path):
    K = len(HOSTILE)
    plain = Page(make_page(tmp_path, make_set(classes=K)))
    folder = tmp_path / "<img src=x>"
    folder.mkdir()
    hostile = dict(
        command=["train.py", "--data", *HOSTILE],
        settings={"epochs": HOSTILE[3]},
        machine={"device": HOSTILE[0]},
        remarks=HOSTILE,
    )
    page = Page(make_page(folder, make_set(classes=K, names=HOSTILE), **hostile))
    shape = [(tag, set(a)) for tag, a in plain.elements if tag != "p"]
    assert [(tag, set(a)) for tag, a in page.elements if tag != "p"] == shape
    assert len(page.all("p")) == len(plain.all("p")) + K, "one for each remark"
    for name in (*HOSTILE[:2], HOSTILE[3], "two\\u2028lines\\u2029and\\nmore"):
        assert f"{name}, taken for " in page.text
    assert "\\udcff\\x00, 名前" not in page.text and "\\udcff\\x00" in page.text
    assert f"of which nothing is known: {HOSTILE[-1]}." in page.text
    assert "<img src=x>: report of a training run" in page.text


def test_the_page_asks_for_nothing_and_runs_nothing(tmp_path):
    text = make_page(tmp_path, make_set((3, 40, 40)))
    page = Page(text)
    for _, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on") and name != "style"
            if name in ("src", "href", "srcset", "action"):
                assert value.startswith("data:")
    assert "//" not in re.sub(r"base64,[\w+/=]*", "", text)
    assert not page.all("script") and not page.all("iframe")
    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    assert policy.startswith("default-src 'none'; ") and "script-src" not in policy
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    steps = np.diff(levels)
    assert levels[0] == 1 and levels.count(1) == 1 and steps.max() <= 1
    assert all(image["alt"].strip() for image in page.all("img"))


SHAPES = [(1, 8, 8), (3, 224, 224), (3, 16, 48), (1, 160, 24)]


@pytest.mark.parametrize("shape", SHAPES)
def test_photos_of_any_shape_are_at_most_160_pixels_long(shape, tmp_path):
    data = make_set(shape)
    page = Page(make_page(tmp_path, data))
    found = find(make_logits(data), data.labels)
    words = [image["alt"] for image in page.all("img")]
    assert words.count("the same image, its weightiest patches bright") == 6
    assert len(page.all("figure")) == len(found.mistakes) + 6
    small = len([i for i in page.all("img") if i.get("class") == "pixels"])
    assert (small > 0) == (max(shape) <= 32)
    for image in page.all("img")[3:]:
        kind, code = image["src"].split(";base64,")
        with Image.open(BytesIO(b64decode(code))) as photo:
            longest = max(photo.size)
            assert longest == min(160, max(shape[1:]))
            near = photo.width / photo.height - shape[2] / shape[1]
            assert abs(near) < 0.03 * shape[2] / shape[1]
        assert kind.endswith("png") == (longest <= 32)


@pytest.mark.parametrize(("classes", "open_rows"), [(2, 1), (30, 29), (1000, 20)])
def test_up_to_1000_classes_fit_into_the_page(classes, open_rows, tmp_path):
    names = tuple(f"{i:04}&{'w' * 300}" for i in range(classes))
    noise = make_set((3, 224, 224), n=50).images
    labels = make_set((1, 1, 1), classes, n=5000).labels
    data = ImageSet(noise.repeat(100, 1, 1, 1), labels, names)
    guesses = make_logits(data).argmax(dim=1)
    matrix = plot_confusion_matrix(data.labels, guesses, data.class_names)
    text = make_page(tmp_path, data, confusion=matrix)
    known = len(labels.unique())
    table = text[text.index('class="recalls"') : text.index("<details>")]
    assert text.count('class="value"') == known
    assert table.count('class="value"') == open_rows
    assert (f"The next {known - 20:,} classes" in text) == (known > open_rows)
    assert "w" * 51 not in text and "…" in text


def test_the_map_lights_up_the_patch_with_the_greatest_weight():
    values = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    lit = light_up(torch.full((1, 8, 12), 100, dtype=torch.uint8), values)
    assert lit.shape == (3, 8, 12)
    red_and_green = lit[:2].float().mean(dim=0)  # (8, 12): what yellow is made of
    assert (red_and_green[4:, :6] > 150).all()
    assert (red_and_green[:4] < 80).all() and (red_and_green[4:, 6:] < 80).all()


def test_one_bright_patch_leaves_the_others_lit():
    values = torch.full((4, 4), 0.01)
    values[:2] = 0.005
    values[3, 3] = 0.9
    lit = light_up(torch.zeros(1, 16, 16, dtype=torch.uint8), values)
    red_and_green = lit[:2].float().mean(dim=0)  # (16, 16)
    assert (red_and_green[8:, :12] == red_and_green[15, 15]).all()
    assert (red_and_green[:8] < red_and_green[15, 15] - 20).all()


def test_a_model_that_cannot_be_looked_into_gets_a_report_without_maps(tmp_path):
    data = make_set((3, 16, 16))
    model = make_model(image_size=16, num_classes=4)
    whole = make_page(tmp_path, data, model)
    assert "Where did it look?" in whole
    model.encoder.blocks[0].msa_block.msa = torch.nn.Identity()
    without = make_page(tmp_path, data, model)
    assert "Where did it look?" not in without
    assert "Where was it surest and wrong?" in without


def test_a_grey_photo_stays_grey():
    assert encode_photo(torch.zeros(1, 40, 40, dtype=torch.uint8)).startswith(
        "data:image/jpeg"
    )
    assert encode_photo(torch.zeros(1, 8, 8, dtype=torch.uint8)).startswith(
        "data:image/png"
    )


# ---- In a run


def test_a_run_leaves_a_report_that_says_what_was_typed(tmp_path, capsys):
    output = tmp_path / "a run"
    assert train.main([*TINY, "--output", str(output)]) == 0
    page = Page((output / REPORT).read_text(encoding="utf-8"))
    assert f"python train.py {' '.join(TINY)} --output '{output}'" in page.text
    assert "a run: report of a training run" in page.text
    said = capsys.readouterr().out
    accuracy = pd.read_pickle(output / "results.pkl")["test_acc"].iloc[-1]
    assert f"{100 * accuracy:.1f} % of 359 images" in page.text
    assert f"{output / REPORT},\n" in said, "a path is not broken"


def test_photos_of_a_folder_are_named_also_in_mode_linear(photos, tmp_path):
    output = tmp_path / "run"
    flags = "--mode linear --epochs 1 --quiet --learning-rate 1e-9".split()
    flags += ["--data", str(photos), "--output", str(output)]
    assert train_transferlearning.main(flags) == 0
    page = Page((output / REPORT).read_text(encoding="utf-8"))
    assert "of 2 images" in page.text
    assert re.search(r"taken for (cat|dog) \([\d.]+ %\)\d\.png", page.text)


def test_an_interrupted_report_leaves_a_run_to_go_on_with(
    tmp_path, monkeypatch, capsys
):
    output = tmp_path / "run"

    def stop(*arguments):
        raise KeyboardInterrupt

    output.mkdir()
    (output / REPORT).write_text("of an earlier run")
    with monkeypatch.context() as patch:
        patch.setattr(training_run, "write_report", stop)
        assert train.main([*TINY, "--output", str(output), "--overwrite"]) == 130
    assert "--resume" in capsys.readouterr().err and not (output / REPORT).exists()
    assert train.main(["--output", str(output), "--resume", "--quiet"]) == 0
    assert (output / REPORT).exists() and holds_finished_run(output)


def test_older_runs_without_a_report_are_finished_and_newer_ones_replace_it(
    tmp_path, capsys
):
    output = tmp_path / "run"
    output.mkdir()
    older = "model.safetensors results.pkl loss_curves.png confusion_matrix.png"
    for name in older.split():
        (output / name).write_text("old")
    assert train.main([*TINY, "--output", str(output)]) == 2
    assert "holds a finished run" in capsys.readouterr().err
    (output / REPORT).write_text("old")
    assert train.main([*TINY, "--output", str(output), "--overwrite"]) == 0
    assert (output / REPORT).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_guesses_come_in_the_order_of_the_images():
    data = make_set((1, 16, 16))
    model = make_model(image_size=16, in_channels=1, num_classes=4)
    logits, labels = ALONE.predict(model, FastBatches(data, 7))
    assert logits.shape == (60, 4) and torch.equal(labels, data.labels)


def test_figures_without_panels_give_a_page_without_curves(tmp_path):
    text = make_page(tmp_path, make_set(), curves=Figure(figsize=(1, 1)))
    assert "How did it learn?" not in text
