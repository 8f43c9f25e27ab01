"""Memory is lent again once nobody needs what lies in it, and never before."""

import gc

import pytest
import torch
from torch import nn

from going_modular.data_setup import normalise
from going_modular.datasets.fast_batches import ReusedMemory, normaliser


def images(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("means", [{}, dict(mean=(0.1, 0.5, 0.9), std=(1, 2, 3))])
def test_floats_and_their_order_are_those_of_new_memory(order, means):
    batch = images(4, 3, 6, 5).to(memory_format=order)
    expected = normalise(batch, **means)
    found = normaliser(**means)(batch)
    assert torch.equal(found, expected) and found.dtype == expected.dtype
    assert found.stride() == expected.stride() == batch.stride()


def test_memory_that_nobody_needs_is_used_again():
    make = normaliser()
    batch = make(images(4, 3, 6, 5))
    place = batch.data_ptr()
    del batch
    assert make(images(3, 3, 6, 5)).data_ptr() == place  # a short batch fits as well
    assert make(images(4, 3, 6, 5)).data_ptr() == place


def test_a_larger_batch_gets_new_memory():
    make = normaliser()
    make(images(2, 3, 6, 5))
    large = make(images(4, 3, 6, 5))
    assert torch.equal(large, normalise(images(4, 3, 6, 5)))


def test_batches_that_are_kept_keep_their_floats():
    make = normaliser()
    pictures = [images(4, 3, 6, 5) // (i + 1) for i in range(5)]
    batches = [make(picture) for picture in pictures]
    assert len({batch.data_ptr() for batch in batches}) == 5
    for batch, picture in zip(batches, pictures, strict=True):
        assert torch.equal(batch, normalise(picture))


def use_view(batch):
    return batch[1:, 0]


def use_detached(batch):
    return batch.detach().permute(0, 2, 3, 1)


def use_numpy(batch):
    return torch.from_numpy(batch.numpy()[:2])


@pytest.mark.parametrize("use", [use_view, use_detached, use_numpy])
def test_a_view_keeps_the_memory(use):
    make = normaliser()
    view = use(make(images(4, 3, 6, 5)))
    kept = view.clone()
    gc.collect()
    other = make(255 - images(4, 3, 6, 5))
    assert torch.equal(view, kept)
    place = view.data_ptr() - 4 * view.storage_offset()
    assert other.data_ptr() != place
    del view, other
    assert len({make(images(4, 3, 6, 5)).data_ptr() for _ in range(4)}) == 1


def test_what_autograd_needs_keeps_the_memory():
    make = normaliser()
    convolution = nn.Conv2d(3, 2, 1)
    convolution(normalise(images(4, 3, 6, 5))).sum().backward()
    expected, convolution.weight.grad = convolution.weight.grad, None
    loss = convolution(make(images(4, 3, 6, 5))).sum()
    make(255 - images(4, 3, 6, 5))
    loss.backward()
    assert torch.equal(convolution.weight.grad, expected)


def test_no_memory_is_lent_twice_at_once():
    memory = ReusedMemory()
    first, second = (memory.empty_like(images(2, 3, 4, 4)) for _ in range(2))
    places = {first.data_ptr(), second.data_ptr()}
    del first, second
    third, fourth = (memory.empty_like(images(2, 3, 4, 4)) for _ in range(2))
    assert {third.data_ptr(), fourth.data_ptr()} == places
