"""train.py from the outside: what it writes, what it refuses, how it goes on."""

import shutil
import subprocess
import sys

import pandas as pd
import pytest
import torch
from notebook_files import ROOT
from PIL import Image

import train
from functions import helper_functions
from going_modular.checkpoint import load_checkpoint, load_model
from going_modular.data_setup import Batches
from going_modular.datasets.sources import load_digits
from going_modular.engine import evaluate
from going_modular.training import run as training_run
from going_modular.training.run_folder import CHECKPOINT, FILES
from going_modular.variants.conv_stem import ViTWithConvStem

TINY = "--data digits --embedding-dim 12 --depth 1 --num-heads 2 --mlp-size 20"
TINY = [*TINY.split(), "--precision", "fp32"]


def write_photo(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (50, 40), colour).save(path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of two epochs."""
    output = tmp_path_factory.mktemp("runs") / "finished"
    assert train.main([*TINY, "--epochs", "2", "--output", str(output)]) == 0
    return output


@pytest.fixture
def photos(tmp_path):
    """A folder of 2 x 6 photos, red ones and blue ones."""
    for i in range(6):
        write_photo(tmp_path / "photos/red" / f"{i}.png", (250 - i, 10, 10))
        write_photo(tmp_path / "photos/blue" / f"{i}.jpg", (10, 10, 250 - i))
    return tmp_path / "photos"


def refused(capsys, *argv) -> str:
    """Run train.py on bad input and return its one line of complaint."""
    try:
        status = train.main([str(a) for a in argv])
    except SystemExit as stop:  # argparse's way out
        status = stop.code
    assert status == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_a_finished_run_has_its_files_and_its_pickle_is_read_as_promised(finished):
    assert all((finished / name).stat().st_size > 0 for name in FILES)
    with open(finished / "results.pkl", "rb") as f:
        results = pd.read_pickle(f)
    assert list(results) == ["train_loss", "train_acc", "test_loss", "test_acc"]
    assert len(results) == 2
    figure = helper_functions.plot_loss_curves(results)
    assert [ax.get_xlabel() for ax in figure.axes] == ["epoch", "epoch"]


def test_saved_weights_give_the_recorded_accuracy(finished):
    model, names = load_model(finished / "model.safetensors")
    _, test = load_digits()
    loss, accuracy = evaluate(model, Batches(test, 500))
    results = pd.read_pickle(finished / "results.pkl")
    assert names == tuple("0123456789")
    assert accuracy == results["test_acc"].iloc[-1]
    assert loss == pytest.approx(results["test_loss"].iloc[-1], abs=1e-6)


def test_same_seed_gives_the_same_bytes_and_another_seed_does_not(finished, tmp_path):
    runs = {}
    for seed in (0, 1):
        output = tmp_path / str(seed)
        argv = [*TINY, "--epochs", "2", "--seed", str(seed), "--output", str(output)]
        assert train.main(argv) == 0
        runs[seed] = (output / "model.safetensors").read_bytes()
    assert runs[0] == (finished / "model.safetensors").read_bytes()
    assert runs[1] != runs[0]


def test_resumed_run_equals_the_uninterrupted_one(
    finished, tmp_path, monkeypatch, capsys
):
    """Stop after the first epoch, by a Ctrl-C while all else waits, and go on."""
    output = tmp_path / "stopped"
    save = training_run.save_checkpoint

    def save_then_stop(*args, **kwargs):
        save(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(training_run, "save_checkpoint", save_then_stop)
    argv = [*TINY, "--epochs", "2", "--output", str(output)]
    assert train.main(argv) == 130
    assert f"--output {output} --resume" in capsys.readouterr().err
    assert "unfinished run" in refused(capsys, *argv)
    monkeypatch.undo()
    assert train.main(["--output", str(output), "--resume"]) == 0
    weights = [folder / "model.safetensors" for folder in (output, finished)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    tables = [pd.read_pickle(folder / "results.pkl") for folder in (output, finished)]
    pd.testing.assert_frame_equal(*tables)


def test_a_convolutional_stem_is_trained_saved_and_gone_on_with(
    tmp_path, monkeypatch, capsys
):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    argv = [*TINY, "--epochs", "2", "--stem", "conv", "--output"]
    assert train.main([*argv, str(whole)]) == 0
    model, _ = load_model(whole / "model.safetensors")
    assert type(model) is ViTWithConvStem

    save = training_run.save_checkpoint

    def save_then_stop(*args, **kwargs):
        save(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(training_run, "save_checkpoint", save_then_stop)
    assert train.main([*argv, str(stopped)]) == 130
    monkeypatch.undo()
    capsys.readouterr()
    line = refused(capsys, "--output", stopped, "--resume", "--stem", "patches")
    assert "cannot change stem from 'conv' to 'patches'" in line
    assert train.main(["--output", str(stopped), "--resume"]) == 0
    files = [folder / "model.safetensors" for folder in (stopped, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--stem convolution", "stem must be patches or conv, not 'convolution'"),
        ("--stem conv --image-size 28 --patch-size 7", "2, 4, 8, 16 or 32, not 7"),
    ],
)
def test_a_stem_that_there_is_not_gets_one_line(flags, said, tmp_path, capsys):
    output = tmp_path / "run"
    assert said in refused(capsys, *TINY, *flags.split(), "--output", output)
    assert not output.exists()


def test_resume_refuses_changed_settings_and_damaged_checkpoints(
    finished, tmp_path, capsys
):
    output = tmp_path / "copy"
    output.mkdir()
    shutil.copy(finished / CHECKPOINT, output)
    assert load_checkpoint(output / CHECKPOINT)["settings"]["epochs"] == 2
    line = refused(capsys, "--output", output, "--resume", "--epochs", 3)
    assert "epochs from 2 to 3" in line
    (output / CHECKPOINT).write_bytes(b"not a checkpoint")
    assert "can be read" in refused(capsys, "--output", output, "--resume")
    (output / CHECKPOINT).unlink()
    assert "no checkpoint" in refused(capsys, "--output", output, "--resume")
    assert "nothing to resume" in refused(capsys, "--output", finished, "--resume")
    assert "needs --output" in refused(capsys, "--resume")


def test_a_finished_run_is_kept_unless_overwrite_is_given(finished, tmp_path, capsys):
    output = tmp_path / "copy"
    shutil.copytree(finished, output)
    before = {name: (output / name).read_bytes() for name in FILES}
    argv = [*TINY, "--epochs", "1", "--output", output]
    assert "--overwrite" in refused(capsys, *argv)
    assert before == {name: (output / name).read_bytes() for name in FILES}
    assert train.main([str(a) for a in [*argv, "--overwrite"]]) == 0
    assert len(pd.read_pickle(output / "results.pkl")) == 1


def test_output_defaults_to_the_first_free_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert train.main([*TINY, "--epochs", "1"]) == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == [
        "digits",
        "digits-2",
    ]


def test_folder_of_photos_trains_to_tell_red_from_blue(photos, tmp_path):
    output = tmp_path / "out"
    flags = "--epochs 8 --batch-size 4 --image-size 16 --embedding-dim 16 --depth 1"
    argv = ["--data", str(photos), "--output", str(output), *flags.split()]
    assert train.main(argv) == 0
    assert load_model(output / "model.safetensors")[1] == ("blue", "red")
    assert pd.read_pickle(output / "results.pkl")["test_acc"].iloc[-1] == 1


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("--epochs 0", "epochs must be a positive integer, not 0"),
        ("--epochs -3", "epochs must be a positive integer, not -3"),
        ("--epochs five", "invalid int value: 'five'"),
        ("--batch-size 0", "batch_size must be a positive integer, not 0"),
        ("--batch-size -1", "batch_size must be a positive integer, not -1"),
        ("--learning-rate 0", "learning_rate must be positive, not 0.0"),
        ("--decay sine", "decay must be cosine or linear or constant, not 'sine'"),
        ("--patch-size 5", "image_size 28 is not a multiple of patch_size 5"),
        ("--embedding-dim 97", "embedding_dim 97 is not divisible by num_heads 4"),
        ("--variant X/16", "unknown variant 'X/16'"),
        ("--device cuda:99", "no device 'cuda:99' here: choose from"),
        ("--device toaster", "no device 'toaster' here: choose from"),
        ("--image-size 16", "the images of built-in are 28 x 28 pixels"),
        ("--data no/such/folder", "no folder 'no/such/folder'"),
        ("--data cifar10", "cifar10 could not be read from downloads/"),
        ("--unknown", "unrecognized arguments: --unknown"),
    ],
)
def test_bad_flags_get_one_line(flags, complaint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert complaint in refused(capsys, *flags.split())
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_bad_output_folders_get_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        assert "cannot write to" in refused(capsys, *TINY, "--output", output)
    assert (tmp_path / "file").read_text() == "mine"
    (tmp_path / "results.pkl").write_text("mine")
    assert "already has results.pkl" in refused(capsys, *TINY, "--output", tmp_path)
    assert (tmp_path / "results.pkl").read_text() == "mine"


def test_loss_that_is_no_number_stops_the_run_and_says_where(tmp_path, capsys):
    argv = [*TINY, "--output", tmp_path / "nan", "--learning-rate", "1e30"]
    line = refused(capsys, *argv)
    assert "epoch 1: loss became nan at step" in line
    assert "learning rate" in line
    assert not (tmp_path / "nan" / "model.safetensors").exists()


def test_script_runs_by_its_name_and_help_lists_every_flag():
    help_text = subprocess.run(
        [sys.executable, ROOT / "train.py", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    flags = "epochs data output resume seed device precision smoke overwrite skip-bad"
    flags += " batch-size learning-rate embedding-dim patch-size dropout gelu variant"
    for flag in flags.split():
        assert f"--{flag}" in help_text


def test_bf16_forward_trains_too(tmp_path):
    output = tmp_path / "bf16"
    argv = [*TINY, "--epochs", "2", "--precision", "bf16", "--output", str(output)]
    assert train.main(argv) == 0
    model, _ = load_model(output / "model.safetensors")
    assert all(p.dtype == torch.float32 for p in model.parameters())


# What is not the run's own


@pytest.mark.parametrize("name", ["settings.json", "history.csv", "steps.jsonl"])
@pytest.mark.parametrize("mine", ["mine", "[1]", '{"colour": 1}'])
def test_files_of_somebody_else_are_not_replaced(name, mine, tmp_path, capsys):
    (tmp_path / name).write_text(mine)
    line = refused(capsys, *TINY, "--output", tmp_path)
    assert f"already has {name}" in line and "--overwrite" in line
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == mine


def test_what_a_run_left_that_died_before_its_first_checkpoint_is_its_own(
    finished, tmp_path
):
    shutil.copy(finished / "settings.json", tmp_path)
    (tmp_path / "steps.jsonl").write_text('{"step": 1}\n')
    assert train.main([*TINY, "--epochs", "1", "--output", str(tmp_path)]) == 0


def test_overwriting_begins_only_when_all_that_is_asked_for_is_there(
    finished, tmp_path, monkeypatch, capsys
):
    output = shutil.copytree(finished, tmp_path / "run")
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    argv = [*TINY, "--output", output, "--overwrite", "--tensorboard"]
    assert "pip install tensorboard" in refused(capsys, *argv)
    assert before == {path.name: path.read_bytes() for path in output.iterdir()}


@pytest.mark.parametrize("flag", ["--output", "--cache"])
@pytest.mark.parametrize("place", ["", "inside"])
def test_nothing_is_written_among_the_photos(flag, place, photos, tmp_path, capsys):
    """It would be read as photos the next time."""
    where = {"--output": tmp_path / "run", flag: photos / place}
    argv = [word for pair in where.items() for word in pair]
    before = sorted(photos.rglob("*"))
    line = refused(capsys, "--data", photos, *argv)
    assert f"{flag} {photos / place} and {photos}" in line
    assert sorted(photos.rglob("*")) == before and not (tmp_path / "run").exists()


def test_a_run_goes_on_where_its_photos_have_moved(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = [*TINY[2:], "--image-size", "16", "--patch-size", "8", "--epochs", "2"]
    save = training_run.save_checkpoint

    def save_then_stop(*args):
        save(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_run, "save_checkpoint", save_then_stop)
        argv = ["--data", "photos", *sizes, "--output", str(tmp_path / "run")]
        assert train.main(argv) == 130
    (tmp_path / "elsewhere").mkdir()
    photos.rename(tmp_path / "elsewhere" / "pictures")
    monkeypatch.chdir(tmp_path / "elsewhere")
    argv = ["--resume", "--output", "../run", "--data", "pictures"]
    assert train.main(argv) == 0


def test_names_of_classes_may_be_anything(tmp_path, capsys):
    names = ("$100_$200", "$a_{$", "\udcff", "a\nb", "\u732b")
    for i, name in enumerate(names):
        for j in range(3):
            write_photo(tmp_path / "photos" / name / f"{j}.png", (40 * i, 0, 0))
    sizes = [*TINY[2:], "--image-size", "16", "--patch-size", "8", "--epochs", "1"]
    output = tmp_path / "run"
    argv = ["--data", str(tmp_path / "photos"), *sizes, "--output", str(output)]
    assert train.main(argv) == 0
    assert load_model(output / "model.safetensors")[1] == tuple(sorted(names))


def test_a_tilde_that_the_shell_has_left_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    assert train.main([*TINY, "--epochs", "1", "--output=~/run"]) == 0
    assert (tmp_path / "home/run/results.pkl").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
