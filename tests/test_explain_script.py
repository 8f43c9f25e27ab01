"""explain.py from the outside: what it prints and writes, and what it refuses."""

import base64
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from notebook_files import ROOT
from PIL import Image

import explain
from going_modular.attention_maps import attention_rollout
from going_modular.checkpoint import save_model
from going_modular.config import ViTConfig
from going_modular.data_setup import normalise
from going_modular.explorer.room import memory_needed
from going_modular.inspection.capture import capture
from going_modular.predictions import load_classifier, predict_photos
from going_modular.pretrained import export_state_dict, from_pretrained
from going_modular.vit import ViT
from going_modular.weights.sources import BUILT_IN

NAMES = (
    "cat",
    "</script><b>",
    "a long name with spaces",
    "$x$\nnew line",
    "ant",
    "bee",
)
ROWS, COLUMNS = 4, 7  # patches of the whole landscape photo


def noisy_model() -> ViT:
    """Random and small, for six classes; its heads look at different patches."""
    config = ViTConfig(
        image_size=16,
        patch_size=4,
        embedding_dim=12,
        depth=3,
        num_heads=2,
        mlp_size=20,
        num_classes=len(NAMES),
    )
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = ViT(config)
        for parameter in model.parameters():
            parameter += 0.5 * torch.randn(parameter.shape)
    return model.eval()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_model(path, noisy_model(), NAMES)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with a landscape and a portrait, and a folder in it."""
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (ROWS, COLUMNS, 3), np.uint8)
    wide = Image.fromarray(noise).resize((70, 40), Image.Resampling.BICUBIC)
    wide.save("wide.png")
    wide.transpose(Image.ROTATE_90).save("tall.png")
    (tmp_path / "photos").mkdir()
    wide.save("photos/a.jpg")
    return tmp_path


def files_in(folder) -> dict:
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(capsys, *argv) -> str:
    """Run explain.py on bad input and return its one line of complaint."""
    before = files_in(explain.Path.cwd())
    try:
        status = explain.main([str(a) for a in argv])
    except SystemExit as stop:  # argparse's way out
        status = stop.code
    assert status == 2
    assert files_in(explain.Path.cwd()) == before, "nothing is written"
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def explained(capsys, *argv) -> str:
    """Run explain.py and return what it prints."""
    assert explain.main([str(a) for a in argv]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def read_page(path) -> tuple[dict, dict[str, np.ndarray], np.ndarray]:
    """Description, float weights by name, and (H, W, C) picture of a page."""
    text = path.read_text("utf-8")
    parts = dict(re.findall(r'<script type="\S+" id="(\w+)">(.*?)</script>', text))
    about = json.loads(parts["description"])
    n, nh = len(about["layers"]), about["heads"]
    T = about["rows"] * about["columns"] + 1
    floats = {}
    for name, shape in (("attention", (n, nh, T, T)), ("rollout", (n, T, T))):
        steps = np.frombuffer(base64.b64decode(parts[name]), np.uint8)
        scales = np.frombuffer(base64.b64decode(parts[f"{name}_scales"]), "<f4")
        floats[name] = steps.reshape(shape) * scales.reshape(shape[:-1])[..., None]
    picture = base64.b64decode(about["image"].partition(",")[2])
    with Image.open(io.BytesIO(picture)) as image:
        return about, floats, np.array(image)


def assert_weights(written: np.ndarray, right: torch.Tensor) -> None:
    """Every weight is right to half a step, 1/255 of its row's maximum."""
    right = right.numpy()
    assert written.shape == right.shape
    half = right.max(-1, keepdims=True) / 510
    assert (np.abs(written - right) <= 1.001 * half).all()


