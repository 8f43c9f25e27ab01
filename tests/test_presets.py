"""What train.py does with a folder of photos, where no flag says otherwise."""

import pytest
import torch
from PIL import Image

import train
from going_modular.datasets.folders import glance
from going_modular.errors import InputError
from going_modular.training.presets import explain, suit_photos
from going_modular.training.settings import Plan


def write_photos(folder, count: int, side: int = 40, classes=("a", "b")):
    """A folder of noise; the photos of half the classes are bright."""
    stream = torch.Generator().manual_seed(0)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for place in range(count):
            low = 120 * (label % 2)
            shape = (side, side + 10, 3)
            pixels = torch.randint(low, low + 120, shape, generator=stream)
            pixels = pixels.to(torch.uint8).numpy()
            Image.fromarray(pixels).save(folder / name / f"{place}.png")
    return folder


def plan_for(*argv) -> Plan:
    plan, checkpoint = train.make_plan(train.parse([str(a) for a in argv]))
    assert checkpoint is None
    return plan


@pytest.mark.parametrize("stem", ["conv", "patches"])
@pytest.mark.parametrize(
    ("count", "side"), [(1, 5), (300, 28), (5000, 100), (10**6, 9)]
)
def test_every_number_and_size_of_photos_has_settings(count, side, stem):
    settings = suit_photos(count, side, stem)
    plan = Plan.from_settings({"data": "photos", **settings})
    assert plan.stem == stem
    assert plan.model.grid_shape == ((4, 4) if stem == "conv" else (8, 8))
    assert 10 <= plan.training.epochs <= 200
    assert str(plan.training.epochs) in explain(settings, count, side)


def test_fewer_photos_are_seen_more_often_and_small_ones_are_not_enlarged():
    few, many = suit_photos(400, 100), suit_photos(10_000, 100)
    assert few["epochs"] > many["epochs"] and few["batch_size"] <= many["batch_size"]
    assert few["image_size"] == 64 and suit_photos(400, 28)["image_size"] == 32


def test_a_glance_counts_what_is_for_training_and_reads_a_side(tmp_path):
    folder = write_photos(tmp_path / "photos", 10)
    assert glance(folder) == (16, 40)
    (folder / "a" / "0.png").write_bytes(b"nothing")
    assert glance(folder) == (16, 40)
    for split in ("train", "test"):
        write_photos(tmp_path / "parted" / split, 3, side=60)
    assert glance(tmp_path / "parted") == (6, 60)
    with pytest.raises(InputError, match="no folder"):
        glance(tmp_path / "none")


def test_the_choice_for_a_folder_is_said_in_one_line(tmp_path, capsys):
    plan = plan_for("--data", write_photos(tmp_path / "photos", 10), "--epochs", 3)
    assert plan.stem == "conv" and plan.training.epochs == 3
    (said,) = capsys.readouterr().out.splitlines()
    assert "16 photos of about 40 pixels: 3 epochs" in said and "convolutions" in said


def test_flags_and_sizes_of_table_1_come_before_the_choice(tmp_path, capsys):
    data = ["--data", write_photos(tmp_path / "photos", 10)]
    paper = plan_for(*data, "--variant", "Ti/16", "--image-size", 64)
    assert paper.stem == "patches" and paper.model.embedding_dim == 192
    odd = plan_for(*data, "--image-size", 42, "--patch-size", 7)
    assert odd.stem == "patches" and odd.model.patch_size == 7
    both = plan_for(*data, "--stem", "conv", "--patch-size", 8)
    assert both.stem == "conv" and both.model.patch_size == 8
    large = plan_for(*data, "--image-size", 128)
    assert large.stem == "conv" and large.model.patch_size == 16
    assert "patches of pixels" in capsys.readouterr().out


def test_sets_with_a_name_keep_the_paper_s_patches_but_for_clothes(capsys):
    for name in ("digits", "cifar10", "flowers102"):
        assert plan_for("--data", name).stem == "patches"
    assert not capsys.readouterr().out
    for name in ("built-in", "fashion_mnist"):
        plan = plan_for("--data", name)
        assert plan.stem == "conv" and plan.model.grid_shape == (7, 7)
        assert "--stem patches" in capsys.readouterr().out
        for flags in (["--stem", "patches"], ["--patch-size", 7]):
            paper = plan_for("--data", name, *flags)
            assert paper.stem == "patches" and paper.model.grid_shape == (4, 4)
            assert paper.model.depth == 6
    assert plan_for("--stem", "conv", "--patch-size", 2).model.depth == 2
    assert not capsys.readouterr().out
