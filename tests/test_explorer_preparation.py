"""A photo and a model, brought together: sizes, positions, heads, and the picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from going_modular.attention_maps import attention_rollout
from going_modular.config import ViTConfig
from going_modular.data_setup import normalise
from going_modular.errors import InputError
from going_modular.explorer.data import explore_image
from going_modular.explorer.picture import class_token_maps, plot_explanation
from going_modular.explorer.preparation import (
    add_head,
    choose_layers,
    has_head,
    read_image,
    resize_weights,
)
from going_modular.inspection.capture import capture
from going_modular.plots.attention import BRIGHTEST
from going_modular.plots.style import WIDTH, use_style
from going_modular.predictions import load_classifier
from going_modular.pretrained import export_state_dict, from_pretrained
from going_modular.system.files import write_files
from going_modular.vit import ViT
from going_modular.weights.reading import read_pretrained

CONFIG = ViTConfig(
    image_size=16,
    patch_size=4,
    embedding_dim=12,
    depth=3,
    num_heads=2,
    mlp_size=20,
    num_classes=6,
)


def noisy(config: ViTConfig = CONFIG) -> ViT:
    """A model whose heads and layers look at different patches."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        model = ViT(config)
        for parameter in model.parameters():
            parameter += 0.5 * torch.randn(parameter.shape)
    return model.eval()


def found(config: ViTConfig = CONFIG):
    return read_pretrained(export_state_dict(noisy(config), "timm"), config.num_heads)


def mosaic(rows: int, columns: int, side: int) -> Image.Image:
    """Squares of side pixels: red tells the row, green the column."""
    array = np.zeros((rows, columns, 3), np.uint8)
    array[..., 0] = 20 * np.arange(rows)[:, None] + 10
    array[..., 1] = 20 * np.arange(columns) + 10
    return Image.fromarray(array.repeat(side, 0).repeat(side, 1))


def centres(image: torch.Tensor, patch_size: int) -> torch.Tensor:
    """Row and column that the middle of each patch tells, (rows, columns, 2)."""
    middle = image[:2, patch_size // 2 :: patch_size, patch_size // 2 :: patch_size]
    return middle.permute(1, 2, 0).float().sub(10).div(20).round()


def grid(rows: int, columns: int) -> torch.Tensor:
    indices = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    return indices.view(rows, columns, 2).float()


# Photos


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (4, 4), (4, 12)])
def test_patches_of_a_whole_photo_are_where_they_should_be(shape, tmp_path):
    mosaic(*shape, side=9).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", CONFIG, whole=True)
    assert image.dtype == torch.uint8
    assert tuple(image.shape) == (3, 4 * shape[0], 4 * shape[1])
    torch.testing.assert_close(centres(image, 4), grid(*shape))


def test_central_square_is_what_is_seen_otherwise(tmp_path):
    mosaic(4, 8, side=9).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", CONFIG)
    assert tuple(image.shape) == (3, 16, 16)
    torch.testing.assert_close(centres(image, 4), grid(4, 8)[:, 2:6])


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_photos_are_turned_upright(orientation, whole, tmp_path):
    upright = mosaic(4, 7, side=16)
    turn = {3: Image.ROTATE_180, 6: Image.ROTATE_90, 8: Image.ROTATE_270}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright.transpose(turn).save(tmp_path / "turned.png", exif=exif)
    upright.save(tmp_path / "upright.png")
    images = [
        read_image(tmp_path / f"{name}.png", CONFIG, whole)
        for name in ("turned", "upright")
    ]
    torch.testing.assert_close(*images)


@pytest.mark.parametrize("size", [(31, 30), (100, 37), (37, 100), (48, 12), (5, 5)])
def test_longer_side_is_the_nearest_multiple_of_the_patch(size, tmp_path):
    Image.new("RGB", size).save(tmp_path / "a.png")
    height, width = read_image(tmp_path / "a.png", CONFIG, whole=True).shape[1:]
    exact = 16 * max(size) / min(size)
    assert min(height, width) == 16 and max(height, width) % 4 == 0
    assert abs(max(height, width) - exact) <= 2
    assert (width > height) == (size[0] > size[1] and max(height, width) > 16)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "F"])
def test_square_photo_of_any_mode_is_the_same_whole(mode, tmp_path):
    base = mosaic(4, 4, side=10)
    photo = (
        Image.fromarray(257 * np.array(base.convert("L")).astype(np.uint16))
        if mode == "I;16"
        else base.convert(mode)
    )
    assert photo.mode == mode
    photo.save(tmp_path / "a.tif")
    square, whole = (
        read_image(tmp_path / "a.tif", CONFIG, whole) for whole in (False, True)
    )
    torch.testing.assert_close(square, whole)
    assert len(square.unique()) > 1 or mode in ("I;16", "F")


