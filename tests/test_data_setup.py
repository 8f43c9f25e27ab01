"""Images, their normalisation and augmentation, and batches."""

import hashlib
import re
from importlib.resources import files

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from going_modular.data_setup import (
    PHOTOS,
    Batches,
    ImageSet,
    load_builtin,
    load_photo,
    normalise,
    square_tensor,
)
from going_modular.datasets.fast_batches import batches_from
from going_modular.datasets.windows import random_crop_and_flip, random_windows
from going_modular.teaching.checks import check_close
from going_modular.teaching.toy import toy_images

DATA = files("going_modular").joinpath("data")
ARCHIVE = "572a7aad9aca79b6268cac2e2fb2ff4770efd47f4cbdc5719be90e26a1d5ec81"


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def checksum(name: str) -> str:
    return hashlib.sha256(DATA.joinpath(name).read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def builtin():
    return load_builtin()


@pytest.fixture
def numbered():
    """Ten 1 x 1 images; each holds its number, and so does its label."""
    numbers = torch.arange(10)
    return ImageSet(numbers.to(torch.uint8).view(10, 1, 1, 1), numbers, ("a",) * 10)


# The files


def test_builtin_archive_is_the_one_that_was_made():
    assert checksum("fashion_mnist_subset.npz.xz") == ARCHIVE
    assert DATA.joinpath("fashion_mnist_subset.npz.xz").stat().st_size <= 6_000_000


def test_readme_states_the_checksum_of_every_data_file():
    stated = re.findall(
        r"^(\w{64})  (\S+)$", DATA.joinpath("README.md").read_text(), re.M
    )
    photos = {f"photos/{path.name}" for path in DATA.joinpath("photos").iterdir()}
    assert {name for _, name in stated} == {"fashion_mnist_subset.npz.xz"} | photos
    for stated_checksum, name in stated:
        assert checksum(name) == stated_checksum, name


def test_licence_of_fashion_mnist_is_shipped():
    licence = DATA.joinpath("LICENSE-fashion-mnist.txt").read_text()
    assert "Copyright (c) 2017 Zalando SE" in licence
    for words in ("Permission is hereby granted", 'PROVIDED "AS IS"', "DEALINGS IN"):
        assert words in licence


# The built-in images


def test_builtin_images_are_bytes_of_the_stated_shape(builtin):
    train, test = builtin
    assert train.images.shape == (13_500, 1, 28, 28)
    assert test.images.shape == (2_000, 1, 28, 28)
    for part in builtin:
        assert part.images.dtype == torch.uint8 and part.labels.dtype == torch.int64
        assert part.images.min() == 0 and part.images.max() == 255


def test_builtin_classes_are_balanced(builtin):
    train, test = builtin
    assert len(train.class_names) == 10
    assert train.labels.bincount().tolist() == [1350] * 10
    assert test.labels.bincount().tolist() == [200] * 10


def test_no_test_image_is_among_the_training_images(builtin):
    train, test = ({image.numpy().tobytes() for image in s.images} for s in builtin)
    assert not train & test


def test_class_names_belong_to_their_images(builtin):
    train, _ = builtin
    mean = {
        name: train.images[train.labels == label].float().mean(dim=(0, 1))
        for label, name in enumerate(train.class_names)
    }
    gaps = {name: (m[24, 10] - m[24, 13:15].mean()).item() for name, m in mean.items()}
    assert max(gaps, key=gaps.get) == "Trouser", "dark between the legs"
    tops = {name: m[:6].mean().item() for name, m in mean.items()}
    assert sorted(tops, key=tops.get)[:2] == ["Sneaker", "Sandal"], "flat shoes"


# Photos


def test_photo_agrees_with_crop_and_resize_of_torchvision():
    with Image.open(DATA.joinpath("photos/chelsea.jpg")) as photo:
        square = v2.functional.crop(photo, 0, 75, 300, 300)  # of 451 x 300
    resized = v2.functional.resize(square, [64, 64], v2.InterpolationMode.BICUBIC)
    expected = v2.functional.pil_to_tensor(resized)
    ours = load_photo("chelsea", 64)
    assert torch.equal(ours[:, :, 2:-2], expected[:, :, 2:-2])
    check_close(ours, expected, 2)  # at its sides ours sees the pixels beyond the cut


@pytest.mark.parametrize("name", PHOTOS)
def test_every_photo_loads_as_a_square(name):
    photo = load_photo(name)
    assert photo.shape == (3, 224, 224) and photo.dtype == torch.uint8


def test_unknown_photo_is_named():
    with pytest.raises(ValueError, match="no photo 'dog': choose from astronaut"):
        load_photo("dog")


@pytest.mark.parametrize("upright", [False, True])
def test_square_is_cut_from_the_middle(upright):
    pixels = np.zeros((12, 36, 3), np.uint8)
    pixels[:, :12, 0] = pixels[:, 12:24, 1] = pixels[:, 24:, 2] = 255
    if upright:
        pixels = pixels.transpose(1, 0, 2)
    square = square_tensor(Image.fromarray(pixels), 12)
    assert [plane.unique().tolist() for plane in square] == [[0], [255], [0]]


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_photos_of_any_mode_become_rgb(mode):
    photo = Image.new("RGB", (9, 7), "white").convert(mode)
    square = square_tensor(photo, 5)
    assert square.shape == (3, 5, 5) and (square == 255).all()


# Normalisation


def test_normalise_agrees_with_the_official_formula_at_every_byte():
    every_byte = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    check_close(normalise(every_byte), (every_byte.double() - 127.5) / 127.5, 1e-6)
    assert normalise(every_byte).dtype == torch.float32


@pytest.mark.parametrize(
    "mean, std",
    [((0.5,) * 3, (0.5,) * 3), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))],
)
def test_normalise_agrees_with_torchvision(mean, std):
    photo = load_photo("coffee", 32)
    scale = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    check_close(normalise(photo, mean, std), scale(photo), 1e-5)
    check_close(normalise(photo[None], mean, std)[0], scale(photo), 1e-5)