def test_page_holds_what_capture_and_predict_give(folder, weights, capsys):
    printed = explained(capsys, "wide.png", "--weights", weights)
    about, written, picture = read_page(folder / "explorer.html")
    model, names = load_classifier(weights)
    (prediction,) = predict_photos(model, ["wide.png"], names)
    assert (picture == prediction.image.permute(1, 2, 0).numpy()).all()
    x = normalise(prediction.image[None], (0.5,), (0.5,))
    attention = capture(model, x).attention[:, 0]  # (L, nh, T, T)
    assert_weights(written["attention"], attention)
    assert_weights(written["rollout"], attention_rollout(attention))
    assert about["title"] == "wide.png" and about["layers"] == [1, 2, 3]
    assert (about["start"]["layer"], about["start"]["head"]) == (3, 0)
    lines = re.findall(r"^ +([\d.]+) %  (.*)$", printed, re.M)
    assert len(lines) == len(about["predictions"]) == 5
    for entry, guess, line in zip(
        about["predictions"], prediction.guesses, lines, strict=True
    ):
        assert entry["name"] == guess.name
        assert entry["probability"] == pytest.approx(guess.probability, abs=1e-6)
        share, name = f"{100 * guess.probability:.2f}", guess.name
        assert line == (share, name.replace("\n", "\\n"))
    assert re.search(r"^written +explorer\.html$", printed, re.M)
    assert "16 x 16 pixels, 4 x 4 patches, 3 layers of 2 heads" in printed


@pytest.mark.parametrize(("photo", "turned"), [("wide", False), ("tall", True)])
def test_whole_photo_has_a_grid_of_its_own(photo, turned, folder, weights, capsys):
    argv = [f"{photo}.png", "--weights", weights, "--whole", "--png", "a.png"]
    printed = explained(capsys, *argv, "--output", "a.html", "--resize", "timm")
    assert "positions resized for" in printed and ", as timm" in printed
    about, written, picture = read_page(folder / "a.html")
    grid = (COLUMNS, ROWS) if turned else (ROWS, COLUMNS)
    assert (about["rows"], about["columns"]) == grid
    assert about["image_size"] == [4 * grid[0], 4 * grid[1]]
    size = (4 * grid[0], 4 * grid[1])
    model = from_pretrained(weights, image_size=size, resize="timm", quiet=True)
    with Image.open(f"{photo}.png") as image:
        right = np.array(image.resize(size[::-1], Image.Resampling.BICUBIC))
    assert (picture == right).all()
    x = torch.from_numpy(right).permute(2, 0, 1)[None]
    seen = capture(model.eval(), normalise(x))
    assert_weights(written["attention"], seen.attention[:, 0])
    assert about["predictions"][0]["probability"] == pytest.approx(
        seen.logits.softmax(1).max().item(), abs=1e-5
    )


def test_flags_choose_what_is_shown(folder, weights, capsys, monkeypatch):
    drawn = []
    draw = explain.plot_explanation
    monkeypatch.setattr(
        explain,
        "plot_explanation",
        lambda *args: drawn.append(args[2:]) or draw(*args),
    )
    argv = ["wide.png", "--weights", weights, "--layers", "2,1", "--top", 2]
    argv += ["--layer", 1, "--head", 2, "--num-heads", 2, "--device", "cpu"]
    printed = explained(capsys, *argv, "--output", "new/a.html", "--png", "new/a.svg")
    about, written, _ = read_page(folder / "new/a.html")
    assert about["layers"] == [1, 2] and len(written["attention"]) == 2
    assert (about["start"]["layer"], about["start"]["head"]) == (1, 2)
    assert len(about["predictions"]) == printed.count("%") == 2
    assert drawn == [(1, 2)]
    assert "<svg" in (folder / "new/a.svg").read_text()
    assert "new/a.html, new/a.svg" in printed
    right = attention_rollout(capture_square(weights))[:2]
    assert_weights(written["rollout"], right)  # through layers that are not shown too


def capture_square(weights) -> torch.Tensor:
    """(L, nh, T, T) attention in the central square of wide.png."""
    model, names = load_classifier(weights)
    (prediction,) = predict_photos(model, ["wide.png"], names)
    return capture(model, normalise(prediction.image[None])).attention[:, 0]