def test_channels_are_those_of_the_model(tmp_path):
    mosaic(4, 7, side=9).save(tmp_path / "a.png")
    grey = replace(CONFIG, in_channels=1)
    for whole, shape in ((False, (1, 16, 16)), (True, (1, 16, 28))):
        image = read_image(tmp_path / "a.png", grey, whole)
        assert tuple(image.shape) == shape


def test_model_of_a_long_image_keeps_its_size_for_the_square(tmp_path):
    mosaic(4, 4, side=9).save(tmp_path / "a.png")
    long = replace(CONFIG, image_size=(16, 24))
    assert tuple(read_image(tmp_path / "a.png", long).shape) == (3, 16, 24)
    assert tuple(read_image(tmp_path / "a.png", long, True).shape) == (3, 16, 16)


@pytest.mark.parametrize(
    ("size", "whole", "complaint"),
    [
        ((3, 9), False, "is 3 x 9 pixels, smaller than one patch of 4 x 4"),
        ((9, 3), True, "is 9 x 3 pixels, smaller than one patch of 4 x 4"),
        ((81, 20), True, "is 81 x 20 pixels, one side more than 4 times the other"),
        ((20, 81), True, "is 20 x 81 pixels, one side more than 4 times the other"),
    ],
)
def test_photos_that_do_not_fit_are_refused(size, whole, complaint, tmp_path):
    Image.new("RGB", size).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=complaint):
        read_image(tmp_path / "a.png", CONFIG, whole)


# Weights


@pytest.mark.parametrize("shape", [(16, 28), (28, 16)])
def test_resized_weights_are_those_of_the_model_built_for_that_size(shape):
    ours, names = load_classifier(resize_weights(found(), shape))
    right = from_pretrained(found(), image_size=shape, quiet=True)
    assert ours.config == right.config and len(names) == 6
    torch.testing.assert_close(ours.state_dict(), right.state_dict())


def test_weights_of_the_same_size_stay_themselves():
    weights = found()
    assert resize_weights(weights, (16, 16)) is weights


def test_backbone_gets_a_head_that_changes_no_attention():
    weights = found()
    backbone = replace(
        weights,
        weights={k: w for k, w in weights.weights.items() if not k.startswith("head")},
    )
    assert has_head(weights) and not has_head(backbone)
    assert add_head(weights) is weights
    x = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    with_head, without = (
        capture(load_classifier(add_head(w))[0], x) for w in (weights, backbone)
    )
    torch.testing.assert_close(with_head.attention, without.attention)
    assert without.logits.shape == (1, 1) and "head.weight" not in backbone.weights


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        ((None, None, None), ([1, 2, 3], 3)),
        ((None, 1, 2), ([1, 2, 3], 1)),
        (([1, 2], None, 1), ([1, 2], 2)),
    ],
)
def test_what_is_left_open_is_filled_in(choice, chosen):
    assert choose_layers(CONFIG, *choice) == chosen


@pytest.mark.parametrize(
    ("choice", "complaint"),
    [
        ((None, 4, None), "no layer 4: this model has layers 1 to 3"),
        ((None, 0, None), "no layer 0: this model has layers 1 to 3"),
        (([1, 9], 1, None), "no layer 9: this model has layers 1 to 3"),
        (([1, 2], 3, None), "--layer 3 is not among --layers 1,2"),
        ((None, None, 3), "no head 3: this model has heads 1 to 2"),
        ((None, None, 0), "no head 0: this model has heads 1 to 2"),
    ],
)
def test_layers_and_heads_that_are_not_there_are_refused(choice, complaint):
    with pytest.raises(InputError, match=complaint):
        choose_layers(CONFIG, *choice)


# The picture


@pytest.fixture
def explored(tmp_path):
    """A landscape image, its model and what was found in it."""
    mosaic(4, 7, side=9).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png", CONFIG, whole=True)
    model = noisy(replace(CONFIG, image_size=(16, 28)))
    names = ("cat", "$x$", "dog", "w" * 200, "名前", "bee")
    return image, model, explore_image(model, image, names, "a.png", layers=[1, 3])


