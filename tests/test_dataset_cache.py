"""Decoded photos are kept and come back; what changed is decoded anew."""

import os
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from going_modular.datasets import cache as photo_cache
from going_modular.datasets import folders as photo_folders
from going_modular.datasets.folders import load_folder
from going_modular.errors import InputError


@pytest.fixture
def decoded(monkeypatch):
    """The files that were decoded."""
    read, seen = photo_folders.read_photo, []

    def note(path, size, tell):
        seen.append(path)
        return read(path, size, tell)

    monkeypatch.setattr(photo_folders, "read_photo", note)
    return seen


def same(left, right) -> bool:
    return all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
        for a, b in zip(left, right, strict=True)
    )


def test_second_reading_decodes_nothing_and_gives_the_same(photos, tmp_path, decoded):
    without = load_folder(photos, 8)
    assert len(decoded) == 10
    first = load_folder(photos, 8, cache=tmp_path / "cache")
    assert len(decoded) == 20
    second = load_folder(photos, 8, cache=tmp_path / "cache")
    assert len(decoded) == 20
    assert same(without, first) and same(without, second)


@pytest.mark.parametrize("kept", [True, False])
def test_the_bytes_of_a_pixel_lie_side_by_side(photos, tmp_path, kept):
    cache = tmp_path / "cache" if kept else None
    for part in load_folder(photos, 8, cache=cache):
        assert part.images.shape[1:] == (3, 8, 8)
        assert part.images.stride() == (192, 1, 24, 3)


def test_another_size_or_a_changed_photo_is_decoded_anew(photos, tmp_path, decoded):
    cache = tmp_path / "cache"
    load_folder(photos, 8, cache=cache)
    load_folder(photos, 9, cache=cache)
    assert len(decoded) == 20
    changed = photos / "cat/0.png"
    Image.new("RGB", (20, 30), "red").save(changed)
    os.utime(changed, ns=(1, 1))
    train, test = load_folder(photos, 8, cache=cache)
    assert len(decoded) == 30
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(3, 1, 1)
    assert any((image == red).all() for part in (train, test) for image in part.images)


def test_changing_images_does_not_change_the_cache(photos, tmp_path):
    for part in ("train", "test"):
        (photos / part).mkdir()
    for name in ("cat", "dog"):
        os.rename(photos / name, photos / "train" / name)
        (photos / "test" / name).mkdir()
        os.rename(photos / f"train/{name}/0.png", photos / f"test/{name}/0.png")
    first = load_folder(photos, 8, cache=tmp_path / "cache")
    kept = first[0].images.clone()
    first[0].images.zero_()
    assert torch.equal(load_folder(photos, 8, cache=tmp_path / "cache")[0].images, kept)


def test_unreadable_photos_are_remembered(photos, tmp_path, decoded, capsys):
    (photos / "dog/4.png").write_text("no image")
    for _ in range(2):
        with pytest.raises(InputError, match="4.png is no readable image"):
            load_folder(photos, 8, cache=tmp_path / "cache")
        train, test = load_folder(photos, 8, skip_bad=True, cache=tmp_path / "cache")
        assert len(train) + len(test) == 9
        assert "left out 1 of 10 files" in capsys.readouterr().out
        # Once to find it, once more without it; then never again.
        assert len(decoded) == 10 + 9
    arrays = list((tmp_path / "cache").glob("*.npy"))
    assert len(arrays) == 1 and len(np.load(arrays[0])) == 9  # none with a gap


@pytest.mark.parametrize("spoilt", [False, True])
def test_both_parts_are_mapped_and_not_copied(photos, tmp_path, monkeypatch, spoilt):
    if spoilt:
        (photos / "cat/2.png").write_text("no image")
    load, mapped = np.load, []

    def note(*args, **options):
        mapped.append(load(*args, **options))
        return mapped[-1]

    monkeypatch.setattr(photo_cache.np, "load", note)
    parts = load_folder(photos, 8, skip_bad=True, cache=tmp_path / "cache")
    (array,) = mapped
    assert isinstance(array, np.memmap)
    first, last = array.ctypes.data, array.ctypes.data + array.nbytes
    assert sum(len(part) for part in parts) == len(array) == 10 - spoilt
    for part in parts:
        start = part.images.data_ptr()
        assert first <= start and start + part.images.nbytes <= last


def test_a_gap_changes_neither_the_split_nor_the_cached_images(photos, tmp_path):
    (photos / "cat/2.png").write_text("no image")
    skipped = load_folder(photos, 8, skip_bad=True, seed=3, cache=tmp_path / "cache")
    again = load_folder(photos, 8, skip_bad=True, seed=3, cache=tmp_path / "cache")
    (photos / "cat/2.png").unlink()
    without = load_folder(photos, 8, seed=3)
    assert same(skipped, without) and same(again, without)


def test_a_cache_left_half_written_is_written_anew(photos, tmp_path, monkeypatch):
    cache = tmp_path / "cache"

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(photo_folders, "decode_into", stop)
    with pytest.raises(KeyboardInterrupt):
        load_folder(photos, 8, cache=cache)
    assert list(cache.iterdir()) == []
    monkeypatch.undo()
    assert same(load_folder(photos, 8, cache=cache), load_folder(photos, 8))


def test_full_disk_and_unusable_folders_are_one_line(photos, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot use the cache .*another --cache"):
        load_folder(photos, 8, cache=tmp_path / "file")

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(photo_cache.os, "posix_fallocate", full)
    with pytest.raises(InputError, match="No space left on device"):
        load_folder(photos, 8, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_two_runs_that_fill_one_cache_decode_each_photo_once(
    photos, tmp_path, monkeypatch
):
    """The second waits for the first, and finds what it has written."""
    without = load_folder(photos, 8)
    read, seen, found = photo_folders.read_photo, [], []

    def load():
        found.append(load_folder(photos, 8, cache=tmp_path / "cache"))

    second = threading.Thread(target=load)

    def note(path, size, tell):
        seen.append(path)
        if len(seen) == 5:
            second.start()
            second.join(0.3)
            assert second.is_alive() and not found
        return read(path, size, tell)

    monkeypatch.setattr(photo_folders, "read_photo", note)
    load()
    second.join()
    assert len(seen) == 10
    assert len(found) == 2 and all(same(sets, without) for sets in found)