def test_picture_alone_is_written_alone(folder, weights, capsys):
    explained(capsys, "wide.png", "--weights", weights, "--png", "a.png")
    assert not (folder / "explorer.html").exists()
    with Image.open("a.png") as picture:
        assert picture.format == "PNG" and picture.width == 1050


def test_built_in_weights_are_the_default(folder, capsys):
    printed = explained(capsys, "photos/a.jpg", "--output", "a.html")
    about, *_ = read_page(folder / "a.html")
    assert re.search(rf"^weights +{BUILT_IN}$", printed, re.M)
    assert (about["rows"], about["layers"]) == (7, [1, 2, 3, 4, 5, 6])


def backbone() -> dict:
    state = export_state_dict(noisy_model(), "timm")
    return {k: w for k, w in state.items() if not k.startswith("head")}


def test_weights_without_a_head_show_attention_and_no_classes(folder, weights, capsys):
    torch.save(backbone(), "backbone.pt")
    argv = ["wide.png", "--num-heads", 2, "--png", "a.png", "--output"]
    printed = explained(capsys, *argv, "a.html", "--weights", "backbone.pt")
    assert "no predictions: the weights have no classification head" in printed
    about, written, picture = read_page(folder / "a.html")
    assert about["predictions"] == [] and picture.shape == (16, 16, 3)
    assert written["attention"].shape == (3, 2, 17, 17)
    assert (folder / "a.png").exists()


@pytest.mark.parametrize("library", ["timm", "torchvision", "transformers"])
def test_weights_without_a_class_token_are_refused_by_that_reason(
    library, folder, capsys
):
    state = export_state_dict(noisy_model(), library)
    del state[next(key for key in state if "class_token" in key or "cls_token" in key)]
    torch.save(state, "average.pt")
    line = refused(capsys, "wide.png", "--weights", "average.pt", "--num-heads", 2)
    assert "average.pt: " in line and "have no class token" in line


def test_official_weights_without_a_class_token_are_refused_too(folder, capsys):
    peers = pytest.importorskip("peers")
    for big_vision in (False, True):
        arrays = peers.official_arrays(peers.WIDE, big_vision)
        del arrays["cls"]
        np.savez("average.npz", **arrays)
        line = refused(capsys, "wide.png", "--weights", "average.npz")
        assert "have no class token (cls)" in line


def test_files_are_kept_unless_overwrite_is_given(folder, weights, capsys):
    argv = ["wide.png", "--weights", weights, "--output", "a.html", "--png", "a.png"]
    (folder / "a.html").write_text("mine")
    assert "a.html exists: choose another --output, or add" in refused(capsys, *argv)
    (folder / "a.html").rename("a.png")
    assert "a.png exists: choose another --png, or add" in refused(capsys, *argv)
    explained(capsys, *argv, "--overwrite")
    assert read_page(folder / "a.html")[0]["title"] == "wide.png"
    assert Image.open("a.png").format == "PNG"


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("--layer 4", "no layer 4: this model has layers 1 to 3"),
        ("--layers 1,4", "no layer 4: this model has layers 1 to 3"),
        ("--layers 1,2 --layer 3", "--layer 3 is not among --layers 1,2"),
        ("--head 3", "no head 3: this model has heads 1 to 2"),
        ("--head 0", "no head 0: this model has heads 1 to 2"),
        ("--layers 1,x", "'1,x' is no list of numbers such as 1,6,12"),
        ("--layers ,", "',' is no list of numbers"),
        ("--layer two", "invalid int value: 'two'"),
        ("--top 0", "--top must be a positive integer, not 0"),
        ("--num-heads 0", "--num-heads must be a positive integer, not 0"),
        ("--num-heads 3", "model.safetensors: the weights have 2 heads, not 3"),
        ("--device cuda:99", "no device 'cuda:99' here: choose from"),
        ("--output a.txt", "--output must end in .html, .htm: 'a.txt'"),
        ("--output a", "--output must end in .html, .htm: 'a'"),
        ("--png a.html", "--png must end in .png, .pdf, .svg: 'a.html'"),
        ("--png wide.png --overwrite", "--png wide.png is also another file"),
        ("--output wide.png/a.html", "wide.png is no folder"),
        ("--output folder.html", "--output folder.html is no file"),
        ("--weights none.safetensors", "no weights 'none.safetensors'"),
        ("--weights photos", "folder photos holds no weights"),
        ("--weights photos/a.jpg", "photos/a.jpg is"),
        ("tall.png --output a.html", "--output must name a folder, for several"),
        ("tall.png --png a.png", "--png must name a folder, for several photos"),
        (
            "--image-size 18",
            "--image-size 18 is no multiple of the patch side 4: choose 16 or 20",
        ),
        ("--unknown", "unrecognized arguments: --unknown"),
    ],
)
def test_bad_flags_get_one_line(flags, complaint, folder, weights, capsys):
    (folder / "folder.html").mkdir()
    argv = ["wide.png", "--weights", weights, *flags.split()]
    assert complaint in refused(capsys, *argv)


