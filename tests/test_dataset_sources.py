"""Folders of photos and named sets become image sets, or one clear line."""

import gzip
import os
import shutil
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from going_modular.data_setup import FASHION_CLASSES, ImageSet
from going_modular.datasets import folders as photo_folders
from going_modular.datasets.decoding import decode_all
from going_modular.datasets.folders import load_folder, load_splits, split
from going_modular.datasets.photos import read_photo
from going_modular.datasets.sources import (
    DEBIAN_FASHION_MNIST,
    decode_dataset,
    load_data,
    load_digits,
    load_fashion_mnist,
)
from going_modular.errors import InputError
from going_modular.system.memory import memory_for_process


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def plain(value, height=30, width=20):
    return np.full((height, width, 3), value, np.uint8)


@pytest.fixture
def folder(tmp_path):
    for name, value, count in (("cat", 50, 5), ("dog", 200, 10)):
        for i in range(count):
            save(tmp_path / "set" / name / f"{i}.png", plain(value))
    return tmp_path / "set"


def test_folder_becomes_two_stratified_parts(folder):
    train, test = load_folder(folder, image_size=8)
    assert train.class_names == test.class_names == ("cat", "dog")
    assert train.images.shape == (12, 3, 8, 8)
    assert torch.bincount(train.labels).tolist() == [4, 8]
    assert torch.bincount(test.labels).tolist() == [1, 2]
    for part in (train, test):  # each image went with its label
        assert part.images.float().mean(dim=(1, 2, 3)).tolist() == [
            (50, 200)[label] for label in part.labels
        ]


@pytest.mark.parametrize("name", ["test", "validation", "val"])
def test_folder_with_train_and_test_keeps_that_split(folder, tmp_path, name):
    both = tmp_path / "both"
    for part, count in (("train", 3), (name, 2)):
        for cls, value in (("cat", 50), ("dog", 200)):
            for i in range(count):
                save(both / part / cls / f"{i}.png", plain(value))
    train, test = load_folder(both, image_size=8)
    assert (len(train), len(test)) == (6, 4)
    (both / name / "cow").mkdir()
    with pytest.raises(InputError, match="has classes that .*train has not: cow"):
        load_folder(both, image_size=8)


def test_photo_is_turned_upright_and_cut_to_its_centre(tmp_path):
    pixels = plain(0, 40, 80)
    pixels[:, 20:60] = 255  # the central square
    save(tmp_path / "wide.png", pixels)
    white = read_photo(tmp_path / "wide.png", 10)[:, :, 1:-1]  # apart from the rim
    assert (white == 255).all()
    pixels = plain(0, 40, 40)
    pixels[:20] = 255  # white above
    exif = Image.Exif()
    exif[0x0112] = 3  # taken upside down
    save(tmp_path / "turned.jpg", pixels, exif=exif, quality=95)
    turned = read_photo(tmp_path / "turned.jpg", 10).float()
    assert turned[:, :4].mean() < 10 and turned[:, 6:].mean() > 245


def test_grey_and_transparent_photos_become_rgb(tmp_path):
    for mode, suffix in (("L", "png"), ("RGBA", "png"), ("P", "gif"), ("CMYK", "jpg")):
        path = tmp_path / f"{mode}.{suffix}"
        Image.new(mode, (9, 9)).save(path)
        assert read_photo(path, 4).shape == (3, 4, 4)


def test_bad_files_are_named_and_skipped_on_request(folder, capsys):
    whole = (folder / "dog" / "0.png").read_bytes()
    (folder / "dog" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "cat" / "notes.png").write_text("hello")
    (folder / "cat" / ".hidden").write_text("is ignored")
    (folder / "cat" / ".ipynb_checkpoints").mkdir()
    (folder / "cat" / ".ipynb_checkpoints" / "0.png").write_bytes(whole)
    with pytest.raises(
        InputError, match=r"cat/notes.png is no readable image \(.*; 2 such"
    ):
        load_folder(folder, image_size=8)
    train, test = load_folder(folder, image_size=8, skip_bad=True)
    assert len(train) + len(test) == 15
    assert "left out 2 of 17 files" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error",
    [RuntimeError("no AVIF"), TypeError("no EXIF"), struct.error("4 bytes"), OSError()],
)
def test_whatever_a_damaged_file_raises_it_is_no_readable_image(
    error, folder, monkeypatch
):
    read = photo_folders.read_photo

    def fail(path, size, note):
        if path == folder / "dog" / "1.png":
            raise error
        return read(path, size, note)

    monkeypatch.setattr(photo_folders, "read_photo", fail)
    with pytest.raises(
        InputError, match=r"dog/1.png is no readable image \(.*; 1 such"
    ):
        load_folder(folder, image_size=8)
    train, test = load_folder(folder, image_size=8, skip_bad=True)
    assert len(train) + len(test) == 14


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda f: [p.unlink() for p in (f / "cat").iterdir()], "cat holds no image"),
        (lambda f: (f / "cat").rename(f.parent / "away"), "found only 'dog'"),
        (
            lambda f: [(f / n).rename(f.parent / n) for n in ("cat", "dog")],
            "found none",
        ),
        (lambda f: f.rename(f.parent / "away"), "no folder"),
        (
            lambda f: [(f / "cat" / f"{i}.png").unlink() for i in range(4)],
            "class 'cat' has only 1 readable image",
        ),
    ],
)
def test_unusable_folders_are_refused_by_name(folder, spoil, complaint):
    spoil(folder)
    with pytest.raises(InputError, match=complaint):
        load_folder(folder, image_size=8)


def test_class_with_only_bad_files_is_refused_even_when_skipping(folder):
    for path in (folder / "cat").iterdir():
        path.write_bytes(b"")
    with pytest.raises(InputError, match="class 'cat' holds no readable image"):
        load_folder(folder, image_size=8, skip_bad=True)


