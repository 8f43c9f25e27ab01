"""utils: seeds and devices."""

import random

import numpy as np
import pytest
import torch

from going_modular.errors import InputError
from going_modular.utils import (
    choose_device,
    describe_machine,
    is_out_of_memory,
    set_seeds,
)


def draw() -> tuple:
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_same_seed_gives_the_same_numbers_in_python_numpy_and_torch():
    set_seeds(7)
    first = draw()
    set_seeds(7)
    assert draw() == first
    set_seeds(8)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_seeds_beyond_numpys_range_are_taken():
    set_seeds(2**32 + 5)
    first = draw()
    set_seeds(2**32 + 5)
    assert draw() == first


def pretend(monkeypatch, gpus: int, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    "gpus, mps, best", [(2, False, "cuda:0"), (0, True, "mps"), (0, False, "cpu")]
)
def test_auto_takes_the_fastest_device_there_is(monkeypatch, gpus, mps, best):
    pretend(monkeypatch, gpus, mps)
    assert choose_device() == choose_device("auto") == torch.device(best)


def test_named_devices_are_taken_when_they_are_there(monkeypatch):
    pretend(monkeypatch, gpus=2, mps=False)
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("cuda") == torch.device("cuda:0")
    assert choose_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "tpu", ""])
def test_missing_device_is_named_with_those_there_are(monkeypatch, name):
    pretend(monkeypatch, gpus=0, mps=False)
    with pytest.raises(InputError, match=f"no device '{name}' here: choose from cpu"):
        choose_device(name)


def test_input_error_can_be_caught_as_value_error():
    assert issubclass(InputError, ValueError)


def test_the_machine_is_described():
    about = describe_machine()
    assert about["processor"] and about["threads"] == torch.get_num_threads()
    assert about["torch"] == torch.__version__


@pytest.mark.parametrize("sizes", [(2**63, 4), (2**62, 48), (10**30,)], ids=str)
def test_sizes_that_no_number_holds_are_a_matter_of_memory(sizes):
    with pytest.raises((RuntimeError, TypeError)) as refusal:
        torch.empty(sizes)
    assert is_out_of_memory(refusal.value)
    assert not is_out_of_memory(TypeError("'int' object is not callable"))