# Augmentation


@pytest.mark.parametrize("min_area", [0.05, 0.5, 0.9, 1.0])
def test_windows_keep_area_form_and_place(min_area):
    windows = random_windows(20_000, min_area, seeded())
    width, height = windows[:, 0, 0].abs(), windows[:, 1, 1]
    area, ratio = width * height, width / height
    slack = 1e-5
    assert min_area - slack <= area.min() and area.max() <= 1 + slack
    check_close(area.mean(), (1 + min_area) / 2, 0.01)  # all areas equally likely
    assert 3 / 4 - slack <= ratio.min() and ratio.max() <= 4 / 3 + slack
    for side, centre in ((width, windows[:, 0, 2]), (height, windows[:, 1, 2])):
        assert side.max() <= 1 + slack
        assert (centre.abs() + side).max() <= 1 + slack, "reaches beyond the image"


def test_small_windows_take_every_form_and_place():
    windows = random_windows(20_000, 0.05, seeded())
    windows = windows[windows[:, 0, 0].abs() * windows[:, 1, 1] < 0.5]
    width, height = windows[:, 0, 0].abs(), windows[:, 1, 1]
    ratio = width / height
    assert ratio.min() < 0.7501 and ratio.max() > 1.33
    for side, centre in ((width, windows[:, 0, 2]), (height, windows[:, 1, 2])):
        place = centre / (1 - side)  # -1 and 1: touches a border
        assert place.min() < -0.99 and place.max() > 0.99
        check_close(place.mean(), 0, 0.02)


def test_large_windows_are_nearly_square():
    """With area a, sides of at most 1 allow ratios from a to 1/a."""
    windows = random_windows(20_000, 0.8, seeded())
    width, height = windows[:, 0, 0].abs(), windows[:, 1, 1]
    area, ratio = width * height, width / height
    assert (area - 1e-5 <= ratio).all() and (ratio <= 1 / area + 1e-5).all()


def test_half_of_the_windows_are_mirrored():
    mirrored = random_windows(20_000, generator=seeded())[:, 0, 0] < 0
    check_close(mirrored.float().mean(), 0.5, 0.02)


@pytest.mark.parametrize("size", [(40, 40), (40, 24)])
def test_crop_shows_each_place_that_the_window_says(size):
    """Images of their own x and y show which place each output pixel was read from."""
    H, W = size
    v, u = ((torch.arange(n) + 0.5) * 2 / n - 1 for n in size)  # pixel centres, -1..1
    places = torch.stack([u.expand(H, W), v[:, None].expand(H, W)])  # (2, H, W)
    seen = random_crop_and_flip(places.repeat(9, 1, 1, 1), 0.05, seeded(3))
    for (w, h), (x, y), (seen_x, seen_y) in zip(
        random_windows(9, 0.05, seeded(3)).diagonal(dim1=1, dim2=2),
        random_windows(9, 0.05, seeded(3))[:, :, 2],
        seen,
        strict=True,
    ):
        check_close(seen_x, (w * u + x).clamp(u[0], u[-1]).expand(H, W), 1e-5)
        check_close(seen_y, (h * v + y).clamp(v[0], v[-1])[:, None].expand(H, W), 1e-5)


def test_crop_of_the_whole_area_is_the_image_or_its_mirror():
    images = toy_images().repeat(8, 1, 1, 1)
    cropped = random_crop_and_flip(images, min_area=1, generator=seeded())
    mirrored = random_windows(16, 1, seeded())[:, 0, 0] < 0
    assert 0 < mirrored.sum() < 16
    check_close(cropped[~mirrored], images[~mirrored], 1e-4)
    check_close(cropped[mirrored], images[mirrored].flip(-1), 1e-4)


def test_crop_depends_on_its_generator_alone():
    images = toy_images()
    first = random_crop_and_flip(images, generator=seeded(1))
    torch.rand(7)
    assert torch.equal(first, random_crop_and_flip(images, generator=seeded(1)))
    assert not torch.equal(first, random_crop_and_flip(images, generator=seeded(2)))


