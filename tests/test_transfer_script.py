"""train_transferlearning.py from the outside, and the parts it is made of."""

import json
import shutil

import pandas as pd
import pytest
import torch
from PIL import Image

import train
import train_transferlearning as script
from going_modular.checkpoint import load_model
from going_modular.data_setup import Batches
from going_modular.datasets.fitting import fit_set
from going_modular.datasets.sources import load_digits
from going_modular.engine import evaluate
from going_modular.training import fast_path
from going_modular.training import run as training_run
from going_modular.training.memory import evaluation_batch_size
from going_modular.training.run_folder import CHECKPOINT, FILES, choose_output
from going_modular.transfer import fine_tuning
from going_modular.transfer.few_shot import compute_features
from going_modular.transfer.fine_tuning import TransferPlan, build_model, set_up
from going_modular.weights.reading import read_pretrained

TINY = "--embedding-dim 12 --depth 1 --num-heads 2 --mlp-size 20".split()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A tiny model trained on digits, with 10 classes of its own."""
    output = tmp_path_factory.mktemp("runs") / "pretraining"
    argv = ["--data", "digits", *TINY, "--epochs", "2", "--output", str(output)]
    assert train.main(argv) == 0
    return output / "model.safetensors"


def flags(weights, output, *more) -> list[str]:
    chosen = ["--weights", weights, "--output", output, "--precision", "fp32"]
    chosen += ["--quiet", "--shots", 3, *more]
    return [str(flag) for flag in chosen]


@pytest.fixture(scope="module", params=["full", "linear"])
def finished(request, weights, tmp_path_factory):
    output = tmp_path_factory.mktemp("runs") / request.param
    argv = flags(weights, output, "--epochs", 3, "--mode", request.param)
    assert script.main(argv) == 0
    return output


def refused(capsys, *argv) -> str:
    """Run the script on bad input and return its one line of complaint."""
    try:
        status = script.main([str(a) for a in argv])
    except SystemExit as stop:  # argparse's way out
        status = stop.code
    assert status == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_a_finished_run_has_its_files_and_their_accuracy_is_the_recorded_one(finished):
    assert all((finished / name).stat().st_size > 0 for name in FILES)
    results = pd.read_pickle(finished / "results.pkl")
    assert len(results) == 3
    model, names = load_model(finished / "model.safetensors")
    loss, accuracy = evaluate(model, Batches(load_digits()[1], 250))
    assert names == tuple("0123456789")
    assert accuracy == results["test_acc"].iloc[-1]
    assert loss == pytest.approx(results["test_loss"].iloc[-1], abs=1e-5)


def test_linear_mode_moves_the_head_alone_and_full_mode_everything(finished, weights):
    before, _ = load_model(weights)
    after, _ = load_model(finished / "model.safetensors")
    moved = {
        name
        for name, value in after.state_dict().items()
        if not torch.equal(value, before.state_dict()[name])
    }
    if finished.name == "linear":
        assert moved == {"head.weight", "head.bias"}
    else:
        assert moved == set(after.state_dict())


def test_the_head_starts_at_zero_even_if_the_old_one_fits(weights, capsys, tmp_path):
    found = read_pretrained(weights)
    assert found.config.num_classes == 10
    argv = flags(weights, tmp_path / "run", "--epochs", 1)
    assert script.main(argv) == 0
    assert (
        "zeros for 10 classes; the old one was for another task"
        in capsys.readouterr().out
    )


def test_same_seed_gives_the_same_bytes(finished, weights, tmp_path):
    argv = flags(weights, tmp_path / "again", "--epochs", 3, "--mode", finished.name)
    assert script.main(argv) == 0
    files = [folder / "model.safetensors" for folder in (finished, tmp_path / "again")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_resumed_run_equals_the_uninterrupted_one(
    finished, weights, tmp_path, monkeypatch, capsys
):
    save = training_run.save_checkpoint

    def save_then_stop(*args, **kwargs):
        save(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(training_run, "save_checkpoint", save_then_stop)
    output = tmp_path / "stopped"
    argv = flags(weights, output, "--epochs", 3, "--mode", finished.name)
    assert script.main(argv) == 130
    assert f"--output {output} --resume" in capsys.readouterr().err
    monkeypatch.undo()
    assert (output / CHECKPOINT).exists()
    changed = refused(capsys, "--output", output, "--resume", "--epochs", 4)
    assert "cannot change epochs" in changed
    assert script.main(["--output", str(output), "--resume"]) == 0
    files = [folder / "model.safetensors" for folder in (finished, output)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_classes_with_fewer_images_than_asked_for_are_said(weights, tmp_path, capsys):
    argv = flags(weights, tmp_path / "run", "--epochs", 1, "--shots", 145)
    assert script.main(argv) == 0
    out = capsys.readouterr().out
    labels = load_digits()[0].labels
    fewer = sum(int((labels == label).sum()) < 145 for label in range(10))
    assert 0 < fewer < 10
    assert f"classes with fewer than 145 images: {fewer}, taken whole" in out


def test_larger_images_resize_the_positions(weights, tmp_path, capsys):
    argv = flags(weights, tmp_path / "run", "--epochs", 1, "--image-size", 12)
    assert script.main(argv) == 0
    out = capsys.readouterr().out
    assert "patch_embedding.position_embedding resized: 4 x 4 to 6 x 6" in out
    model, _ = load_model(tmp_path / "run/model.safetensors")
    assert model.config.image_size == 12


def test_photos_of_ones_own_become_what_the_model_reads(weights, tmp_path, capsys):
    for label, colour in (("dark", (20, 30, 10)), ("light", (220, 240, 250))):
        for i in range(6):
            path = tmp_path / "photos" / label / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (30 + i, 20), colour).save(path)
    argv = flags(weights, tmp_path / "run", "--data", tmp_path / "photos")
    assert script.main([*argv, "--epochs", "12", "--augment", "none"]) == 0
    model, names = load_model(tmp_path / "run/model.safetensors")
    assert names == ("dark", "light") and model.config.in_channels == 1
    results = pd.read_pickle(tmp_path / "run/results.pkl")
    assert results["test_acc"].iloc[-1] == 1.0


def test_features_are_computed_once(weights, monkeypatch):
    found = read_pretrained(weights)
    settings = dict(data="digits", weights=str(weights), mode="linear")
    settings |= dict(recipe="auto", shots=0)
    settings |= dict(image_size=0, num_heads=0, resize="official", augment="none")
    settings |= dict(mean=(), std=(), raw=False)
    plan = TransferPlan.from_settings(settings)
    model = build_model(plan, found, 10)
    calls = []
    model.register_forward_hook(lambda *_: calls.append("logits"))
    model.encoder.register_forward_hook(lambda *_: calls.append("encoder"))
    sets = [fit_set(data, model.config) for data in load_digits()]
    named = {"train": sets[0], "test": sets[1]}
    training = set_up(plan, model, named, torch.device("cpu"))
    count = len(calls)
    at_once = evaluation_batch_size(model.config, torch.device("cpu"))
    assert count == sum(-(-len(data) // at_once) for data in sets)
    for features, _ in training.train_batches:
        training.model(features)
    assert len(calls) == count


def test_features_are_of_the_precision_that_auto_stands_for(
    weights, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(fast_path, "has_bf16", lambda device: True)
    asked = []

    def note(model, batches, precision):
        asked.append(precision)
        return compute_features(model, batches, precision)

    monkeypatch.setattr(fine_tuning, "compute_features", note)
    argv = flags(weights, tmp_path / "run", "--mode", "linear", "--epochs", 1)
    assert script.main([*argv, "--device", "cpu", "--precision", "auto"]) == 0
    assert set(asked) == {torch.bfloat16}
    saved = json.loads((tmp_path / "run/settings.json").read_text())
    assert saved["precision"] == "bf16"


def test_bad_input_gets_one_line(weights, tmp_path, capsys, finished):
    output = tmp_path / "run"
    argv = flags(weights, output)
    assert "no weights" in refused(capsys, "--weights", tmp_path / "nothing.pth")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(weights.read_bytes()[:900])
    assert str(broken) in refused(capsys, *flags(broken, output))
    assert "no folder" in refused(capsys, *argv, "--data", tmp_path / "none")
    assert "not a multiple" in refused(capsys, *argv, "--image-size", 13)
    assert "epochs" in refused(capsys, *argv, "--epochs", 0)
    assert "shots must be" in refused(capsys, *argv[:-1], -1)
    assert "augment none" in refused(
        capsys, *argv, "--mode", "linear", "--augment", "crop"
    )
    assert "invalid choice" in refused(capsys, *argv, "--mode", "both")
    assert "no device" in refused(capsys, *argv, "--device", "cuda:9")
    assert "finished run" in refused(capsys, *flags(weights, finished))
    assert not output.exists()
    shutil.copytree(finished, output)
    assert script.main([*argv, "--epochs", "1", "--overwrite"]) == 0


def test_the_weights_that_a_run_starts_from_are_not_cleared(weights, tmp_path, capsys):
    output = shutil.copytree(weights.parent, tmp_path / "run")
    own = output / "model.safetensors"
    before = own.read_bytes()
    for source in (own, output):
        argv = ["--weights", source, "--output", output, "--overwrite"]
        assert "choose another --output" in refused(capsys, *argv)
    assert own.read_bytes() == before


@pytest.mark.parametrize(("data", "name"), [("photos/", "photos"), (".", "here")])
def test_the_default_output_is_named_after_the_folder(
    data, name, tmp_path, monkeypatch, capsys
):
    (tmp_path / "here" / "photos").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    assert choose_output(data, "-full").as_posix() == f"runs/{name}-full"


def test_a_number_of_heads_that_the_weights_contradict_is_refused(tmp_path, capsys):
    argv = ["--num-heads", 3, "--output", tmp_path / "run"]
    assert "the weights have 4 heads, not 3" in refused(capsys, *argv)


def rates_tried(capsys) -> str:
    """The line of a run's output that says which rates were tried, if any."""
    said = capsys.readouterr().out
    return next((x for x in said.splitlines() if ", tried on " in x), "")


