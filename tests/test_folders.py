"""Folders of photos as people have them: splits, classes, and what is no photo."""

import os
import re
import shutil

import pytest
import torch
from PIL import Image

from going_modular.command_line import folder_report
from going_modular.datasets.folders import load_splits
from going_modular.datasets.layout import look_at
from going_modular.datasets.photos import read_photo
from going_modular.errors import InputError

KINDS = ("cat", "dog")


def fill(place, count: int = 2, kinds=KINDS, shade: int = 0) -> None:
    """Put photos of each class into a folder, no two alike."""
    for label, kind in enumerate(kinds):
        (place / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            colour = (shade, 90 * label, number)
            Image.new("RGB", (9, 12), colour).save(place / kind / f"{number}.png")


SPLITS = [
    ("Train", None, "Test"),
    ("Training", None, "Testing"),
    ("TRAIN", None, "TEST"),
    ("train", "val", "test"),
    ("train", "valid", "test"),
    ("Training", "Validation", "Testing"),
    ("train", "dev", "test"),
    ("seg_train", None, "seg_test"),
    ("train2017", "val2017", "test2017"),
    ("data-train", None, "data-eval"),
    ("TrainImages", "ValImages", "TestImages"),
    ("trainset", None, "testset"),
    ("train data", None, "test data"),
    ("train.v2", "valid.v2", "test.v2"),
    ("trn", None, "tst"),
    ("photos of Zürich train", None, "photos of Zürich test"),
]


@pytest.mark.parametrize("names", SPLITS)
def test_splits_have_their_usual_names_in_any_case(names, tmp_path, capsys):
    wanted = dict(zip(("train", "val", "test"), names, strict=True))
    wanted = {split: name for split, name in wanted.items() if name}
    for count, name in enumerate(wanted.values(), 1):
        fill(tmp_path / name, count, shade=count)
    sets = load_splits(tmp_path, image_size=8)
    assert {split: len(part) for split, part in sets.items()} == {
        split: 2 * count for count, split in enumerate(wanted, 1)
    }
    assert sets["train"].class_names == KINDS
    said = capsys.readouterr().out
    assert f"{tmp_path}: 2 classes: cat, dog; train 2" in said


NO_SPLITS = [
    ("train", "bus", "tram"),  # vehicles
    ("test tube", "flask"),
    ("training shoe", "boot"),
    ("contest", "detrain"),
    ("1", "2"),
    ("Testarossa", "trainee"),
]


@pytest.mark.parametrize("names", NO_SPLITS)
def test_classes_may_have_such_names(names, tmp_path):
    fill(tmp_path, 5, names)
    assert look_at(tmp_path).class_names == tuple(sorted(names))


def test_test_and_validation_without_training_are_refused(tmp_path):
    fill(tmp_path / "test")
    fill(tmp_path / "val")
    with pytest.raises(InputError, match="nothing to train on: add a folder train"):
        look_at(tmp_path)


def test_two_folders_for_one_split_are_refused(tmp_path):
    for name in ("train", "Training", "test"):
        fill(tmp_path / name)
    with pytest.raises(InputError, match="Training, train, all for train: keep one"):
        look_at(tmp_path)


def test_a_set_copied_into_itself_is_refused(tmp_path):
    fill(tmp_path / "set", 3)
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    (tmp_path / "copy").rename(tmp_path / "set/copy")
    with pytest.raises(InputError, match=r"set/copy holds folders only"):
        look_at(tmp_path / "set")


def test_each_photo_knows_its_file(photos):
    sets = load_splits(photos, 16, quiet=True)
    for data in sets.values():
        assert len(data.paths) == len(data)
        for path, image, label in zip(
            data.paths, data.images, data.labels, strict=True
        ):
            assert torch.equal(read_photo(path, 16), image)
            assert path.parent.name == data.class_names[label]


def test_photos_in_folders_of_a_class_count_for_it(tmp_path):
    fill(tmp_path, 2)
    fill(tmp_path / "cat", 3, ("Monday", "Tuesday"))
    layout = look_at(tmp_path)
    assert layout.class_names == KINDS
    assert layout.count("all", 0) == 2 + 6


@pytest.mark.parametrize("name", ["0.png", "lost.jpg"])
def test_a_dead_link_is_named_like_an_unreadable_photo(name, tmp_path, capsys):
    fill(tmp_path, 4)
    link = tmp_path / "cat" / name
    link.unlink(missing_ok=True)
    link.symlink_to("nowhere.jpg")
    with pytest.raises(InputError, match=re.escape(str(link))):
        load_splits(tmp_path, image_size=8)
    load_splits(tmp_path, image_size=8, skip_bad=True)
    assert "left out 1 of" in capsys.readouterr().out


def test_a_class_that_is_a_dead_link_is_said(tmp_path, capsys):
    fill(tmp_path, 3)
    (tmp_path / "bird").symlink_to("nowhere")
    assert len(load_splits(tmp_path, image_size=8)["train"]) == 4
    assert "bird (a link that leads nowhere)" in capsys.readouterr().out


def test_a_class_without_test_photos_is_said_and_counted_as_none(tmp_path, capsys):
    fill(tmp_path / "train", 3, (*KINDS, "owl"))
    fill(tmp_path / "test", 2)
    sets = load_splits(tmp_path, image_size=8)
    assert sets["test"].class_names == ("cat", "dog", "owl")
    assert "test has no photos of owl" in capsys.readouterr().out
    assert folder_report.main([str(tmp_path)]) == 0
    assert re.search(r"owl +3 +none\n", capsys.readouterr().out)


def test_other_files_are_put_aside_and_named(tmp_path, capsys):
    fill(tmp_path, 3)
    (tmp_path / "labels.csv").write_text("a,b")
    (tmp_path / "cat/notes.txt").write_text("a")
    (tmp_path / "cat/.DS_Store").write_bytes(b"a")
    (tmp_path / "dog/Thumbs.db").write_bytes(b"a")
    fill(tmp_path / "__MACOSX", 1)
    sets = load_splits(tmp_path, image_size=8)
    assert sum(map(len, sets.values())) == 6
    said = capsys.readouterr().out
    assert "labels.csv (beside the class folders)" in said
    assert "notes.txt (.txt files are no photos)" in said


# The report


def test_the_report_counts_measures_and_finds_twins(tmp_path, capsys):
    fill(tmp_path / "train", 3, shade=1)
    fill(tmp_path / "test", 1, shade=2)
    shutil.copy(tmp_path / "train/cat/0.png", tmp_path / "test/cat/same.png")
    shutil.copy(tmp_path / "train/cat/1.png", tmp_path / "train/dog/same.png")
    Image.new("L", (40, 30)).save(tmp_path / "train/dog/grey.jpg")
    (tmp_path / "test/dog/bad.png").write_bytes(b"bad")
    assert folder_report.main([str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"class +train +test\ncat +3 +2\ndog +5 +2\n", said)
    assert "shorter sides: 9 to 30 pixels, median 9" in said
    assert "PNG RGB" in said and "1 JPEG L" in said
    assert "bad.png (of no known format)" in said
    assert "2 photos are there more than once, 1 of them in more than one split" in said
    assert "1 in more than one class" in said
    assert f"{tmp_path}/train/cat/0.png = {tmp_path}/test/cat/same.png" in said


def test_the_report_draws_a_sheet_and_overwrites_nothing(tmp_path, capsys):
    fill(tmp_path / "set", 3)
    sheet = tmp_path / "sheet.png"
    argv = [str(tmp_path / "set"), "--png", str(sheet)]
    assert folder_report.main(argv) == 0
    with Image.open(sheet) as picture:
        assert picture.format == "PNG" and min(picture.size) > 100
    before = sheet.read_bytes()
    capsys.readouterr()
    assert folder_report.main(argv) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert sheet.read_bytes() == before
    assert folder_report.main([*argv, "--overwrite"]) == 0


@pytest.mark.parametrize("what", ["no", "file", "empty"])
def test_the_report_refuses_what_is_no_such_folder(what, tmp_path, capsys):
    (tmp_path / "file").write_text("a")
    (tmp_path / "empty").mkdir()
    assert folder_report.main([str(tmp_path / what)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert what in line


# What a fresh tester found


@pytest.mark.parametrize(
    "names",
    [("01_train", "02_val", "03_test"), ("train2019", "val2020", "test2021")],
)
def test_numbers_in_names_part_no_splits(names, tmp_path):
    for count, name in enumerate(names, 1):
        fill(tmp_path / name, count, shade=count)
    assert list(look_at(tmp_path).photos) == ["train", "val", "test"]


@pytest.mark.parametrize("stray", ["README", "photo.png", "make_split.py"])
def test_a_stray_file_makes_no_class_of_a_split(stray, tmp_path):
    for name in ("train", "test"):
        fill(tmp_path / name, 2)
        shutil.copy(tmp_path / name / "cat/0.png", tmp_path / name / stray)
    layout = look_at(tmp_path)
    assert list(layout.photos) == ["train", "test"]
    assert layout.class_names == KINDS
    assert tmp_path / "train" / stray in layout.aside


def test_splits_without_class_folders_are_refused(tmp_path):
    fill(tmp_path, 3, ("train", "test"))
    with pytest.raises(InputError, match="no folder in them for each class"):
        look_at(tmp_path)


def test_a_link_to_a_folder_above_is_put_aside(tmp_path):
    fill(tmp_path, 3)
    (tmp_path / "cat/loop").symlink_to(tmp_path)
    layout = look_at(tmp_path)
    assert len(layout.photos["all"]) == 6
    assert layout.aside[tmp_path / "cat/loop"] == "a link to a folder above"


def test_pipes_and_thumbnails_of_servers_are_no_photos(tmp_path):
    fill(tmp_path, 3)
    os.mkfifo(tmp_path / "cat/pipe.png")
    fill(tmp_path / "cat", 1, ("@eaDir", "__MACOSX"))
    layout = look_at(tmp_path)
    assert len(layout.photos["all"]) == 6
    assert "a pipe" in layout.aside[tmp_path / "cat/pipe.png"]


def test_what_is_left_out_is_named_with_its_reason(tmp_path, capsys):
    fill(tmp_path, 3)
    (tmp_path / "cat/page.jpg").write_text("<html>")
    load_splits(tmp_path, image_size=8, skip_bad=True)
    said = capsys.readouterr().out
    assert "left out 1 of 7 files" in said
    assert "page.jpg (a web page and no photo)" in said


def test_a_dead_link_is_left_out_from_the_cache_too(tmp_path):
    fill(tmp_path / "set", 4)
    (tmp_path / "set/cat/lost.png").symlink_to("nowhere")
    for _ in range(2):
        sets = load_splits(
            tmp_path / "set", image_size=8, skip_bad=True, cache=tmp_path / "cache"
        )
        assert sum(map(len, sets.values())) == 8
    with pytest.raises(InputError, match="lost.png is no readable image"):
        load_splits(tmp_path / "set", image_size=8, cache=tmp_path / "cache")


def test_the_report_reads_large_photos_and_draws_png_alone(tmp_path, capsys):
    fill(tmp_path, 2)
    Image.new("L", (14000, 13000)).save(tmp_path / "cat/large.png")
    assert folder_report.main([str(tmp_path)]) == 0
    said = capsys.readouterr()
    assert "cannot be opened" not in said.out and said.err == ""
    assert folder_report.main([str(tmp_path), "--png", "sheet.xyz"]) == 2
    assert "must end in .png" in capsys.readouterr().err
