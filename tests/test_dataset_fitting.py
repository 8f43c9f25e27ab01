"""Images brought into a model's size and channels, against Pillow and torchvision."""

import numpy as np
import pytest
import torch
from PIL import Image

from going_modular.data_setup import ImageSet, load_photo
from going_modular.datasets.fitting import fit_images, fit_set
from going_modular.teaching.checks import check_shape
from going_modular.teaching.toy import toy_config

PHOTO = load_photo("coffee", 96)[None]


def test_rgb_becomes_grey_as_pillow_does_it():
    fitted = fit_images(PHOTO, toy_config(image_size=96, in_channels=1))
    picture = Image.fromarray(PHOTO[0].permute(1, 2, 0).numpy()).convert("L")
    difference = fitted[0, 0].int() - torch.from_numpy(np.array(picture)).int()
    assert difference.abs().max() <= 1


def test_grey_becomes_rgb_by_repeating_it():
    grey = PHOTO[:, :1]
    fitted = fit_images(grey, toy_config(image_size=96))
    check_shape(fitted, 1, 3, 96, 96)
    assert all(torch.equal(fitted[:, channel], grey[:, 0]) for channel in range(3))


@pytest.mark.parametrize("size", [48, 160])
def test_resizing_agrees_with_pillow(size):
    fitted = fit_images(PHOTO, toy_config(image_size=size))
    picture = Image.fromarray(PHOTO[0].permute(1, 2, 0).numpy())
    expected = np.array(picture.resize((size, size), Image.Resampling.BICUBIC))
    difference = fitted[0].permute(1, 2, 0).int() - torch.from_numpy(expected).int()
    assert difference.abs().max() <= 2 and difference.abs().float().mean() < 0.1


def test_height_and_width_are_not_swapped():
    fitted = fit_images(PHOTO, toy_config(image_size=(40, 64)))
    check_shape(fitted, 1, 3, 40, 64)


def test_fitting_images_stay_the_same():
    assert fit_images(PHOTO, toy_config(image_size=96)) is PHOTO


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match="4 channels cannot become 3"):
        fit_images(torch.zeros(1, 4, 8, 8, dtype=torch.uint8), toy_config())


def test_a_set_keeps_labels_and_names():
    data = ImageSet(PHOTO, torch.tensor([1]), ("tea", "coffee"))
    fitted = fit_set(data, toy_config())
    check_shape(fitted.images, 1, 3, 40, 40)
    assert fitted.labels.tolist() == [1] and fitted.class_names == ("tea", "coffee")
