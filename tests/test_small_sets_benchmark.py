"""The benchmark of few photos: its sets, its two simple ways, and its table."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import small_sets
from going_modular.data_setup import ImageSet
from going_modular.datasets.folders import load_splits
from going_modular.training import presets


def stripes(count: int, seed: int) -> ImageSet:
    """Noisy images that are bright at the top or at the bottom."""
    stream = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 100, (count, 3, 32, 32), generator=stream)
    labels = torch.arange(count) % 2
    for place, label in enumerate(labels.tolist()):
        rows = slice(16 - 16 * label, 32 - 16 * label)
        images[place, :, rows] += 100
    return ImageSet(images.to(torch.uint8), labels, ("bottom", "top/up"))


@pytest.fixture
def folder(tmp_path) -> Path:
    sets = {"train": stripes(40, 0), "test": stripes(20, 1)}
    return small_sets.write_set(tmp_path / "stripes", sets)


def test_a_set_that_is_written_is_read_as_it_was(folder):
    sets = load_splits(folder, 32, quiet=True)
    assert sets["train"].class_names == ("bottom", "top-up")
    counts = [data.labels.bincount().tolist() for data in sets.values()]
    assert counts == [[20, 20], [10, 10]]
    written = {bytes(image.flatten().tolist()) for image in stripes(40, 0).images}
    assert {bytes(i.flatten().tolist()) for i in sets["train"].images} == written


def test_letters_are_drawn_alike_each_time_and_no_two_are_the_same():
    once, again = (small_sets.drawn_letters(2)["train"].images for _ in range(2))
    assert torch.equal(once, again) and once.shape == (10, 3, 100, 100)
    assert len({bytes(image.flatten().tolist()) for image in once}) == 10


def test_some_fashion_is_as_much_as_asked_for():
    sets = small_sets.some_fashion(123)
    assert len(sets["train"]) == 123 and len(sets["test"]) == 2000


def test_the_network_has_the_size_that_is_said():
    count = sum(p.numel() for p in small_sets.SmallCNN(3, 10).parameters())
    assert round(count / 1e6, 1) == 0.4


def test_all_three_ways_learn_what_is_easy(folder, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(presets, "SEEN", 1000)
    monkeypatch.setattr(small_sets, "describe_machine", lambda device: "this")
    file = tmp_path / "found.json"
    argv = ["--sets", "--data", str(folder), "--json", str(file)]
    assert small_sets.main(argv) == 0
    found = json.loads(file.read_text())["sets"]["stripes"]
    assert found["train"] == 40 and found["test"] == 20 and found["seconds"] > 0
    assert found["pixels"] == 1.0
    assert found["train.py"] > 0.8 and found["CNN"] > 0.4  # of few steps
    table = capsys.readouterr().out.splitlines()[-1]
    assert table.startswith("| stripes | 40 ") and "100.0 %" in table