@pytest.mark.parametrize(
    ("photo", "complaint"),
    [
        ("none", "folder 'none' holds no photo"),
        ("none.png", "no photo 'none.png': give files, or folders of them"),
        ("text.png", "text.png is no readable image (of no known format)"),
        ("cut.jpg", "cut.jpg is no readable image (image file is truncated"),
        ("empty.jpg", "empty.jpg is no readable image (an empty file)"),
        ("tiny.png", "tiny.png is 3 x 2 pixels, smaller than one patch of 4 x 4"),
        ("long.png", "long.png is 99 x 9 pixels, one side more than 4 times"),
    ],
)
def test_bad_photos_get_one_line(photo, complaint, folder, weights, capsys):
    (folder / "text.png").write_text("no image")
    (folder / "empty.jpg").touch()
    (folder / "cut.jpg").write_bytes((folder / "photos/a.jpg").read_bytes()[:-200])
    Image.new("RGB", (3, 2)).save("tiny.png")
    Image.new("RGB", (99, 9)).save("long.png")
    (folder / "none").mkdir()
    argv = [photo, "--weights", weights, "--png", "a.png"]
    argv[-1] = "pictures" if photo == "none" else "a.png"
    assert complaint in refused(capsys, *argv, "--whole")
    if photo != "long.png":
        assert complaint in refused(capsys, *argv)


def test_page_and_picture_never_replace_what_they_are_made_of(folder, weights, capsys):
    shutil.copy("wide.png", "photo.html")
    shutil.copy(weights, "weights.html")
    (folder / "link.html").symlink_to("photo.html")
    argv = ["photo.html", "--weights", "weights.html", "--overwrite", "--output"]
    for name in ("photo.html", "weights.html", "link.html"):
        assert f"--output {name} is also another file" in refused(capsys, *argv, name)


def test_folder_that_may_not_be_written_is_refused(
    folder, weights, capsys, monkeypatch
):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # also for root
    line = refused(capsys, "wide.png", "--weights", weights, "--output", "b/a.html")
    assert "cannot write b/a.html" in line and "may write" in line


