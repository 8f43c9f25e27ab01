"""What a run spends its time on: all of it is counted, and nothing is done twice."""

import re
from collections import Counter

import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

import train
import train_transferlearning
from going_modular.datasets import sources
from going_modular.patch_embedding import PatchEmbedding
from going_modular.processes import alone
from going_modular.system.progress import LINE
from going_modular.training import run as training_run
from going_modular.training import trainer as training_trainer
from going_modular.transfer import fine_tuning

TINY = "--embedding-dim 12 --depth 1 --num-heads 2 --mlp-size 20".split()
EXACT = "--precision fp32 --compile no --device cpu".split()


def seconds(said: str) -> tuple[float, dict[str, float]]:
    """The whole time of a closing table, and its parts by name."""
    rows = re.search(r"^time +(.*\n(?: {5,}.*\n)*)", said, re.M)[1]
    whole, parts = " ".join(rows.split()).split(";")[0].split(" s: ")
    pairs = (part.split(" ", 1) for part in parts.split(", "))
    return float(whole), {name: float(n) for n, name in pairs}


@pytest.fixture
def passing(monkeypatch):
    """A time that passes only in functions that are made slow."""
    time = [0.0]
    monkeypatch.setattr(LINE, "now", lambda: time[0])

    def make_slow(module, name: str, takes: float, first: bool = False) -> None:
        """Slow as it is called, or with the first batch that it asks for."""
        function = getattr(module, name)

        def slowly(batches):
            for place, batch in enumerate(batches):
                time[0] += takes * (place == 0)
                yield batch

        def slow(*args, **options):
            if first:
                model, batches = args
                return function(model, slowly(batches))
            time[0] += takes
            return function(*args, **options)

        monkeypatch.setattr(module, name, slow)

    return make_slow


def test_the_closing_time_counts_everything_and_says_for_what(
    passing, tmp_path, capsys
):
    passing(sources, "load_digits", 5)
    passing(train_transferlearning, "read_pretrained", 3)
    passing(fine_tuning, "compute_features", 70)  # of two sets
    passing(training_trainer, "train_epoch", 2)
    passing(alone, "evaluate", 1, first=True)
    passing(alone, "predict_logits", 4, first=True)
    passing(training_run, "write_report", 6)
    passing(train_transferlearning, "fitted_config", 1)
    argv = ["--mode", "linear", "--epochs", "3", "--output", str(tmp_path / "run")]
    assert train_transferlearning.main([*argv, "--shots", "5"]) == 0
    said = capsys.readouterr().out
    assert seconds(said) == (
        5 + 3 + 140 + 3 * 2 + 3 * 1 + 4 + 6 + 2 * 1,
        {
            "starting": 2,
            "reading weights": 3,
            "reading images": 5,
            "features": 140,
            "training": 6,
            "testing": 7,
            "report": 6,
        },
    )
    # 50 images to train on and 359 to test on; 50 in each of three epochs.
    assert "speed          3 images/s for features, 25 images/s in training" in said


def test_a_run_that_goes_on_tells_its_own_time_from_that_of_before(
    passing, without_report, tmp_path, capsys, monkeypatch
):
    argv = ["--data", "digits", *TINY, "--output", str(tmp_path / "run")]
    argv += ["--epochs", "3", "--quiet"]
    with monkeypatch.context() as patch:
        run_epoch = training_trainer.Trainer.end_epoch

        def stop(trainer):
            if trainer.epoch == 2:
                raise OSError("full")
            run_epoch(trainer)

        patch.setattr(training_trainer.Trainer, "end_epoch", stop)
        assert train.main(argv) == 2
    passing(training_trainer, "train_epoch", 10)
    capsys.readouterr()
    assert train.main([*argv, "--resume"]) == 0
    said = capsys.readouterr().out
    assert seconds(said) == (10, {"training": 10})
    assert re.search(r"training before it went on took [\d,]+ s\n", said)
    assert "144 images/s in training" in said, "1,438 images of one epoch in 10 s"


@pytest.fixture
def looked_at():
    """How many images models looked at, "learning" and "predicting"."""
    counts = Counter()

    def count(module, inputs, output):
        if isinstance(module, PatchEmbedding):
            kind = "learning" if torch.is_grad_enabled() else "predicting"
            counts[kind] += len(inputs[0])

    handle = register_module_forward_hook(count)
    yield counts
    handle.remove()


@pytest.fixture
def without_report(monkeypatch):
    """The report looks at some images again, to show where the model looked."""
    monkeypatch.setattr(training_run, "write_report", lambda *args: None)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_mode_linear_computes_each_images_features_once(
    precision, looked_at, without_report, tmp_path, capsys
):
    argv = ["--mode", "linear", "--epochs", "3", "--output", str(tmp_path / "run")]
    argv += ["--shots", "5", "--precision", precision]
    assert train_transferlearning.main(argv) == 0
    assert looked_at == {"predicting": 50 + 359}


def test_with_validation_photos_the_test_photos_are_looked_at_once(
    photos, looked_at, without_report, tmp_path, capsys
):
    for split in ("val", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "sets" / split / name).mkdir(parents=True)
    (photos).rename(tmp_path / "sets" / "train")
    for name in ("cat", "dog"):
        train_photos = sorted((tmp_path / "sets/train" / name).iterdir())
        train_photos[0].rename(tmp_path / "sets/val" / name / "0.png")
        train_photos[1].rename(tmp_path / "sets/test" / name / "1.png")
    argv = ["--data", str(tmp_path / "sets"), "--image-size", "32", *TINY, *EXACT]
    argv += ["--epochs", "4", "--output", str(tmp_path / "run")]
    assert train.main(argv) == 0
    assert looked_at == {"learning": 4 * 6, "predicting": 4 * 2 + 2}
    said = capsys.readouterr().out
    assert "counted once" in said


def test_every_line_of_the_closing_table_fits_in_80_columns(
    without_report, tmp_path, capsys
):
    argv = ["--data", "digits", *TINY, "--epochs", "1", "--output", "run"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert train.main([*argv, "--average", "0.9"]) == 0
    table = capsys.readouterr().out.split("\n\n")[-1].splitlines()
    assert table[0].startswith("images") and table[-1].startswith("report")
    assert max(map(len, table)) <= 80
    assert not any("\r" in line for line in table), "it is no terminal"


def test_a_log_says_what_begins_and_has_no_bars(without_report, tmp_path, capsys):
    argv = ["--mode", "linear", "--epochs", "2", "--shots", "5"]
    argv += ["--output", str(tmp_path / "run")]
    assert train_transferlearning.main(argv) == 0
    said = capsys.readouterr()
    assert said.err == "" and "\r" not in said.out and "%|" not in said.out
    lines = said.out.splitlines()
    begun = ["reading built-in", "reading digits", "features of 409 images"]
    begun += ["training", "testing", "drawing and writing the report"]
    places = [lines.index(line) for line in begun]
    assert places == sorted(places)
    assert train_transferlearning.main([*argv, "--overwrite", "--quiet"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not set(begun) & set(lines)
