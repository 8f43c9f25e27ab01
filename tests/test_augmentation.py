"""RandAugment, mixup, CutMix, repeated images: what they do, and that they repeat."""

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import train
from going_modular.checkpoint import load_checkpoint
from going_modular.data_setup import ImageSet
from going_modular.datasets.augmentation import Mixing, rand_augment
from going_modular.datasets.fast_batches import PADDING, FastBatches
from going_modular.training import run as training_run
from going_modular.training.run_folder import CHECKPOINT
from going_modular.training.settings import TrainingSettings
from going_modular.training.steps import gradients_in_parts

NAMES = tuple("abc")


@pytest.fixture
def images():
    stream = torch.Generator().manual_seed(0)
    size = (8, 3, 16, 16)
    return torch.randint(0, 256, size, dtype=torch.uint8, generator=stream)


def test_each_image_is_changed_in_its_own_way_that_the_key_decides(images):
    same = images[:1].expand(8, -1, -1, -1)
    changed = rand_augment(same, 9, (0, 1))
    assert changed.shape == same.shape and changed.dtype == torch.uint8
    assert len({bytes(image.flatten().tolist()) for image in changed}) > 4
    assert torch.equal(rand_augment(same, 9, (0, 1)), changed)
    assert not torch.equal(rand_augment(same, 9, (0, 2)), changed)


def test_a_part_of_a_batch_is_changed_as_in_the_whole(images):
    whole = rand_augment(images, 9, (0,))
    parts = [rand_augment(images[i : i + 3], 9, (0,), first=i) for i in (0, 3, 6)]
    assert torch.equal(torch.cat(parts), whole)


def test_the_shared_random_numbers_go_on_as_if_nothing_had_happened(images):
    before = torch.get_rng_state()
    rand_augment(images, 9, (0,))
    Mixing(3, 0.8, 1.0)(images.float(), torch.arange(8) % 3, (0,))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)])
def test_labels_are_mixed_in_the_shares_of_the_images(mixup, cutmix):
    """Each class has a brightness of its own, so the mean tells the shares."""
    labels = torch.arange(6) % 3
    brightness = torch.eye(3)[labels][:, :, None, None].expand(-1, -1, 32, 32)
    kinds = set()
    for key in range(20):
        mixed, shares = Mixing(3, mixup, cutmix)(brightness, labels, (key,))
        torch.testing.assert_close(mixed.mean((2, 3)), shares)
        torch.testing.assert_close(shares.sum(1), torch.ones(6))
        kinds.add("pasted" if mixed.unique().numel() <= 2 else "laid over")
    assert len(kinds) == bool(mixup) + bool(cutmix)


def test_what_stands_for_no_class_keeps_no_share():
    labels = torch.full((4,), PADDING)
    _, shares = Mixing(3, 0.8, 0.0)(torch.zeros(4, 1, 8, 8), labels, (0,))
    assert not shares.any()


@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_learns_the_shares(parts):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    images, shares = torch.randn(6, 1, 2, 2), torch.rand(6, 3).softmax(1)
    labels = torch.arange(6) % 3
    loss, correct = gradients_in_parts(
        model, images, labels, 0.1, parts, mix=lambda x, y: (x, shares)
    )
    expected = F.cross_entropy(model(images), shares, label_smoothing=0.1)
    torch.testing.assert_close(loss, expected.detach())
    (gradient,) = torch.autograd.grad(expected, model[1].weight)
    torch.testing.assert_close(model[1].weight.grad, gradient)
    assert correct == (model(images).argmax(1) == labels).sum()


def test_an_epoch_with_repeats_is_as_long_and_sees_fewer_images():
    data = ImageSet(torch.zeros(10, 1, 2, 2), torch.arange(10) % 3, NAMES)
    order = FastBatches(data, 4, shuffle=True, repeats=3).order()
    assert len(order) == 10
    assert order.unique(return_counts=True)[1].sort().values.tolist() == [1, 3, 3, 3]
    assert len(FastBatches(data, 4, shuffle=True).order().unique()) == 10


def test_images_of_a_batch_are_changed_before_they_are_cropped(images):
    data = ImageSet(images, torch.arange(8) % 3, NAMES)
    plain, changed = (
        torch.cat([x for x, _ in FastBatches(data, 4, randaugment=m)]) for m in (0, 9)
    )
    assert plain.shape == changed.shape and not torch.equal(plain, changed)


@pytest.mark.parametrize(
    ("name", "value"),
    [("randaugment", 31), ("mixup", -0.1), ("cutmix", float("inf")), ("repeats", 0)],
)
def test_values_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        TrainingSettings(**{name: value})


def test_a_run_with_all_of_them_that_is_stopped_ends_the_same(tmp_path, monkeypatch):
    flags = "--data digits --embedding-dim 12 --depth 1 --num-heads 2 --mlp-size 20 "
    flags += "--epochs 2 --quiet --randaugment 9 --mixup 0.8 --cutmix 1 --repeats 2"
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert train.main([*flags.split(), "--output", str(whole)]) == 0
    save = training_run.save_checkpoint

    def save_then_stop(*args, **kwargs):
        save(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(training_run, "save_checkpoint", save_then_stop)
    again = ["--output", str(stopped), "--quiet"]
    assert train.main([*flags.split(), "--output", str(stopped)]) == 130
    monkeypatch.undo()
    assert load_checkpoint(stopped / CHECKPOINT)["trainer"]["epoch"] == 1
    assert train.main([*again, "--resume"]) == 0
    weights = [folder / "model.safetensors" for folder in (whole, stopped)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    results = [pd.read_pickle(folder / "results.pkl") for folder in (whole, stopped)]
    assert results[0].equals(results[1])
