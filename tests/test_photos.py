"""Photos as people have them become the picture that they show."""

import io
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image, features

import predict
from going_modular.datasets.photos import (
    FORMATS,
    MEMORY,
    Budget,
    open_photo,
    read_photo,
    read_upright,
)
from going_modular.errors import InputError

SIDE = 32


def read(path) -> tuple[torch.Tensor, list[str]]:
    """The photo as (3, SIDE, SIDE) bytes, and what was said of it."""
    notes = []
    return read_photo(path, SIDE, notes.append), notes


def icon(mode: str) -> Image.Image:
    """A black square on a transparent ground, whose hidden colour is black."""
    picture = Image.new("RGBA", (SIDE, SIDE), (0, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (8, 8, 24, 24))
    if mode == "P":
        picture = Image.new("P", (SIDE, SIDE), 0)
        picture.putpalette([0, 0, 0, 0, 0, 0])
        picture.paste(1, (8, 8, 24, 24))
        picture.info["transparency"] = 0
    return picture if mode in ("RGBA", "P") else picture.convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGBA", "PNG"),
        ("LA", "PNG"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("RGBA", "WEBP"),
        ("RGBA", "TIFF"),
        ("LA", "TIFF"),
        ("RGBA", "ICO"),
    ],
)
def test_transparency_lies_over_white(mode, kind, tmp_path):
    path = tmp_path / f"icon.{kind.lower()}"
    options = {"WEBP": {"lossless": True}, "ICO": {"sizes": [(SIDE, SIDE)]}}
    icon(mode).save(path, kind, **options.get(kind, {}))
    if kind not in FORMATS:
        with pytest.raises(InputError, match="format"):
            read(path)
        return
    image, _ = read(path)
    assert image[:, 0, 0].tolist() == [255, 255, 255]
    assert image[:, 16, 16].tolist() == [0, 0, 0]


def test_a_half_transparent_colour_is_mixed_with_white(tmp_path):
    Image.new("RGBA", (SIDE, SIDE), (200, 0, 0, 128)).save(tmp_path / "a.png")
    image, _ = read(tmp_path / "a.png")
    expected = [round(255 + (c - 255) * 128 / 255) for c in (200, 0, 0)]
    assert image[:, 5, 5].tolist() == pytest.approx(expected, abs=1)


RAMP = np.linspace(0, 1, SIDE * SIDE, dtype=np.float32).reshape(SIDE, SIDE)
GREYS = {
    "12 bits in 16": (RAMP * 4095).astype(np.uint16),
    "10 bits in 16": (RAMP * 1023).astype(np.uint16),
    "16 bits": (RAMP * 65535).astype(np.uint16),
    "bytes in 16 bits": (RAMP * 255).astype(np.uint16),
    "floats to 1": RAMP,
    "floats to 255": RAMP * 255,
    "floats around 0": RAMP * 4 - 2,
    "floats to 4000": RAMP * 4000,
    "32 bits": (RAMP * 10**6).astype(np.int32),
}


@pytest.mark.parametrize("kind", GREYS)
def test_greys_are_scaled_by_their_range_and_that_is_said(kind, tmp_path):
    Image.fromarray(GREYS[kind]).save(tmp_path / "grey.tif")
    image, notes = read(tmp_path / "grey.tif")
    expected = torch.from_numpy(RAMP * 255)
    assert (image.float() - expected).abs().max() <= 1.01
    assert len(notes) == 1 and "became 0 to 255" in notes[0]


def test_greys_of_16_bits_in_a_png_are_no_white_page(tmp_path):
    Image.fromarray(GREYS["12 bits in 16"]).save(tmp_path / "grey.png")
    image, _ = read(tmp_path / "grey.png")
    assert (image.float() - torch.from_numpy(RAMP * 255)).abs().max() <= 1.01


def test_greys_that_are_no_numbers_are_refused(tmp_path):
    broken = RAMP.copy()
    broken[3, 4] = np.nan
    Image.fromarray(broken).save(tmp_path / "grey.tif")
    with pytest.raises(InputError, match="no finite numbers"):
        read(tmp_path / "grey.tif")


def test_one_grey_alone_is_no_division_by_zero(tmp_path):
    Image.fromarray(np.full((SIDE, SIDE), -3, np.float32)).save(tmp_path / "a.tif")
    image, _ = read(tmp_path / "a.tif")
    assert image.unique().tolist() == [0]


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "LAB", "HSV"])
@pytest.mark.parametrize("kind", ["TIFF", "JPEG", "PNG", "WEBP"])
def test_other_modes_show_their_colours(mode, kind, tmp_path):
    colour = (250, 250, 250) if mode in ("1", "L") else (250, 120, 20)
    picture = Image.new("RGB", (40, 50), colour).convert(mode)
    try:
        picture.save(tmp_path / "a", kind)
    except (OSError, ValueError):
        pytest.skip(f"{kind} has no {mode}")
    image, _ = read(tmp_path / "a")
    found = image[:, 16, 16].tolist()
    assert found == pytest.approx(colour, abs=40 if mode == "P" else 8)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_that_cannot_be_read_is_said_and_ignored(kind, tmp_path):
    file = io.BytesIO()
    bad = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(20)
    Image.new("RGB", (40, 30), (200, 100, 0)).save(file, kind, exif=bad)
    (tmp_path / "a").write_bytes(file.getvalue())
    image, _ = read(tmp_path / "a")
    assert image.shape == (3, SIDE, SIDE)
    assert image.float().mean((1, 2)).tolist() == pytest.approx([200, 100, 0], abs=3)