@pytest.mark.parametrize("min_area", [0, -0.1, 1.5])
def test_impossible_area_is_named(min_area):
    with pytest.raises(ValueError, match=f"at most 1, not {min_area}"):
        random_crop_and_flip(toy_images(), min_area)


# Sets and batches


def test_subset_keeps_images_and_labels_together(builtin):
    train, _ = builtin
    part = train.subset([13_499, 0, 5_000])
    assert part.labels.tolist() == [9, 0, 3] and len(part) == 3
    assert torch.equal(part.images[2], train.images[5_000])
    assert part.class_names == train.class_names


def test_image_set_refuses_missing_labels():
    with pytest.raises(ValueError, match="3 images but 2 labels"):
        ImageSet(torch.zeros(3, 1, 4, 4), torch.zeros(2), ("a",))


def test_batches_normalise_in_the_given_order(builtin):
    train, _ = builtin
    images, labels = next(iter(Batches(train, batch_size=4)))
    check_close(images, normalise(train.images[:4]), 0)
    assert images.dtype == torch.float32 and torch.equal(labels, train.labels[:4])


@pytest.mark.parametrize("size, sizes", [(3, [3, 3, 3, 1]), (5, [5, 5]), (20, [10])])
def test_last_batch_holds_the_rest(numbered, size, sizes):
    batches = Batches(numbered, size)
    assert [len(labels) for _, labels in batches] == sizes
    assert len(batches) == len(sizes)


def test_an_epoch_shows_each_image_once_beside_its_label(numbered):
    pairs = list(Batches(numbered, 3, shuffle=True, transform=lambda x: x.float()))
    numbers = torch.cat([images.flatten() for images, _ in pairs]).long()
    labels = torch.cat([labels for _, labels in pairs])
    assert torch.equal(numbers, labels)
    assert labels.tolist() != sorted(labels.tolist()) == list(range(10))


def epoch_images(data, epoch: int, seed: int = 0, shuffle: bool = True) -> torch.Tensor:
    options = dict(shuffle=shuffle, augment=random_crop_and_flip_half, seed=seed)
    batches = Batches(data, 32, epoch=epoch, **options)
    return torch.cat([images for images, _ in batches])


def test_without_flip_no_image_is_mirrored():
    slope = torch.linspace(-1, 1, 40).expand(64, 1, 40, 40)  # grows to the right
    kept = random_crop_and_flip(slope, 0.5, seeded(4), flip=False)
    mirrored = random_crop_and_flip(slope, 0.5, seeded(4))
    assert (kept[..., -1] > kept[..., 0]).all()
    assert (mirrored[..., -1] < mirrored[..., 0]).any()
    assert torch.equal(kept.sort(dim=-1)[0], kept)


def random_crop_and_flip_half(images, generator):
    return random_crop_and_flip(images, 0.5, generator)


@pytest.mark.parametrize("shuffle", [False, True])
def test_seed_and_epoch_bring_back_the_same_batches(builtin, shuffle):
    data = builtin[1].subset(slice(0, 2000, 20))
    first = epoch_images(data, epoch=3, shuffle=shuffle)
    torch.rand(5)  # other random numbers do not matter
    assert torch.equal(first, epoch_images(data, epoch=3, shuffle=shuffle))
    assert not torch.equal(first, epoch_images(data, epoch=4, shuffle=shuffle))
    assert not torch.equal(first, epoch_images(data, epoch=3, seed=1, shuffle=shuffle))


def test_a_run_that_goes_on_sees_the_batches_of_one_that_never_stopped(numbered):
    def order(batches):
        return torch.cat([labels for _, labels in batches]).tolist()

    steady = Batches(numbered, 4, shuffle=True)
    seen = []
    for epoch in range(3):
        steady.epoch = epoch
        seen.append(order(steady))
    assert order(Batches(numbered, 4, shuffle=True, epoch=2)) == seen[2]
    assert seen[0] != seen[1] != seen[2]


def test_batches_leave_the_global_random_numbers_alone(numbered):
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    list(Batches(numbered, 4, shuffle=True, augment=random_crop_and_flip_half))
    assert torch.equal(torch.rand(3), expected)


def test_augmentation_gets_normalised_images(numbered):
    got = []
    list(Batches(numbered, 10, augment=lambda x, generator: got.append(x) or x))
    check_close(got[0], normalise(numbered.images), 0)


@pytest.mark.parametrize("size", [0, -8])
def test_batch_size_below_one_is_named(numbered, size):
    with pytest.raises(ValueError, match=f"batch_size must be 1 or more, not {size}"):
        Batches(numbered, size)


def test_an_epoch_can_begin_with_any_of_its_batches(builtin):
    """They are as they would have been."""
    data = builtin[0].subset(slice(100))
    options = dict(shuffle=True, augment=random_crop_and_flip_half, seed=3, epoch=2)
    whole = list(Batches(data, 32, **options))
    for first in range(5):
        rest = list(batches_from(Batches(data, 32, **options), first))
        assert len(rest) == 4 - first
        for (x, y), (images, labels) in zip(rest, whole[first:], strict=True):
            assert torch.equal(x, images) and torch.equal(y, labels)
