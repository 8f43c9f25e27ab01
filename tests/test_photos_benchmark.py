"""Ours and the common pipeline deliver the same; the command runs and writes."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import photo_contenders, photos
from going_modular.training.settings import TrainingSettings

SETTINGS = TrainingSettings(batch_size=4, crop_area=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Seven plain photos of each of two classes: dark ones and light ones."""
    root = tmp_path_factory.mktemp("photos")
    for label, name in enumerate(("dark", "light")):
        for i in range(7):
            path = root / "train" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((20, 20, 3), 100 * label + 10 * i, np.uint8)
            Image.fromarray(pixels).save(path)
    return root


def all_of(batches):
    images, labels = map(torch.cat, zip(*batches, strict=True))
    order = images[:, 0, 0, 0].argsort()
    return images[order], labels[order]


def test_both_pipelines_deliver_the_same_numbers(folder, tmp_path):
    own = folder / "train"
    plain = photo_contenders.plain_loader(own, 8, SETTINGS, workers=0)
    images, labels = all_of(plain)
    assert labels.tolist() == [0] * 7 + [1] * 7
    for cache in (None, tmp_path / "cache"):
        ours = photo_contenders.our_batches(
            photo_contenders.read(own, 8, cache), SETTINGS
        )
        assert len(ours) == len(plain) == 4
        ours_images, ours_labels = all_of(ours)
        assert torch.equal(ours_labels, labels)
        torch.testing.assert_close(ours_images, images)


def test_cold_decodes_every_photo_and_warm_none(folder, tmp_path, monkeypatch):
    from going_modular.datasets import folders as photo_folders

    read, seen = photo_folders.read_photo, []

    def note(path, size, tell):
        seen.append(path)
        return read(path, size, tell)

    calls = photo_contenders.contenders(folder / "train", 8, SETTINGS, tmp_path)
    monkeypatch.setattr(photo_folders, "read_photo", note)
    decoded = {}
    for name, call in calls.items():
        seen.clear()
        assert call() == 14
        decoded[name] = len(seen)
    assert decoded.pop("ours, cold") == 14
    assert set(decoded.values()) == {0} and len(decoded) == 5


def test_the_command_runs_and_writes_its_table(folder, tmp_path, capsys):
    output = tmp_path / "photos.json"
    flags = ["--sizes", "8", "16", "--rounds", "1", "--json", str(output)]
    assert photos.main([str(folder), *flags]) == 0
    figures = json.loads(output.read_text())
    assert [row["image_size"] for row in figures["rows"]] == [8, 16]
    for row in figures["rows"]:
        speeds = {name: v[0] for name, v in row["photos_per_second"].items()}
        plain = {name: v for name, v in speeds.items() if name.startswith("plain")}
        best = row["best_plain"]
        assert row["photos"] == 14 and plain[best] == max(plain.values())
        for name, speed in speeds.items():
            ratio = row["to_best_plain"][name][0]
            assert ratio == pytest.approx(speed / speeds[best])
    training = figures["training"]
    assert 0 < training["waited"] < training["seconds"]
    assert training["share"] == training["waited"] / training["seconds"]
    lines = [line for line in capsys.readouterr().out.splitlines() if line[:1] == "|"]
    assert len(lines) == 2 + 6


@pytest.mark.parametrize(
    "flags, message",
    [
        (["no/such"], "no folder no/such"),
        ([".", "--rounds", "0"], "--rounds must be positive, not 0"),
        ([".", "--sizes", "0"], "--sizes must be positive, not 0"),
        ([".", "--json", "no/such/x.json"], "--json: no folder no/such"),
    ],
)
def test_unusable_flags_are_one_line(flags, message, capsys):
    assert photos.main(flags) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(message) and shown.count("\n") == 1


def test_a_folder_without_classes_is_one_line(tmp_path, capsys):
    assert photos.main([str(tmp_path), "--json", str(tmp_path / "x.json")]) == 2
    shown = capsys.readouterr().err
    assert "needs one subfolder of images" in shown and shown.count("\n") == 1
