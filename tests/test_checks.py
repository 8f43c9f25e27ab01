"""checks: they pass what is right, and print both sides of what is wrong."""

import pytest
import torch

from going_modular.teaching.checks import check_close, check_shape


def test_check_shape_passes_the_shape_and_names_both_otherwise():
    check_shape(torch.zeros(2, 3), 2, 3)
    with pytest.raises(AssertionError, match=r"shape is \(2, 3\), not \(3, 2\)"):
        check_shape(torch.zeros(2, 3), 3, 2)
    with pytest.raises(AssertionError, match=r"shape is \(2, 3\), not \(2,\)"):
        check_shape(torch.zeros(2, 3), 2)


def test_check_close_gives_the_greatest_difference():
    assert check_close([1.0, 2.0], [1.0, 2.0]) == 0
    difference = check_close([1.0, 2.0], [1.25, 1.5], tolerance=0.5)
    assert difference == 0.5


@pytest.mark.parametrize(
    "left, right",
    [(3, 3.0), ([1, 2], torch.tensor([1.0, 2.0])), ([], []), (True, 1)],
    ids=str,
)
def test_check_close_takes_numbers_lists_and_tensors(left, right):
    check_close(left, right)


def test_check_close_takes_tensors_that_need_gradients():
    check_close(torch.ones(3, requires_grad=True), torch.ones(3))


def test_check_close_names_the_place_and_both_values():
    left, right = torch.zeros(2, 3), torch.zeros(2, 3)
    left[1, 2] = 0.5
    with pytest.raises(AssertionError, match=r"at \(1, 2\): 0.5 and 0"):
        check_close(left, right)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_check_close_refuses_values_that_are_no_finite_numbers(bad):
    with pytest.raises(AssertionError, match=r"at \(1,\)"):
        check_close([0.0, bad, 0.0], [0.0, 0.0, 0.0])


def test_check_close_does_not_broadcast():
    with pytest.raises(AssertionError, match=r"shapes differ: \(3,\) and \(1, 3\)"):
        check_close(torch.zeros(3), torch.zeros(1, 3))


def test_check_close_compares_in_double_precision():
    with pytest.raises(AssertionError):
        check_close(86_567_656, 86_567_657)