@pytest.mark.parametrize(
    ("more", "tried"),
    [
        ([], "0.0001 ("),
        (["--learning-rate", "0.001"], None),
        (["--recipe", "paper"], None),
        (["--recipe", "paper", "--learning-rate", "auto"], "0.003 ("),
        (["--mode", "linear"], "0.03 ("),
        (["--mode", "linear", "--learning-rate", "0.1"], None),
    ],
)
def test_rates_are_tried_unless_one_is_given_or_the_paper_gives_it(
    more, tried, weights, tmp_path, capsys
):
    assert script.main(flags(weights, tmp_path / "run", "--epochs", 1, *more)) == 0
    said = rates_tried(capsys)
    assert tried in said if tried else not said
    saved = json.loads((tmp_path / "run/settings.json").read_text())
    if tried:
        assert said.startswith(f"learning rate {saved['learning_rate']:g},")
    elif "--recipe" in more:
        assert saved["learning_rate"] == 0.03


def test_a_rate_that_is_no_number_gets_one_line(weights, tmp_path, capsys):
    line = refused(capsys, *flags(weights, tmp_path), "--learning-rate", "fast")
    assert "must be a number or auto, not 'fast'" in line


def test_a_start_that_no_epoch_beats_is_kept(weights, tmp_path, capsys, monkeypatch):
    """Validation photos that the probe knows already, and a rate that ruins it."""
    stream = torch.Generator().manual_seed(0)
    for split in ("train", "val", "test"):
        for label, name in enumerate(("dark", "bright")):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True)
            for place in range(8):
                low = 140 * label
                pixels = torch.randint(low, low + 100, (8, 8), generator=stream)
                picture = Image.fromarray(pixels.to(torch.uint8).numpy())
                picture.save(folder / f"{place}.png")
    argv = flags(weights, tmp_path / "run", "--data", tmp_path / "photos")
    argv += ["--epochs", "2", "--learning-rate", "1e6", "--shots", "0"]
    monkeypatch.setattr(script, "PHOTOS", {})
    assert script.main(argv) == 0
    said = capsys.readouterr().out
    assert "100.00 % at the start, whose head is kept" in " ".join(said.split())
    assert "test accuracy  100.00 %, counted once" in said
    results = pd.read_pickle(tmp_path / "run/results.pkl")
    assert results["test_acc"].isna().all() and len(results) == 2
    assert "No epoch did better" in (tmp_path / "run/report.html").read_text("utf-8")
