"""predict.py from the outside: what it prints and writes, and what it refuses."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys

import pytest
import torch
from notebook_files import ROOT
from PIL import Image

import predict
from going_modular.checkpoint import save_model
from going_modular.config import ViTConfig
from going_modular.predictions import load_classifier, predict_photos
from going_modular.training import fast_path
from going_modular.vit import ViT
from going_modular.weights.sources import BUILT_IN

NAMES = ("cat", "dog", "a long name with spaces", "$x$\nnew line", "ant", "bee")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file of a small model for six classes."""
    config = ViTConfig(
        image_size=16,
        patch_size=4,
        embedding_dim=12,
        depth=1,
        num_heads=2,
        mlp_size=20,
        num_classes=len(NAMES),
    )
    model = ViT(config)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_model(path, model, NAMES)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with three photos in two subfolders."""
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("photos/b.png", "photos/a.jpg", "photos/more/c.png")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (50 + i, 40), (90 * i, 200, 10)).save(path)
    return tmp_path


def files_in(folder) -> dict:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(capsys, *argv) -> str:
    """Run predict.py on bad input and return its one line of complaint."""
    before = files_in(predict.Path.cwd())
    try:
        status = predict.main([str(a) for a in argv])
    except SystemExit as stop:  # argparse's way out
        status = stop.code
    assert status == 2
    assert files_in(predict.Path.cwd()) == before, "nothing is written"
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def predicted(capsys, *argv) -> str:
    """Run predict.py, in float32 on every machine, and return what it prints."""
    if "--precision" not in argv:
        argv = (*argv, "--precision", "fp32")
    assert predict.main([str(a) for a in argv]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def test_printed_and_written_predictions_are_those_of_the_model(
    folder, weights, capsys
):
    argv = ["photos", "--weights", weights, "--json", "p.json"]
    printed = predicted(capsys, *argv)
    model, names = load_classifier(weights)
    paths = ["photos/a.jpg", "photos/b.png", "photos/more/c.png"]
    expected = list(predict_photos(model, paths, names))
    blocks = printed.split("\n\n")[1:4]
    results = json.loads((folder / "p.json").read_text())
    assert results["weights"] == str(weights) and results["image_size"] == [16, 16]
    assert results["left_out"] == []
    for block, written, right in zip(blocks, results["photos"], expected, strict=True):
        first, *lines = block.splitlines()
        assert first == written["file"] == str(right.path)
        assert len(lines) == len(written["predictions"]) == 5
        assert len({line.index("%") for line in lines}) == 1, "aligned"
        for line, entry, guess in zip(
            lines, written["predictions"], right.guesses, strict=True
        ):
            assert (entry["class"], entry["index"]) == guess[:2]
            assert entry["probability"] == pytest.approx(guess.probability, abs=1e-6)
            name = guess.name.replace("\n", "\\n")
            assert line.split(maxsplit=2) == [f"{100 * guess[2]:.2f}", "%", name]


@pytest.mark.parametrize(
    ("precision", "there", "half"),
    [("bf16", False, True), ("auto", True, True), ("auto", False, False),
     ("fp32", True, False)],
)  # fmt: skip
def test_half_precision_follows_the_flag_or_the_hardware_and_is_said(
    precision, there, half, folder, weights, monkeypatch, capsys
):
    monkeypatch.setattr(fast_path, "has_bf16", lambda device: there)
    argv = ["photos/b.png", "--weights", weights, "--json", "p.json", "--device", "cpu"]
    printed = predicted(capsys, *argv, "--precision", precision)
    assert ("device   cpu, in bfloat16\n" in printed) == half
    results = json.loads((folder / "p.json").read_text())
    assert results["precision"] == ("bf16" if half else "fp32")
    model, names = load_classifier(weights)
    (exact,) = predict_photos(model, ["photos/b.png"], names)
    found = {p["class"]: p["probability"] for p in results["photos"][0]["predictions"]}
    changes = [abs(found[g.name] - g.probability) for g in exact.guesses]
    assert 1e-5 < max(changes) < 0.05 if half else max(changes) < 1e-6


@pytest.mark.parametrize("resize", ["official", "timm"])
def test_positions_are_resized_as_asked_for(resize, folder, weights, capsys):
    argv = ["photos/b.png", "--weights", weights, "--json", "p.json"]
    printed = predicted(capsys, *argv, "--image-size", 24, "--resize", resize)
    assert f"positions resized for 24 x 24 pixels, as {resize}" in printed
    model, names = load_classifier(weights, image_size=24, resize=resize)
    (expected,) = predict_photos(model, ["photos/b.png"], names)
    (written,) = json.loads((folder / "p.json").read_text())["photos"]
    for entry, guess in zip(written["predictions"], expected.guesses, strict=True):
        assert entry["probability"] == pytest.approx(guess.probability, abs=1e-6)


def test_picture_is_a_png_in_the_current_folder(folder, weights, capsys):
    printed = predicted(capsys, "photos/b.png", "--weights", weights, "--top", 1)
    assert printed.count("%") == 1
    assert re.search(r"^written +predictions\.png$", printed, re.M)
    assert sorted(p.name for p in folder.iterdir()) == ["photos", "predictions.png"]
    with Image.open("predictions.png") as picture:
        assert picture.format == "PNG" and picture.width > 800


def test_folder_of_the_output_is_made(folder, weights, capsys):
    argv = ["photos", "--weights", weights, "--output", "new/a/p.svg"]
    predicted(capsys, *argv, "--json", "new/b/p.json")
    assert "<svg" in (folder / "new/a/p.svg").read_text()
    assert (folder / "new/b/p.json").exists()


def test_files_are_kept_unless_overwrite_is_given(folder, weights, capsys):
    argv = ["photos/b.png", "--weights", weights, "--json", "p.json"]
    (folder / "predictions.png").write_text("mine")
    assert "predictions.png exists" in refused(capsys, *argv)
    (folder / "predictions.png").rename("p.json")
    assert "p.json exists: choose another --json, or add" in refused(capsys, *argv)
    predicted(capsys, *argv, "--overwrite")
    assert json.loads((folder / "p.json").read_text())["photos"]


def test_picture_of_an_earlier_run_is_no_photo(folder, weights, capsys):
    argv = [".", "--weights", weights, "--overwrite"]
    for _ in range(2):
        assert re.search(r"^photos +3$", predicted(capsys, *argv), re.M)


def test_picture_shows_the_first_photos_of_many_and_says_so(
    folder, weights, capsys, monkeypatch
):
    monkeypatch.setattr(predict, "MOST_SHOWN", 2)
    drawn = []
    draw = predict.plot_predictions
    monkeypatch.setattr(
        predict,
        "plot_predictions",
        lambda shown: drawn.append(len(shown)) or draw(shown),
    )
    printed = predicted(capsys, "photos", "--weights", weights, "--batch-size", 1)
    assert "the picture shows the first 2 of 3 photos" in printed
    assert drawn == [2]


def test_skip_bad_names_and_counts_what_it_leaves_out(folder, weights, capsys):
    whole = (folder / "photos/a.jpg").read_bytes()
    (folder / "photos/truncated.jpg").write_bytes(whole[:-60])
    (folder / "photos/text.png").write_text("no image")
    argv = ["photos", "--weights", weights, "--json", "p.json"]
    line = refused(capsys, *argv)
    assert "photos/text.png is no readable image" in line and "--skip-bad" in line
    printed = predicted(capsys, *argv, "--skip-bad")
    assert "photos/truncated.jpg\n  left out: " in printed
    assert "left out 2 of 5 files, no readable images" in printed
    results = json.loads((folder / "p.json").read_text())
    assert len(results["photos"]) == 3
    left_out = [entry["file"] for entry in results["left_out"]]
    assert left_out == ["photos/text.png", "photos/truncated.jpg"]
    line = refused(capsys, "photos/text.png", *argv[1:], "--skip-bad", "--overwrite")
    assert "none of the 1 files is a readable image" in line


def test_odd_file_names_break_neither_terminal_nor_picture(folder, weights, capsys):
    names = ["$\\frac{.png", "two\nlines\x1b[2J.png", "名前.png", "w" * 200 + ".png"]
    names.append(os.fsdecode(b"\xff.png"))
    (folder / "odd").mkdir()
    for name in names:
        shutil.copy("photos/b.png", folder / "odd" / name)
    argv = ["odd", "--weights", weights, "--json", "p.json", "--top", 1]
    printed = predicted(capsys, *argv)
    assert "\x1b" not in printed and "odd/two\\nlines\\x1b[2J.png\n" in printed
    files = [p["file"] for p in json.loads((folder / "p.json").read_text())["photos"]]
    assert sorted(files) == sorted(f"odd/{name}" for name in names)
    line = refused(capsys, "no\nsuch.png", "--weights", weights, "--output", "q.png")
    assert r"no\nsuch.png" in line


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("--top 0", "--top must be a positive integer, not 0"),
        ("--top five", "invalid int value: 'five'"),
        ("--batch-size -1", "--batch-size must be a positive integer, not -1"),
        ("--num-heads 0", "--num-heads must be a positive integer, not 0"),
        ("--num-heads 3", "model.safetensors: the weights have 2 heads, not 3"),
        ("--device cuda:99", "no device 'cuda:99' here: choose from"),
        ("--output p.txt", "--output must end in .png, .pdf, .svg: 'p.txt'"),
        ("--output p", "--output must end in .png, .pdf, .svg: 'p'"),
        ("--output photos/b.png/p.png", "photos/b.png is no folder"),
        ("--output photos/b.png --overwrite", "--output photos/b.png is also another"),
        ("--json predictions.png", "--json predictions.png is also another file"),
        ("--json photos", "--json photos is no file"),
        ("--weights nothing.safetensors", "no weights 'nothing.safetensors'"),
        ("--weights photos", "folder photos holds no weights"),
        ("--weights photos/a.jpg", "photos/a.jpg is"),
        ("photos/nothing.jpg", "no photo 'photos/nothing.jpg'"),
        ("empty", "folder 'empty' holds no photo"),
        ("--unknown", "unrecognized arguments: --unknown"),
        (
            "--image-size 18",
            "--image-size 18 is no multiple of the patch side 4: choose 16 or 20",
        ),
        ("--image-size 3", "of the patch side 4: choose 4"),
    ],
)
def test_bad_input_gets_one_line(flags, complaint, folder, weights, capsys):
    (folder / "empty").mkdir()
    argv = ["photos/b.png", "--weights", weights, *flags.split()]
    assert complaint in refused(capsys, *argv)


def test_unusable_weights_get_one_line_that_names_them(folder, weights, capsys):
    whole = weights.read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    torch.save({"layer.weight": torch.zeros(3)}, folder / "other.pt")
    torch.save({"layer.weight": print}, folder / "code.pt")
    for name in ("cut.safetensors", "other.pt", "code.pt"):
        assert name in refused(capsys, "photos/b.png", "--weights", name)


def test_folder_that_may_not_be_written_is_refused(
    folder, weights, capsys, monkeypatch
):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # also for root
    line = refused(capsys, "photos", "--weights", weights, "--output", "closed/p.png")
    assert "cannot write closed/p.png" in line and "may write" in line


def test_failure_while_writing_gets_one_line(folder, weights, capsys, monkeypatch):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    line = refused(capsys, "photos", "--weights", weights)
    assert "cannot write predictions.png (No space left on device)" in line


def test_ctrl_c_leaves_nothing_behind(folder, weights, capsys, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "predict_photos", stop)
    assert predict.main(["photos", "--weights", str(weights)]) == 130
    assert "nothing is written" in capsys.readouterr().err
    assert not (folder / "predictions.png").exists()


def test_script_runs_by_its_name_and_help_lists_every_flag(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["predict.py", "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "predict.py"), run_name="__main__")
    assert stop.value.code == 0
    help_text = capsys.readouterr().out
    flags = "weights top output json overwrite device skip-bad num-heads batch-size"
    for flag in flags.split():
        assert f"--{flag}" in help_text
    assert f"({BUILT_IN})" in help_text


def test_photos_of_a_folder_come_in_natural_order_and_once(folder, weights, capsys):
    for name in ("10.png", "9.png", "b/IMG_2.png", "B.png", "b/img_10.png"):
        (folder / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("photos/b.png", folder / "set" / name)
    (folder / "set/b/up").symlink_to("..")
    argv = ["set/9.png", "set", str(folder / "set"), "set/9.png", "--weights", weights]
    printed = predicted(capsys, *argv, "--top", 1, "--json", "-", "--quiet")
    files = [record["file"] for record in json.loads(printed)["photos"]]
    order = ["9.png", "10.png", "b/IMG_2.png", "b/img_10.png", "B.png"]
    assert files == [f"set/{name}" for name in order]


def test_photos_in_folders_of_classes_are_counted(folder, weights, capsys):
    model, names = load_classifier(weights)
    (guessed,) = predict_photos(model, ["photos/b.png"], names)
    right = guessed.guesses[0].name
    wrong = next(name for name in NAMES if name != right)
    for place in (f"{right}/old", wrong, "none of them"):
        (folder / "set/train" / place).mkdir(parents=True)
        shutil.copy("photos/b.png", folder / "set/train" / place)
    printed = predicted(capsys, "set", "--weights", weights, "--json", "p.json")
    assert "right: 1 of 2 photos in class folders, 50.0%" in printed
    results = json.loads((folder / "p.json").read_text())
    assert (results["right"], results["in_class_folders"]) == (1, 2)
    told = {r["file"]: r.get("folder_class") for r in results["photos"]}
    assert sorted(map(str, told.values())) == sorted([right, wrong, "None"])
    assert told["set/train/none of them/b.png"] is None
    argv = [f"set/train/{right}", "--weights", weights, "--quiet"]
    printed = predicted(capsys, *argv, "--overwrite")
    assert printed.endswith("right: 1 of 1 photos in class folders, 100.0%\n")
    printed = predicted(capsys, "photos", "--weights", weights, "--overwrite")
    assert "right" not in printed


@pytest.mark.parametrize("quiet", [False, True])
def test_json_goes_to_standard_output_alone(quiet, folder, weights, capsys):
    (folder / "photos/empty.png").touch()
    argv = ["photos", "--weights", str(weights), "--json", "-", "--skip-bad"]
    before = files_in(folder)
    assert predict.main(argv + ["--quiet"] * quiet) == 0
    assert files_in(folder) == before, "no picture, since none was asked for"
    printed = capsys.readouterr()
    results = json.loads(printed.out)
    assert len(results["photos"]) == 3
    (left_out,) = results["left_out"]
    assert left_out == {"file": "photos/empty.png", "reason": "an empty file"}
    if quiet:
        assert printed.err == ""
    else:
        assert "photos/empty.png\n  left out: an empty file" in printed.err
        assert "%" not in printed.err
    assert predict.main([*argv, "--output", "p.png"]) == 0
    assert json.loads(capsys.readouterr().out) == results
    assert (folder / "p.png").exists()


def test_quiet_prints_the_predictions_alone(folder, weights, capsys):
    argv = ["photos", "--weights", weights, "--image-size", 24]
    printed = predicted(capsys, *argv)
    alone = predicted(capsys, *argv, "--quiet", "--overwrite")
    first = printed.index("\nphotos/a.jpg")
    assert printed[first:].startswith(alone) and alone.count("%") == 15
    line = refused(capsys, "none.jpg", "--quiet", "--output", "q.png")
    assert "no photo 'none.jpg'" in line


def test_files_that_begin_like_a_flag_are_photos(folder, weights, capsys, monkeypatch):
    for name in ("-x.jpg", "--top"):
        shutil.copy("photos/b.png", name)
    argv = ["--weights", str(weights), "--quiet", "--top", "1", "--overwrite"]
    printed = predicted(capsys, "-x.jpg", *argv)
    assert printed.startswith("\n-x.jpg\n")
    monkeypatch.setattr(sys, "argv", ["predict.py", *argv, "--", "--top", "-x.jpg"])
    assert predict.main() == 0
    printed = capsys.readouterr().out
    assert "\n--top\n" in printed and "\n-x.jpg\n" in printed


def test_a_reader_that_leaves_early_ends_it_calmly(folder, weights):
    for number in range(300):
        os.link("photos/b.png", f"photos/{number}.png")
    command = [sys.executable, ROOT / "predict.py", "photos", "--weights", weights]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline().startswith(b"weights")
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=120) == 0


def test_a_photo_is_never_replaced_by_the_picture(folder, weights, capsys):
    argv = ["photos", "--weights", weights, "--overwrite"]
    for flag, path in (("--output", "photos/b.png"), ("--json", "photos/a.jpg")):
        line = refused(capsys, *argv, flag, path)
        assert f"{path} is one of the photos: choose another name" in line
    for _ in range(2):  # the picture of an earlier run is none
        predicted(capsys, *argv, "--output", "photos/p.png")


def test_weights_in_a_folder_are_never_replaced(folder, weights, capsys):
    shutil.copytree(weights.parent, "own")
    argv = ["photos", "--weights", "own", "--overwrite"]
    line = refused(capsys, *argv, "--json", "own/model.safetensors")
    assert "is also another file of this run" in line
