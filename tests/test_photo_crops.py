"""Photos cropped as bytes look as photos cropped as floats do."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from going_modular.data_setup import (
    Batches,
    ImageSet,
    load_photo,
    normalise,
    random_crop_and_flip,
    random_windows,
)
from going_modular.datasets.fast_batches import pixel_boxes, stretch_bytes
from going_modular.teaching.checks import check_close
from going_modular.training.settings import TrainingSettings


def random_crop_and_flip_bytes(*args, out=None, **options) -> torch.Tensor:
    stretch = partial(stretch_bytes, out=out)
    return random_crop_and_flip(*args, **options, stretch=stretch)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photos(height: int = 80, width: int = 64, count: int = 20) -> torch.Tensor:
    """Different photos, the channels of a pixel side by side."""
    cat = load_photo("chelsea", 224)
    parts = [cat[:, 2 * i : 2 * i + height, i : i + width] for i in range(count)]
    return torch.stack(parts).to(memory_format=torch.channels_last)


@pytest.mark.parametrize("min_area", [1e-6, 0.05, 0.9, 1.0])
def test_boxes_are_within_half_a_pixel_of_the_windows(min_area):
    windows = random_windows(2000, min_area, seeded())
    size = torch.tensor([70, 40])
    boxes = pixel_boxes(windows, size)
    corners, sides = boxes[:, :2], boxes[:, 2:]
    assert (corners >= 0).all() and (sides >= 1).all()
    assert (corners + sides <= size).all()
    exact = windows[:, [0, 1], [0, 1]].abs() * size
    assert ((sides - exact).abs() <= 0.5 + 1e-4)[exact > 0.5].all()
    left = (windows[:, :, 2] + 1) / 2 * size - exact / 2
    # A corner may have to give way by the half pixel that the side has grown by.
    assert ((corners - left).abs() <= 1 + 1e-4)[exact > 0.5].all()
    middle = (corners + sides / 2 - left - exact / 2).abs()
    assert middle[exact > 0.5].max() <= 0.75 + 1e-4


def test_boxes_at_the_edge_stay_inside():
    # 1.5 of 3 pixels above on the right, and a hundredth of a side below it
    half = torch.tensor([[-0.5, 0, 0.5], [0, 0.5, -0.5]])
    speck = torch.tensor([[0.01, 0, 0.99], [0, 0.01, 0.99]])
    boxes = pixel_boxes(torch.stack([half, speck]), torch.tensor([3, 3]))
    assert boxes.tolist() == [[1, 0, 2, 2], [2, 2, 1, 1]]


@pytest.mark.parametrize("flip", [True, False])
def test_each_crop_is_what_pillow_makes_of_the_same_box(flip):
    images = photos()
    crops = random_crop_and_flip_bytes(images, 0.1, seeded(1), flip)
    windows = random_windows(len(images), 0.1, seeded(1))
    boxes = pixel_boxes(windows, torch.tensor([64, 80])).tolist()
    assert crops.dtype == torch.uint8 and crops.shape == images.shape
    for image, crop, window, box in zip(images, crops, windows, boxes, strict=True):
        left, top, width, height = box
        photo = Image.fromarray(image.permute(1, 2, 0).numpy())
        photo = photo.crop((left, top, left + width, top + height))
        photo = photo.resize((64, 80), Image.Resampling.BILINEAR)
        if flip and window[0, 0] < 0:
            photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        expected = torch.from_numpy(np.array(photo)).permute(2, 0, 1)
        assert (crop.int() - expected.int()).abs().max() <= 1


def test_bytes_and_floats_look_through_the_same_windows():
    # Brightness rises along both sides: a shift of a pixel is a step of two levels.
    ramp = 2 * torch.arange(60).view(1, 1, 1, 60) + 2 * torch.arange(60).view(-1, 1)
    images = ramp.expand(50, 3, 60, 60).to(torch.uint8)
    crops = random_crop_and_flip_bytes(images, 0.2, seeded(3))
    floats = random_crop_and_flip(images.float(), 0.2, seeded(3))
    away = (crops.float() - floats).abs()
    assert away.max() < 4.5 and away.mean() < 1.2
    mirrored = crops.float().flip(-1) - floats
    assert mirrored.abs().mean() > 10  # so the bound above says something


def test_all_of_an_image_is_the_image_or_its_mirror():
    images = photos()
    mirrored = random_windows(len(images), 1.0, seeded(2))[:, 0, 0] < 0
    assert 0 < mirrored.sum() < len(images)
    crops = random_crop_and_flip_bytes(images, 1.0, seeded(2))
    assert torch.equal(crops[~mirrored], images[~mirrored])
    assert torch.equal(crops[mirrored], images[mirrored].flip(-1))


def test_crops_may_be_written_over_the_images():
    images = photos()
    expected = random_crop_and_flip_bytes(images, 0.1, seeded(4))
    other = torch.empty_like(images)
    assert random_crop_and_flip_bytes(images, 0.1, seeded(4), out=other) is other
    assert torch.equal(other, expected)
    assert torch.equal(images, photos())
    assert random_crop_and_flip_bytes(images, 0.1, seeded(4), out=images) is images
    assert torch.equal(images, expected)


def test_an_epoch_of_crops_leaves_the_set_as_it_was():
    data = ImageSet(photos(), torch.arange(20), tuple("abcdefghijklmnopqrst"))
    options = TrainingSettings().augmentations(data.images)
    for images, _ in Batches(data, 6, **options):
        assert images.isfinite().all()
    assert torch.equal(data.images, photos())


def test_memory_order_changes_no_byte():
    images = photos()
    crops = random_crop_and_flip_bytes(images, 0.1, seeded(4))
    planes = random_crop_and_flip_bytes(images.contiguous(), 0.1, seeded(4))
    assert images.stride() != images.contiguous().stride()
    assert torch.equal(crops, planes)
    assert crops.stride() == images.stride()


def test_a_share_is_cropped_as_in_the_whole_batch():
    images = photos()
    whole = random_crop_and_flip_bytes(images, 0.1, seeded(5))
    for start, end in ((0, 7), (7, 14), (14, 20)):
        part = random_crop_and_flip_bytes(
            images[start:end], 0.1, seeded(5), start=start, of=20
        )
        assert torch.equal(part, whole[start:end])


def test_impossible_area_is_named():
    with pytest.raises(ValueError, match="min_area must be above 0 and at most 1"):
        random_crop_and_flip_bytes(photos(), 0)


@pytest.mark.parametrize("side, name", [(47, "augment"), (48, "augment_bytes")])
@pytest.mark.parametrize("augment", ["crop", "crop-only"])
def test_settings_crop_large_images_as_bytes(side, name, augment):
    images = photos(side, side)
    settings = TrainingSettings(augment=augment, crop_area=0.3)
    ((given, crop),) = settings.augmentations(images).items()
    assert given == name
    flip = augment == "crop"
    if name == "augment":
        images = normalise(images)
        expected = random_crop_and_flip(images, 0.3, seeded(6), flip, 2, 30)
    else:
        expected = random_crop_and_flip_bytes(images, 0.3, seeded(6), flip, 2, 30)
    check_close(crop(images, seeded(6), start=2, of=30), expected, 0)


def test_settings_without_augmentation_name_none():
    assert TrainingSettings(augment="none").augmentations(photos()) == {}