@pytest.mark.parametrize("overwrite", [False, True])
def test_failure_while_writing_leaves_all_as_it_was(
    overwrite, folder, weights, capsys, monkeypatch
):
    def full(file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    argv = ["wide.png", "--weights", weights, "--output", "a.html", "--png", "a.png"]
    if overwrite:
        (folder / "a.html").write_text("mine")
        argv.append("--overwrite")
    line = refused(capsys, *argv)
    assert "cannot write a.html (No space left on device)" in line


def test_a_second_photo_stands_beside_the_first(folder, weights, capsys):
    explained(
        capsys, "wide.png", "--weights", weights, "--beside", "tall.png", "--whole"
    )
    text = Path("explorer.html").read_text(encoding="utf-8")
    grids = []
    for place in ("first", "second"):
        found = re.search(rf'id="{place}-description">(.*?)</script>', text)
        about = json.loads(found[1])
        grids.append((about["title"], about["rows"], about["columns"]))
    assert grids == [("wide.png", 4, 7), ("tall.png", 7, 4)]


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["tall.png", "--beside", "wide.png"], "give only one before it"),
        (["--live", "--beside", "tall.png"], "--live takes one photo"),
        (["--beside", "tall.png", "--png", "a.png"], "name one with --output"),
        (["--beside", "nowhere.png"], "no photo 'nowhere.png'"),
        (["--beside", "photos"], "photos is a folder"),
    ],
)
def test_a_second_photo_that_cannot_be_there_gets_one_line(
    flags, complaint, folder, weights, capsys
):
    said = refused(capsys, "wide.png", "--weights", weights, *flags)
    assert complaint in said


