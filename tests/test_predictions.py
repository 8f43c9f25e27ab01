"""Predictions are those of the model's own library on the photo as its rules cut it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision import transforms

from going_modular.checkpoint import save_model
from going_modular.config import ViTConfig
from going_modular.datasets.photos import read_photo
from going_modular.errors import InputError
from going_modular.helper_functions import plot_predictions, use_style
from going_modular.plots.predictions import MOST_GUESSES
from going_modular.predictions import (
    Guess,
    Prediction,
    classify,
    find_photos,
    folder_classes,
    load_classifier,
    predict_photos,
)
from going_modular.system.text import printable
from going_modular.vit import ViT

IMAGENET = dict(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
TOY = ViTConfig(
    image_size=40,
    patch_size=8,
    embedding_dim=44,
    depth=2,
    num_heads=4,
    mlp_size=52,
    num_classes=7,
    **IMAGENET,
)
NAMES = tuple(f"name {i}" for i in range(TOY.num_classes))


def with_noise(model: torch.nn.Module) -> torch.nn.Module:
    """No parameter stays zero or one, so that each matters to the numbers."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.eval()


def noisy_vit(**changes) -> ViT:
    return with_noise(ViT(replace(TOY, **changes)))


def write_photo(path, width=120, height=60, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    photo = Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)
    photo.save(path)
    return path


@pytest.fixture
def photos(tmp_path):
    sizes = ((120, 60), (60, 120), (80, 80), (240, 120), (41, 40))
    return [
        write_photo(tmp_path / f"photos/{i}.png", *size, seed=i)
        for i, size in enumerate(sizes)
    ]


# The same numbers as other libraries


def standard_preprocessing(path) -> torch.Tensor:
    """torchvision's own evaluation transforms, as (1, C, H, W)."""
    steps = transforms.Compose(
        [
            transforms.Resize(40, transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(40),
            transforms.ToTensor(),
            transforms.Normalize(**IMAGENET),
        ]
    )
    return steps(Image.open(path).convert("RGB")).unsqueeze(0)


def test_probabilities_are_the_softmax_of_timm_on_torchvision_preprocessing(
    photos, tmp_path
):
    pytest.importorskip("timm", reason="pip install -e .[peers]")
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    peer = VisionTransformer(
        img_size=40,
        patch_size=8,
        embed_dim=44,
        depth=2,
        num_heads=4,
        mlp_ratio=52 / 44,
        num_classes=7,
    )
    with_noise(peer)
    save_file(peer.state_dict(), tmp_path / "model.safetensors")
    config = {"pretrained_cfg": IMAGENET}  # as in timm's repositories
    (tmp_path / "config.json").write_text(json.dumps(config))
    model, names = load_classifier(tmp_path, num_heads=4)
    assert names == tuple(f"class {i}" for i in range(7))
    paths = [photos[i] for i in (0, 2, 3)]  # those where every pixel agrees, see below
    predictions = list(predict_photos(model, paths, names, top=7, batch_size=2))
    best = set()
    for path, prediction in zip(paths, predictions, strict=True):
        with torch.no_grad():
            expected = peer(standard_preprocessing(path)).softmax(dim=1)[0]
        ours = torch.zeros(7)
        for guess in prediction.guesses:
            ours[guess.index] = guess.probability
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
        best.add(prediction.guesses[0].index)
    assert len(best) > 1, "the photos have to differ for the model"


def test_image_is_what_torchvision_cuts_and_resizes(photos):
    mean, std = (torch.tensor(IMAGENET[k]).view(3, 1, 1) for k in ("mean", "std"))
    for prediction in predict_photos(noisy_vit(), photos[:4], NAMES):
        expected = standard_preprocessing(prediction.path)[0] * std + mean  # (C, H, W)
        with Image.open(prediction.path) as photo:
            upright = photo.height > photo.width
        # Pillow rounds the rows of a box otherwise than those of a whole photo.
        most = 0.02 if upright else 1e-6
        assert (prediction.image / 255 - expected).abs().max() < most


def test_class_names_of_transformers_are_taken_and_its_backbones_refused(tmp_path):
    transformers = pytest.importorskip("transformers", reason="peers")
    config = transformers.ViTConfig(
        image_size=40,
        patch_size=8,
        hidden_size=44,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=52,
        id2label={i: f"name {i}" for i in range(7)},
    )
    transformers.logging.disable_progress_bar()
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "whole")
    transformers.ViTModel(config).save_pretrained(tmp_path / "backbone")
    assert load_classifier(tmp_path / "whole")[1] == NAMES
    with pytest.raises(InputError, match="no classification head.*train_transfer"):
        load_classifier(tmp_path / "backbone")


# Photos of any kind


