"""Fast batches hold what notebook 01's do, and photos cropped as bytes look alike."""

import numpy as np
import pytest
import torch
from exactness import check_same
from PIL import Image

from going_modular.data_setup import (
    PHOTOS,
    Batches,
    ImageSet,
    load_photo,
)
from going_modular.datasets.fast_batches import (
    CROPPED_AS_BYTES_FROM,
    PADDING,
    FastBatches,
    normaliser,
    pixel_boxes,
    stretch_bytes,
    take,
)
from going_modular.datasets.windows import random_crop_and_flip, random_windows
from going_modular.training.settings import TrainingSettings


def random_crop_and_flip_bytes(
    images, min_area, generator, flip=True, out=None
) -> torch.Tensor:
    """What `random_crop_and_flip` does, with bytes."""
    windows = random_windows(len(images), min_area, generator, flip)
    return stretch_bytes(images, windows, out=out)


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
    for images, _ in FastBatches(data, 6, crop_area=0.5):
        assert images.isfinite().all()
    assert torch.equal(data.images, photos())


def test_memory_order_changes_no_byte():
    images = photos()
    crops = random_crop_and_flip_bytes(images, 0.1, seeded(4))
    planes = random_crop_and_flip_bytes(images.contiguous(), 0.1, seeded(4))
    assert images.stride() != images.contiguous().stride()
    assert torch.equal(crops, planes)
    assert crops.stride() == images.stride()


def photo_set(side: int) -> ImageSet:
    return ImageSet(photos(side, side), torch.arange(20), tuple("abcdefghijklmnopqrst"))


@pytest.mark.parametrize("flip", [True, False])
def test_small_images_give_the_very_batches_of_notebook_01(flip):
    def crop(images, generator):
        return random_crop_and_flip(images, 0.3, generator, flip)

    data = photo_set(CROPPED_AS_BYTES_FROM - 1)
    options = dict(shuffle=True, seed=3, epoch=2)
    taught = list(Batches(data, 6, augment=crop, **options))
    fast = FastBatches(
        data, 6, crop_area=0.3, flip=flip, transform=normaliser(), **options
    )
    check_same(list(fast), taught)
    check_same(list(fast.starting_at(2)), taught[2:])


def test_photos_are_cropped_as_bytes_through_the_windows_of_notebook_01():
    data = photo_set(CROPPED_AS_BYTES_FROM)
    taught = Batches(data, 6, augment=lambda x, g: random_crop_and_flip(x, 0.9, g))
    for (ours, labels), (theirs, also) in zip(
        FastBatches(data, 6, crop_area=0.9), taught, strict=True
    ):
        assert torch.equal(labels, also)
        away = (ours - theirs).abs()
        assert 0 < away.mean() < 0.06, "half a pixel of a photo from -1 to 1"
        assert (ours.flip(-1) - theirs).abs().mean() > 0.1


def test_batches_without_crops_are_those_of_notebook_01():
    data = photo_set(60)
    check_same(list(FastBatches(data, 6)), list(Batches(data, 6)))


def test_settings_say_how_to_crop():
    settings = TrainingSettings(augment="crop-only", crop_area=0.3)
    unchanged = {"randaugment": 0, "repeats": 1}
    assert settings.crops == {"crop_area": 0.3, "flip": False, **unchanged}
    assert TrainingSettings(augment="crop").crops["flip"]
    assert TrainingSettings(augment="none").crops == unchanged
    more = TrainingSettings(augment="none", randaugment=9, repeats=3)
    assert more.crops == {"randaugment": 9, "repeats": 3}


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_images_are_taken_in_any_order_and_keep_that_of_their_memory(order):
    photos = torch.stack([load_photo(name, 16) for name in PHOTOS])
    photos = photos.to(memory_format=order)  # (4, 3, 16, 16)
    places = torch.tensor([2, 0, 2])
    taken = take(photos, places)
    assert torch.equal(taken, photos[places])
    assert taken.stride() == photos.stride()
    taken.zero_()
    assert photos.any()  # copies


def test_impossible_area_is_named():
    with pytest.raises(ValueError, match="min_area must be above 0 and at most 1"):
        list(FastBatches(photo_set(60), 6, crop_area=0.0))


# Shares of a batch


def numbered_set(count: int, side: int) -> ImageSet:
    images = torch.randint(256, (count, 3, side, side), generator=seeded())
    return ImageSet(images.byte(), torch.arange(count), tuple(map(str, range(count))))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize(
    ("side", "crop_area"), [(12, None), (12, 0.3), (CROPPED_AS_BYTES_FROM, 0.3)]
)
def test_shares_together_are_the_batch_and_of_one_length(count, side, crop_area):
    """12 images in batches of 5: the last one has 2, fewer than some processes are."""
    data = numbered_set(12, side)
    about = dict(shuffle=True, crop_area=crop_area, seed=3, epoch=2)
    whole = list(FastBatches(data, 5, **about))
    parts = [
        list(FastBatches(data, 5, **about, rank=rank, count=count))
        for rank in range(count)
    ]
    assert [len(part) for part in parts] == [3] * count
    for place, (images, labels) in enumerate(whole):
        pairs = [part[place] for part in parts]
        assert len({len(y) for _, y in pairs}) == 1 and len(pairs[0][1]) > 0
        assert all(len(x) == len(y) for x, y in pairs)
        x, y = (torch.cat(tensors) for tensors in zip(*pairs, strict=True))
        check_same(y[y != PADDING], labels)
        torch.testing.assert_close(x[y != PADDING], images)
        if side != 12 or crop_area is None:
            check_same(x[y != PADDING], images)


def test_a_share_goes_on_from_the_middle_of_an_epoch():
    about = dict(shuffle=True, crop_area=0.3, seed=3, epoch=1, rank=1, count=2)
    whole = list(FastBatches(numbered_set(12, 12), 5, **about))
    rest = FastBatches(numbered_set(12, 12), 5, **about).starting_at(2)
    check_same(list(rest), whole[2:])
