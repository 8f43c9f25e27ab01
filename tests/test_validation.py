"""With three splits, validation photos choose, and test photos are counted once."""

import pandas as pd
import pytest
from PIL import Image

import train
from going_modular import engine

COLOURS = {"blue": (9, 9, 200), "red": (200, 9, 9)}
SMALL = "--image-size 8 --patch-size 4 --depth 1 --embedding-dim 12 --num-heads 2"


@pytest.fixture
def folder(tmp_path):
    """Test photos are labelled the wrong way round: they must not choose anything."""
    counts = {"train": 6, "Validation": 3, "TEST": 2}
    for split, count in counts.items():
        for name, colour in COLOURS.items():
            place = tmp_path / "photos" / split / name
            place.mkdir(parents=True)
            if split == "TEST":
                colour = colour[::-1]
            for i in range(count):
                Image.new("RGB", (16, 16), colour).save(place / f"{i}.png")
    return tmp_path / "photos"


def run(folder, output, *flags) -> pd.DataFrame:
    given = ["--data", str(folder), "--output", str(output), "--quiet", *SMALL.split()]
    assert train.main([*given, "--batch-size", "4", "--mlp-size", "16", *flags]) == 0
    return pd.read_pickle(output / "results.pkl")


def test_validation_chooses_and_the_test_is_counted_once(
    folder, tmp_path, capsys, monkeypatch
):
    seen = []
    monkeypatch.setattr(
        "going_modular.processes.alone.evaluate",
        lambda model, batches: (
            seen.append(len(batches.data)) or engine.evaluate(model, batches)
        ),
    )
    results = run(folder, tmp_path / "run", "--epochs", "4", "--augment", "none")
    assert seen == [6, 6, 6, 6, 4], "validation each epoch, the test at the end"
    parts = ("train", "val", "test")
    assert list(results) == [f"{p}_{what}" for p in parts for what in ("loss", "acc")]
    assert results["test_acc"].isna().tolist() == [True, True, True, False]
    assert results["val_acc"].iloc[-1] == 1 - results["test_acc"].iloc[-1]
    said = capsys.readouterr().out
    assert "train 12, val 6, test 4" in said
    assert "val accuracy" in said and "counted once" in said


def test_patience_looks_at_the_validation_photos(folder, tmp_path, capsys):
    flags = ["--epochs", "30", "--patience", "3", "--augment", "none"]
    results = run(folder, tmp_path / "run", *flags)
    best = results["val_acc"].idxmax()
    assert len(results) == best + 1 + 3 < 30
    assert "no better val accuracy for 3 epochs" in capsys.readouterr().out