def test_photos_are_turned_upright_before_they_are_cut(tmp_path):
    lying = Image.open(write_photo(tmp_path / "lying.png"))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    lying.save(tmp_path / "turned.png", exif=exif)
    lying.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "upright.png")
    paths = [tmp_path / f"{name}.png" for name in ("lying", "turned", "upright")]
    images = [p.image for p in predict_photos(noisy_vit(), paths, NAMES)]
    assert torch.equal(images[1], images[2]) and not torch.equal(images[0], images[1])


def test_grey_and_oblong_models_get_images_of_their_shape(photos):
    grey = noisy_vit(in_channels=1, image_size=(24, 40), mean=(0.4,), std=(0.3,))
    (prediction,) = predict_photos(grey, photos[:1], NAMES)
    assert prediction.image.shape == (1, 24, 40)
    assert sum(guess.probability for guess in prediction.guesses) <= 1


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1", "LA"])
def test_photos_of_every_colour_mode_are_read(mode, photos, tmp_path):
    path = tmp_path / "photo.tiff"
    Image.open(photos[2]).convert(mode).save(path)
    (prediction,) = predict_photos(noisy_vit(), [path], NAMES)
    assert prediction.image.shape == (3, 40, 40)


# What comes out


def test_guesses_are_sorted_and_named_and_no_more_than_asked_for(photos):
    model = noisy_vit()
    for top, count in ((1, 1), (3, 3), (7, 7), (100, 7)):
        for prediction in predict_photos(model, photos, NAMES, top=top):
            chances = [guess.probability for guess in prediction.guesses]
            assert len(chances) == count
            assert chances == sorted(chances, reverse=True)
            assert all(g.name == NAMES[g.index] for g in prediction.guesses)
    assert sum(chances) == pytest.approx(1, abs=1e-6)


def test_batch_size_changes_no_prediction(photos):
    model = noisy_vit()
    for size in (1, 2, 32):
        found = list(predict_photos(model, photos, NAMES, batch_size=size))
        assert [prediction.path for prediction in found] == photos
        if size == 1:
            alone = found
        for one, other in zip(alone, found, strict=True):
            assert [g.index for g in one.guesses] == [g.index for g in other.guesses]
            for a, b in zip(one.guesses, other.guesses, strict=True):
                assert a.probability == pytest.approx(b.probability, abs=1e-6)


def test_classify_builds_no_graph_and_gives_distributions():
    images = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    rows = classify(noisy_vit(), images)
    assert rows.shape == (2, 7) and not rows.requires_grad
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(2))


def test_unknown_names_are_numbers_and_known_ones_kept(tmp_path):
    save_model(tmp_path / "m.safetensors", noisy_vit(), ("cat", "dog"))
    names = load_classifier(tmp_path / "m.safetensors")[1]
    assert names == ("cat", "dog", *(f"class {i}" for i in range(2, 7)))


# Refusals