@pytest.mark.parametrize("size", [(2000, 20), (20, 2000), (1, 1), (1, 500), (33, 31)])
def test_any_shape_is_cut_to_its_central_square(size, tmp_path):
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[...] = (np.arange(width) * 255 / max(1, width - 1))[None, :, None]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    image, _ = read(tmp_path / "a.png")
    assert image.shape == (3, SIDE, SIDE)
    middle = pixels[height // 2, (width - 1) // 2, 0]
    assert image.float().mean() == pytest.approx(int(middle), abs=8)


def test_of_an_animation_the_first_picture_is_taken(tmp_path):
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        path = tmp_path / f"a.{kind.lower()}"
        frames[0].save(path, kind, save_all=True, append_images=frames[1:])
        image, _ = read(path)
        assert image.float().mean((1, 2)).tolist() == pytest.approx(
            [255, 0, 0], abs=4
        ), kind


@pytest.mark.skipif(not features.check("avif"), reason="Pillow has no AVIF")
def test_avif_is_read(tmp_path):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "a.avif")
    image, _ = read(tmp_path / "a.avif")
    assert image.float().mean((1, 2)).tolist() == pytest.approx([254, 0, 0], abs=4)


def test_large_photos_are_made_smaller_in_strips_and_look_the_same(tmp_path):
    ramp = np.linspace(0, 255, 7168, dtype=np.uint8)
    Image.fromarray(np.broadcast_to(ramp[None, :], (6144, 7168))).save(
        tmp_path / "a.png"
    )
    image, _ = read(tmp_path / "a.png")
    expected = torch.from_numpy(ramp[512:6656].astype(np.float32)).view(SIDE, -1)
    expected = expected.mean(1).expand(3, SIDE, SIDE)  # (3, SIDE, SIDE)
    assert (image.float() - expected).abs().max() < 3


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
def test_a_damaged_png_is_never_taken_for_a_whole_one(place, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[int(place * len(content))] ^= 4
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(Exception, match="."), Image.open(tmp_path / "a.png") as photo:
        photo.load()
    with pytest.raises((OSError, SyntaxError, InputError)):
        read(tmp_path / "a.png")
    with pytest.raises((OSError, SyntaxError, InputError)):
        read_upright(tmp_path / "a.png", SIDE)


def test_greys_of_16_bits_may_have_a_transparent_one(tmp_path):
    greys = np.zeros((SIDE, SIDE), np.uint16)
    greys[8:24, 8:24] = 40000
    picture = Image.fromarray(greys)
    picture.save(tmp_path / "a.png", transparency=0)
    with Image.open(tmp_path / "a.png") as saved:
        if "transparency" not in saved.info:
            pytest.skip("this Pillow writes none")
    image, _ = read(tmp_path / "a.png")
    assert image[:, 0, 0].tolist() == [255, 255, 255]


# Memory


def test_a_photo_beyond_the_limit_says_what_raises_it(tmp_path, monkeypatch):
    monkeypatch.setattr(MEMORY, "most", 1e6)
    Image.new("RGB", (800, 800)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="GB to be decoded.*--photo-memory 1"):
        read(tmp_path / "a.png")
    with pytest.raises(InputError, match="--photo-memory"):
        read_upright(tmp_path / "a.png", SIDE)


def test_the_flag_sets_the_limit(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(MEMORY, "most", MEMORY.most)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (800, 800)).save("a.png")
    assert predict.main(["a.png", "--photo-memory", "0.001"]) == 2
    assert "--photo-memory" in capsys.readouterr().err
    assert predict.main(["a.png", "--photo-memory", "0.1"]) == 0
    for value in ("0", "-1", "nan", "a"):
        with pytest.raises((SystemExit, InputError)):
            predict.parse(["a.png", "--photo-memory", value])


def test_threads_wait_for_each_others_memory():
    budget, most = Budget(10), []

    def take() -> None:
        with budget.taking(4):
            most.append(budget.taken)
            time.sleep(0.01)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=10)
    assert len(most) == 8 and max(most) <= 8
    assert budget.taken == 0


# Formats that are no photos


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"hevc", b"mif1"])
def test_heic_is_named_where_its_package_is_not_there(brand, tmp_path):
    if "HEIF" in FORMATS:
        pytest.skip("pillow-heif is installed")
    (tmp_path / "a.jpg").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(50))
    with pytest.raises(InputError, match="HEI[CF], which needs a package"):
        read(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"8BPS\0\1", "Photoshop"),
        (b"<!DOCTYPE html>", "a web page"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_other_files_are_named(content, said, tmp_path):
    (tmp_path / "a.jpg").write_bytes(content + bytes(50))
    with pytest.raises(InputError, match=said):
        read(tmp_path / "a.jpg")


def test_no_interpreter_of_a_page_language_is_ever_asked(tmp_path, monkeypatch):
    from PIL import EpsImagePlugin

    def run(*args, **kwargs):
        raise AssertionError("Ghostscript is called")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", run)
    (tmp_path / "a.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    )
    with pytest.raises(InputError), open_photo(tmp_path / "a.jpg"):
        pass


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_the_first_of_several_pictures_is_taken_and_said(kind, tmp_path):
    path = tmp_path / f"moving.{kind.lower()}"
    first, second = (Image.new("RGB", (SIDE, SIDE), c) for c in ("red", "blue"))
    more = {"WEBP": {"lossless": True}}.get(kind, {})
    first.save(path, kind, save_all=True, append_images=[second], **more)
    image, notes = read(path)
    assert (image == torch.tensor([255, 0, 0])[:, None, None]).all()
    assert notes == ["it holds several pictures, of which the first was taken"]
    first.save(path, kind, **more)
    assert read(path)[1] == []