@pytest.mark.parametrize("layer", [1, 3])
@pytest.mark.parametrize("head", [None, 1, 2])
def test_picture_shows_the_weights_that_capture_gives(explored, layer, head):
    image, model, exploration = explored
    x = normalise(image[None], CONFIG.mean, CONFIG.std)
    attention = capture(model, x).attention[:, 0]  # (L, nh, T, T)
    heads = [0, 1] if head is None else [head - 1]
    maps = class_token_maps(exploration, layer, head)
    for ours, right in (
        (maps["attention"], attention[layer - 1, heads, 0]),  # (heads, T)
        (maps["rollout"], attention_rollout(attention)[layer - 1, :1]),  # (1, T)
    ):
        step = right.amax(1).mean().item() / 510
        assert np.abs(ours - right.mean(0).numpy()).max() <= 1.001 * step

    fig = plot_explanation(image, exploration, layer, head)
    for place, kind in ((1, "attention"), (2, "rollout")):
        shown = fig.axes[2 * place - 1].images[1]
        drawn = np.asarray(shown.get_array())
        np.testing.assert_allclose(drawn, maps[kind][1:].reshape(4, 7), rtol=1e-6)
        assert shown.get_extent() == [0, 28, 16, 0], "patch on patch"
        end = np.quantile(drawn, BRIGHTEST, method="lower")
        assert shown.get_clim() == (0, pytest.approx(end))


def test_picture_says_what_it_shows(explored):
    image, _, exploration = explored
    fig = plot_explanation(image, exploration, 3, 2)
    texts = [ax.get_title() for ax in fig.axes]
    assert texts[0] == "what the model sees\n4 x 7 patches of 4 x 4"
    assert "class token's attention\nlayer 3, head 2" in texts
    assert "rollout to the class token\nlayers 1 to 3" in texts
    bars = fig.axes[-1]
    widths = [bar.get_width() for bar in bars.patches[5:]]
    probabilities = [p["probability"] for p in exploration.description["predictions"]]
    assert widths == pytest.approx([100 * p for p in probabilities])
    assert bars.get_ylim()[0] > bars.get_ylim()[1], "the likeliest on top"


def test_one_bright_patch_leaves_the_others_their_colours(explored):
    """As with real weights, where a patch of the background may take nearly all."""
    image, _, exploration = explored
    attention = exploration.attention.copy()
    rollout = exploration.rollout.copy()
    for steps in (attention, rollout):
        steps[..., 1:] = np.minimum(steps[..., 1:], 20)
        steps[..., 5] = 255
    outshone = replace(exploration, attention=attention, rollout=rollout)
    fig = plot_explanation(image, outshone, 3)
    for ax in (fig.axes[1], fig.axes[3]):
        shown = ax.images[1]
        values = np.sort(shown.get_array().ravel())
        assert values[-1] > 8 * values[-2]
        assert shown.get_clim()[1] == pytest.approx(values[-2])
        assert shown.colorbar.extend == "max"


def test_borders_are_those_of_the_patches(explored):
    image, _, exploration = explored
    ax = plot_explanation(image, exploration, 1).axes[0]
    rows, columns = (
        {x for segment in lines.get_segments() for x in segment[:, axis]}
        for lines, axis in ((ax.collections[0], 1), (ax.collections[1], 0))
    )
    assert rows == set(range(0, 17, 4)) and columns == set(range(0, 29, 4))


@pytest.mark.parametrize("shape", [(16, 16), (16, 64), (64, 16), (16, 36)])
@pytest.mark.parametrize("top", [0, 5])
def test_panels_lie_in_the_picture_and_apart(shape, top):
    use_style()
    model = noisy(replace(CONFIG, image_size=shape))
    image = torch.zeros(3, *shape, dtype=torch.uint8)
    exploration = explore_image(model, image, list("abcdef"), "a" * 300, top=top)
    fig = plot_explanation(image, exploration, 3)
    fig.canvas.draw()
    assert fig.get_figwidth() == WIDTH
    boxes = [ax.get_tightbbox() for ax in fig.axes]
    assert len(boxes) == (6 if top else 5)
    for i, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= fig.bbox.x1
        assert 0 <= box.y0 < box.y1 <= fig.bbox.y1
        for other in boxes[:i]:
            assert not box.overlaps(other)


# Files


def test_files_are_written_all_or_none(tmp_path):
    def fail(path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    (tmp_path / "b").write_text("mine")
    good = lambda path: path.write_text("new")  # noqa: E731
    with pytest.raises(InputError, match=r"cannot write .*b \(No space"):
        write_files({tmp_path / "a": good, tmp_path / "b": fail})
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b").read_text() == "mine"
    write_files({tmp_path / "a": good, tmp_path / "b": good})
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == dict(a="new", b="new")