def test_bad_files_are_named_or_left_out_and_the_rest_keeps_its_order(photos, tmp_path):
    whole = write_photo(tmp_path / "whole.jpg", 300, 300).read_bytes()
    bad = {
        "truncated.jpg": whole[: len(whole) // 2],
        "text.png": b"no image",
        "empty.png": b"",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    bad = [tmp_path / name for name in bad]
    for path in bad:
        with pytest.raises(InputError, match=f"{path.name} is no readable image"):
            list(predict_photos(noisy_vit(), [photos[0], path], NAMES))
    mixed = [bad[0], photos[0], bad[1], photos[1], photos[2], bad[2]]
    noticed = []
    found = predict_photos(
        noisy_vit(),
        mixed,
        NAMES,
        batch_size=2,
        on_bad=lambda path, why: noticed.append((path, why)),
    )
    assert [prediction.path for prediction in found] == photos[:3]
    assert [path for path, _ in noticed] == bad
    assert "truncated" in noticed[0][1] and "format" in noticed[1][1]


def test_weights_that_cannot_classify_photos_are_refused(photos, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, noisy_vit(in_channels=4, mean=(0.5,), std=(0.5,)), NAMES)
    with pytest.raises(InputError, match="images of 4 channels"):
        load_classifier(path)
    model = noisy_vit()
    save_model(path, model, NAMES)
    with pytest.raises(InputError, match="4 heads, not 2"):
        load_classifier(path, num_heads=2)
    with torch.no_grad():
        model.head.bias[3] = float("nan")
    with pytest.raises(InputError, match=r"no finite scores for .*0\.png"):
        list(predict_photos(model, photos, NAMES))


# Finding photos


def test_folders_are_searched_through_and_files_kept_in_order(tmp_path):
    names = ["b.png", "a/z.JPG", "a/c/d.webp", "notes.txt", ".hidden/e.png", ".f.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_photos([tmp_path])
    assert found == [tmp_path / name for name in ("a/c/d.webp", "a/z.JPG", "b.png")]
    odd = tmp_path / "notes.txt"  # named outright, so it is tried
    assert find_photos([odd, tmp_path / "b.png", tmp_path]) == [
        odd,
        tmp_path / "b.png",
        *found[:2],
    ]
    assert find_photos([tmp_path], leave_out=[tmp_path / "b.png"]) == found[:2]


def test_missing_photos_and_folders_without_any_are_refused(tmp_path):
    with pytest.raises(InputError, match="no photo .*nothing.jpg"):
        find_photos([tmp_path / "nothing.jpg"])
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=f"folder '{tmp_path}' holds no photo"):
        find_photos([tmp_path])


def test_the_innermost_folder_that_names_a_class_counts(tmp_path):
    decomposed = "Ka\u0308se"  # as some systems write ä
    names = ["cat/dog/a.png", "cat/b.png", f"{decomposed}/c.png", "bee/d.png", "e.png"]
    for name in names:
        (tmp_path / "cat-photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cat-photos" / name).touch()
    root = tmp_path / "cat-photos"
    found = folder_classes(find_photos([root]), [root], ["cat", "dog", "Käse"])
    expected = dict(zip(names, ["dog", "cat", "Käse"], strict=False))
    assert found == {root / name: kind for name, kind in expected.items()}
    inside = folder_classes(find_photos([root / "cat"]), [root / "cat"], ["cat"])
    assert set(inside.values()) == {"cat"} and len(inside) == 2
    file = root / "cat/b.png"
    assert folder_classes([file], [file], ["cat"]) == {}, "no folder was given"


# The picture


def prediction(name="photo.png", guesses=5, of="class") -> Prediction:
    chances = [2.0 ** -(i + 1) for i in range(guesses)]
    return Prediction(
        name,
        torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8),
        tuple(Guess(f"{of} {i}", i, chance) for i, chance in enumerate(chances)),
    )


@pytest.mark.parametrize("count", [1, 2, 3, 24])
def test_picture_shows_each_photo_beside_its_bars(count):
    use_style()
    predictions = [prediction(f"{i}.png", guesses=3) for i in range(count)]
    figure = plot_predictions(predictions)
    shown = [cell for cell in figure.subfigs if cell.axes]
    assert len(shown) == count
    for cell, expected in zip(shown, predictions, strict=True):
        photo, bars = cell.axes
        assert cell.get_suptitle() == expected.path
        pixels = expected.image.permute(1, 2, 0) / 255  # (H, W, C)
        assert np.allclose(photo.images[0].get_array(), pixels)
        widths = [bar.get_width() for bar in bars.containers[1]]
        assert widths == [50, 25, 12.5]
        assert [t.get_text() for t in bars.get_yticklabels()] == [
            "50.0 %",
            "25.0 %",
            "12.5 %",
        ]
        assert [t.get_text() for t in bars.texts] == ["class 0", "class 1", "class 2"]


def test_picture_has_at_most_ten_bars_a_photo():
    bars = plot_predictions([prediction(guesses=40)]).subfigs[0].axes[1]
    assert len(bars.texts) == MOST_GUESSES == 10


ODD = [
    "$\\frac{",
    "a$b$_c^{",
    "line\nbreak\tand \x1b[31mred",
    "{%&#}",
    "\udcff",
    "w" * 999,
]


@pytest.mark.parametrize("name", ODD)
def test_odd_names_are_drawn_as_they_are_and_inside_the_picture(name, tmp_path):
    use_style()
    figure = plot_predictions([prediction(name, of=name), prediction(name)])
    figure.savefig(tmp_path / "p.png")
    for cell in figure.subfigs:
        title = cell.get_suptitle()
        assert "\n" not in title and title.removeprefix("…") in printable(name)
        for text in cell.axes[1].texts:
            assert not text.get_parse_math() and text.get_clip_on()
            assert len(text.get_text()) < 40


def test_printable_keeps_letters_and_escapes_what_moves_the_cursor():
    assert printable("Rückenfrei 名前 $x$") == "Rückenfrei 名前 $x$"
    assert printable("a\nb\x1b[2J\u202e\udcff") == "a\\nb\\x1b[2J\\u202e\\udcff"


def test_greys_of_16_bits_keep_their_brightness(tmp_path):
    """Pillow alone would clip them to white."""
    greys = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    Image.fromarray(greys).save(tmp_path / "deep.png")
    image = read_photo(tmp_path / "deep.png", 8)
    assert (image - torch.from_numpy(greys / 257)).abs().max() <= 0.5
