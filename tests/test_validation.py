"""With three splits, validation photos choose, and test photos are counted once."""

import shutil

import pandas as pd
import pytest
import torch
from PIL import Image

import going_modular.processes.alone as processes_module
import train
from going_modular import engine
from going_modular.checkpoint import load_model
from going_modular.plots.results import plot_confusion_matrix

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

    def counting(function):
        def count(model, batches):
            batches = list(batches)
            seen.append(sum(len(labels) for _, labels in batches))
            return function(model, batches)

        return count

    for name in ("evaluate", "predict_logits"):
        function = counting(getattr(engine, name))
        monkeypatch.setattr(processes_module, name, function)
    results = run(folder, tmp_path / "run", "--epochs", "4", "--augment", "none")
    assert seen == [6, 6, 6, 6, 4], "validation each epoch, the test at the end"
    parts = ("train", "val", "test")
    assert list(results) == [f"{p}_{what}" for p in parts for what in ("loss", "acc")]
    best = results["val_acc"].idxmax()
    assert results["test_acc"].notna().tolist() == [row == best for row in range(4)]
    assert results["val_acc"][best] == 1 - results["test_acc"][best]
    said = " ".join(capsys.readouterr().out.split())
    assert "train 12, val 6, test 4" in said
    assert f"after epoch {best + 1}, whose weights are kept" in said
    assert "counted once" in said


def test_what_is_saved_has_the_best_validation_accuracy(folder, tmp_path, monkeypatch):
    """The last epochs are told to be worse than the second."""
    scripted = iter([(1.0, 0.5), (1.0, 0.9), (1.0, 0.2), (1.0, 0.1)])
    weights = []

    def evaluate(model, batches):
        weights.append(model.model.head.weight.clone())
        return next(scripted)

    real = processes_module.evaluate
    monkeypatch.setattr(
        processes_module,
        "evaluate",
        lambda m, b: evaluate(m, b) if len(weights) < 4 else real(m, b),
    )
    results = run(folder, tmp_path / "run", "--epochs", "4")
    model, _ = load_model(tmp_path / "run/model.safetensors")
    assert torch.equal(model.head.weight, weights[1])
    assert not torch.equal(model.head.weight, weights[3])
    assert results["test_acc"].notna().tolist() == [False, True, False, False]


def test_another_test_set_is_noticed_on_going_on(folder, tmp_path, capsys):
    flags = ["--epochs", "2", "--augment", "none"]
    run(folder, tmp_path / "run", *flags)
    output = tmp_path / "run"
    whole = load_model(output / "model.safetensors")[0].state_dict()
    for name in ("model.safetensors", "results.pkl", "checkpoint.pt"):
        (output / name).unlink()
    (output / "checkpoint.previous.pt").rename(output / "checkpoint.pt")
    first = shutil.copytree(output, tmp_path / "first")
    assert train.main(["--resume", "--output", str(first), "--quiet"]) == 0
    again = load_model(first / "model.safetensors")[0].state_dict()
    assert all(torch.equal(again[name], w) for name, w in whole.items())
    capsys.readouterr()
    Image.new("RGB", (16, 16), (1, 2, 3)).save(folder / "TEST/red/0.png")
    argv = ["--resume", "--output", str(tmp_path / "run"), "--quiet"]
    assert train.main(argv) == 2
    assert "the images are not those" in capsys.readouterr().err


def test_a_class_without_test_photos_has_a_row_that_says_none():
    labels, guesses = torch.tensor([0, 0, 2]), torch.tensor([0, 2, 2])
    figure = plot_confusion_matrix(labels, guesses, ("a", "b", "c"))
    texts = {t.get_position(): t.get_text() for t in figure.axes[0].texts}
    assert texts[(1, 1)] == "none"
    assert [text for text in texts.values()].count("none") == 1


def test_patience_looks_at_the_validation_photos(folder, tmp_path, capsys):
    flags = ["--epochs", "30", "--patience", "3", "--augment", "none"]
    results = run(folder, tmp_path / "run", *flags)
    best = results["val_acc"].idxmax()
    assert len(results) == best + 1 + 3 < 30
    assert "no better val accuracy for 3 epochs" in capsys.readouterr().out


def test_history_holds_the_same_table_as_the_results(folder, tmp_path):
    results = run(folder, tmp_path / "run", "--epochs", "3", "--augment", "none")
    history = pd.read_csv(tmp_path / "run/history.csv").drop(columns="epoch")
    pd.testing.assert_frame_equal(history, results, check_column_type=False)