def test_split_is_decided_by_the_seed_and_loses_nothing():
    images = torch.arange(60).to(torch.uint8).reshape(60, 1, 1, 1)
    data = ImageSet(images, torch.arange(60) % 3, ("a", "b", "c"))
    train, test = split(data, 0.2, seed=1)
    assert torch.bincount(test.labels).tolist() == [4, 4, 4]
    together = torch.cat([train.images, test.images]).flatten()
    assert together.sort().values.tolist() == list(range(60))
    again = split(data, 0.2, seed=1)[1].images
    other = split(data, 0.2, seed=2)[1].images
    assert torch.equal(again, test.images) and not torch.equal(other, test.images)


def test_a_folder_is_split_as_its_images_would_be(tmp_path):
    for i in range(30):
        save(tmp_path / "ab"[i % 2] / f"{i:02}.png", plain(8 * i))
    parts = load_folder(tmp_path, image_size=8, seed=5, test_share=0.3)
    values = [8 * i for i in (*range(0, 30, 2), *range(1, 30, 2))]
    images = torch.tensor(values, dtype=torch.uint8).view(30, 1, 1, 1)
    labels = torch.arange(30) // 15
    expected = split(ImageSet(images, labels, ("a", "b")), 0.3, seed=5)
    for part, wanted in zip(parts, expected, strict=True):
        assert torch.equal(part.images[:, :1, :1, :1], wanted.images)
        assert torch.equal(part.labels, wanted.labels)


def test_digits_span_the_bytes_and_keep_their_labels():
    train, test = load_digits()
    assert len(train) + len(test) == 1797
    assert train.images.shape[1:] == (1, 8, 8)
    assert train.images.min() == 0 and train.images.max() == 255
    assert set(train.labels.tolist()) == set(test.labels.tolist()) == set(range(10))


def test_named_set_that_is_not_there_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr("going_modular.datasets.sources.DOWNLOADS", tmp_path)
    monkeypatch.setattr("going_modular.datasets.sources.DEBIAN_FASHION_MNIST", tmp_path)
    for name in ("fashion_mnist", "cifar10", "food101", "oxford_pets", "imagenette"):
        with pytest.raises(InputError, match=f"{name} .*--download"):
            load_data(name, image_size=32)


@pytest.mark.skipif(not DEBIAN_FASHION_MNIST.exists(), reason="needs Fashion-MNIST")
def test_full_fashion_mnist_has_70000_images():
    train, test = load_fashion_mnist()
    assert torch.bincount(train.labels).tolist() == [6000] * 10
    assert torch.bincount(test.labels).tolist() == [1000] * 10
    assert train.class_names == FASHION_CLASSES


def test_images_that_do_not_fit_in_memory_are_refused():
    side = int((memory_for_process() / 3 / 1000) ** 0.5) + 1
    with pytest.raises(InputError, match="choose an --image-size of .* or less"):
        decode_all(range(1000), side, lambda i: None)


def test_torchvision_set_is_decoded_once_and_keeps_labels_and_names():
    class Pictures:
        classes = ("dark", "light")
        read = 0

        def __len__(self):
            return 5

        def __getitem__(self, i):
            Pictures.read += 1
            return Image.fromarray(plain(40 * i)), int(i > 2)

    data = decode_dataset(Pictures(), image_size=8)
    assert data.images[:, 0, 0, 0].tolist() == [0, 40, 80, 120, 160]
    assert data.labels.tolist() == [0, 0, 0, 1, 1]
    assert data.class_names == ("dark", "light")
    assert Pictures.read == 5


@pytest.mark.parametrize("name", ["TEST", "testing", "Val", "Validation", "my_test"])
def test_the_folder_of_test_images_has_many_names(name, folder, capsys):
    train = "my_train" if name == "my_test" else "train"
    (folder / train).mkdir()
    for kind in ("cat", "dog"):
        (folder / kind).rename(folder / train / kind)
    alone = load_splits(folder, image_size=8)
    assert [len(part) for part in alone.values()] == [12, 3]
    assert "train/ alone, which is taken" in capsys.readouterr().out
    shutil.copytree(folder / train, folder / name)
    train, test = load_folder(folder, image_size=8)
    assert len(train) == len(test) == 15


def test_a_class_may_be_called_train(folder):
    (folder / "cat").rename(folder / "train")
    train, _ = load_folder(folder, image_size=8)
    assert train.class_names == ("dog", "train")


def test_linked_folders_are_read_once(folder, tmp_path):
    (folder / "cat").rename(tmp_path / "cats")
    (folder / "cat").mkdir()
    for name in ("a", "b"):
        (folder / "cat" / name).symlink_to(tmp_path / "cats")
    (tmp_path / "cats" / "0.png").rename(folder / "cat" / "0.png")
    (tmp_path / "cats" / "again").symlink_to(folder / "cat")
    train, test = load_folder(folder, image_size=8)
    assert len(train) + len(test) == 15


def test_a_folder_that_cannot_be_read_is_named(folder, monkeypatch):
    (folder / "cat" / "more").mkdir()
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match=r"cannot read .*more \(Permission denied\)"):
        load_folder(folder, image_size=8)


@pytest.mark.parametrize("how", ["cut", "no gzip", "labels gone"])
def test_a_damaged_fashion_mnist_is_one_line(how, tmp_path, monkeypatch):
    monkeypatch.setattr("going_modular.datasets.sources.DOWNLOADS", tmp_path)
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    content = gzip.compress(bytes(16 + 784))
    content = {"cut": content[:-9], "no gzip": b"no", "labels gone": content}[how]
    (raw / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(InputError, match="is incomplete or damaged.*--download"):
        load_fashion_mnist()