@pytest.mark.parametrize("where", ["explore_image", "plot_explanation", "os.fsync"])
def test_ctrl_c_leaves_nothing_behind(where, folder, weights, capsys, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    owner, name = (os, "fsync") if where == "os.fsync" else (explain, where)
    monkeypatch.setattr(owner, name, stop)
    before = files_in(folder)
    argv = ["wide.png", "--weights", str(weights), "--output", "a.html"]
    assert explain.main([*argv, "--png", "a.png"]) == 130
    assert "nothing is written" in capsys.readouterr().err
    assert files_in(folder) == before


def test_a_page_too_large_gets_fewer_layers_or_a_smaller_image_and_says_so(
    folder, weights, capsys, monkeypatch
):
    argv = ["wide.png", "--weights", weights, "--overwrite"]
    monkeypatch.setattr("going_modular.explorer.data.MOST_BYTES", 2000)
    printed = explained(capsys, *argv, "--image-size", 16)
    assert read_page(folder / "explorer.html")[0]["layers"] == [3]
    assert "layers 3 kept (--layers for others), since 3 layers of 2 heads" in printed
    printed = explained(capsys, *argv, "--layers", 2)
    assert read_page(folder / "explorer.html")[0]["layers"] == [2]
    assert "since" not in printed, "all that was asked for is there"
    for flags in ([], ["--layers", "1,2,3"], ["--layers", "1,2,3", "--image-size", 16]):
        printed = explained(capsys, *argv, *flags)
        about = read_page(folder / "explorer.html")[0]
        assert (about["layers"], about["image_size"]) == ([1, 2, 3], [12, 12])
        assert "image made 12 x 12 pixels, since 3 layers of 2 heads at 16" in printed
        assert "positions resized for 12 x 12 pixels" in printed
    printed = explained(capsys, *argv, "--whole")
    about = read_page(folder / "explorer.html")[0]
    assert about["image_size"][0] < 16 and about["image_size"][1] > 12
    explained(capsys, *argv, "--png", "a.png")
    assert Image.open("a.png").format == "PNG"


def test_what_has_no_memory_gets_a_smaller_image_and_says_so(
    folder, weights, capsys, monkeypatch
):
    needed = memory_needed(replace(noisy_model().config, image_size=12), 3)
    free = [needed]
    monkeypatch.setattr(explain, "memory_for_process", lambda: free[0])
    monkeypatch.setattr(explain, "memory_used", lambda: 0)
    argv = ["wide.png", "--weights", weights, "--image-size", 40, "--overwrite"]
    printed = explained(capsys, *argv)
    assert "image made 12 x 12 pixels, since attention at 40 x 40 pixels" in printed
    assert read_page(folder / "explorer.html")[0]["image_size"] == [12, 12]
    free[0] = 1000
    line = refused(capsys, *argv)
    assert "attention at 4 x 4 pixels" in line and "choose a smaller model" in line


# Several photos


def several(folder) -> list[str]:
    """A folder of photos with odd names; their order is that of people."""
    names = ["cat/2.png", "cat/10.png", "dog/$x\n.png", os.fsdecode(b"dog/\xff.png")]
    for name in names:
        (folder / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy("wide.png", folder / "set" / name)
    (folder / "set/up").symlink_to("..")
    return names


def test_each_photo_of_a_folder_gets_its_page_and_picture(folder, weights, capsys):
    names = several(folder)
    argv = ["set", "--weights", weights, "--output", "pages", "--png", "pictures"]
    printed = explained(capsys, *argv, "--json", "a.json")
    records = json.loads((folder / "a.json").read_text())["photos"]
    assert [r["file"] for r in records] == [f"set/{name}" for name in names]
    for name, record in zip(names, records, strict=True):
        assert record["page"] == f"pages/{name}.html"
        about, written, _ = read_page(folder / "pages" / f"{name}.html")
        assert about["predictions"][0]["name"] == record["predictions"][0]["class"]
        assert Image.open(folder / record["picture"]).format == "PNG"
    assert re.search(r"^photos +4$", printed, re.M)
    assert "9 files in pages, pictures, a.json" in printed and "\n.png" not in printed
    complaint = "pages/cat/2.png.html exists: choose another --output, or add"
    assert complaint in refused(capsys, *argv)
    argv = ["set/cat", "--weights", weights, "--png", "set/cat/drawn", "--overwrite"]
    for _ in range(2):  # the pictures of an earlier run are no photos
        assert re.search(r"^photos +2$", explained(capsys, *argv), re.M)


def test_folders_of_one_name_inside_do_not_mix(folder, weights, capsys):
    several(folder)
    argv = ["set/cat", "photos", "wide.png", "./wide.png", "--weights", weights]
    explained(capsys, *argv)
    written = {str(p.relative_to("explorer")) for p in Path("explorer").rglob("*.html")}
    assert written == {"cat/2.png.html", "cat/10.png.html", "photos/a.jpg.html",
                       "wide.png.html"}  # fmt: skip


def test_skip_bad_goes_on_without_what_cannot_be_shown(folder, weights, capsys):
    (folder / "photos/0.png").touch()
    Image.new("RGB", (3, 2)).save("photos/tiny.png")
    argv = ["photos", "--weights", weights]
    line = refused(capsys, *argv)
    assert "photos/0.png is no readable" in line and line.endswith("without it")
    assert explain.main(["photos/a.jpg", *map(str, argv), "--output", "some"]) == 2
    assert "(1 files are written: add --overwrite, too)" in capsys.readouterr().err
    printed = explained(capsys, *argv, "--skip-bad", "--json", "a.json")
    assert "photos/tiny.png\n  left out: photos/tiny.png is 3 x 2 pixels" in printed
    assert "left out 2 of 3 files" in printed
    left_out = json.loads((folder / "a.json").read_text())["left_out"]
    assert [r["file"] for r in left_out] == ["photos/0.png", "photos/tiny.png"]
    (folder / "photos/a.jpg").unlink()
    line = refused(capsys, *argv, "--skip-bad", "--overwrite", "--quiet")
    assert "none of the 2 files is a readable image" in line


def test_stopped_after_some_pages_it_says_how_many(
    folder, weights, capsys, monkeypatch
):
    several(folder)
    explain_one, calls = explain.explain_photo, []

    def stop_at_the_third(*args):
        calls.append(args)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return explain_one(*args)

    monkeypatch.setattr(explain, "explain_photo", stop_at_the_third)
    assert explain.main(["set", "--weights", str(weights)]) == 130
    assert "stopped; 2 files are written" in capsys.readouterr().err
    assert len(list((folder / "explorer").rglob("*.html"))) == 2


# For programs


@pytest.mark.parametrize("quiet", [False, True])
def test_json_goes_to_standard_output_alone(quiet, folder, weights, capsys):
    argv = ["wide.png", "--weights", str(weights), "--json", "-", "--layer", "2"]
    before = files_in(folder)
    assert explain.main(argv + ["--quiet"] * quiet) == 0
    printed = capsys.readouterr()
    assert files_in(folder) == before, "no page, since none was asked for"
    assert (printed.err == "") == quiet and str(weights) in printed.err + printed.out
    results = json.loads(printed.out)
    (record,) = results["photos"]
    right = capture_square(weights)  # (L, nh, T, T)
    for kind, map_ in (
        ("attention", right[1].mean(0)[0]),
        ("rollout", attention_rollout(right)[1, 0]),
    ):
        flat = [record[kind]["class_token"], *sum(record[kind]["patches"], [])]
        assert len(record[kind]["patches"]) == 4
        torch.testing.assert_close(torch.tensor(flat), map_, atol=3e-3, rtol=0)
    assert (record["layer"], record["head"], record["patches"]) == (2, None, [4, 4])
    for guess in record["predictions"]:
        assert guess["class"] == NAMES[guess["index"]]
    assert len(record["predictions"]) == 5 and results["left_out"] == []


def test_quiet_prints_the_classes_alone(folder, weights, capsys):
    printed = explained(capsys, "wide.png", "--weights", weights, "--quiet")
    name, *lines = printed.strip().splitlines()
    assert name == "wide.png" and len(lines) == 5
    assert all(re.match(r" +[\d.]+ %  ", line) for line in lines)
    assert (folder / "explorer.html").exists()


def test_files_that_begin_like_a_flag_are_photos(folder, weights, capsys):
    shutil.copy("wide.png", "-x.png")
    printed = explained(capsys, "-x.png", "--weights", weights)
    assert re.search("^photo +-x.png$", printed, re.M)
    argv = ["--weights", weights, "--overwrite", "--", "-x.png"]
    assert re.search("^photo +-x.png$", explained(capsys, *argv), re.M)


@pytest.mark.parametrize(
    "name",
    [
        "$\\frac{.png",
        "<img src=x onerror=alert(1)>.png",
        "two\nlines\x1b[2J.png",
        "名前.png",
        "w" * 200 + ".png",
        os.fsdecode(b"\xff.png"),
        "--help.png",
    ],
)
def test_odd_file_names_break_nothing(name, folder, weights, capsys):
    shutil.copy("wide.png", name)
    argv = ["--weights", weights, "--png", "p.png", "--output", "p.html", "--", name]
    printed = explained(capsys, *argv)
    assert "\x1b" not in printed
    title = read_page(folder / "p.html")[0]["title"]
    assert title.isprintable() and (title == name or not name.isprintable())
    text = (folder / "p.html").read_text("utf-8")
    # The names of photo and classes open and close no element.
    assert text.count("<script") == text.count("</script>")
    assert "<b>" not in text and "<img" not in text
    refused(capsys, "--weights", weights, "--", f"no such {name}")


def test_script_runs_by_its_name_without_a_network(folder, weights):
    """In a fresh interpreter, where opening a connection is an error."""
    guard = (
        "import runpy, sys\n"
        "def watch(event, args):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo'):\n"
        "        raise RuntimeError(event)\n"
        "sys.addaudithook(watch)\n"
        "script = sys.argv.pop(1)\n"
        "runpy.run_path(script, run_name='__main__')\n"
    )

    def run(*argv):
        command = [sys.executable, "-c", guard, str(ROOT / "explain.py"), *argv]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    done = run("wide.png", "--whole", "--weights", str(weights), "--png", "a.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert Image.open("a.png").format == "PNG"
    done = run("none.png")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1


def test_help_lists_every_flag(capsys):
    with pytest.raises(SystemExit) as stop:
        explain.main(["--help"])
    assert stop.value.code == 0
    help_text = capsys.readouterr().out
    flags = "weights output png layers layer head whole top num-heads device overwrite "
    flags += "json quiet skip-bad image-size"
    for flag in flags.split():
        assert f"--{flag} " in help_text
    assert f"({BUILT_IN})" in help_text
