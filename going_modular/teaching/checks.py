"""Checks that print both sides when they fail, for notebooks, exercises and tests."""

import torch
from torch import Tensor

__all__ = ["check_close", "check_shape"]


def check_shape(tensor: Tensor, *shape: int) -> None:
    """Raise an AssertionError with both shapes unless the tensor has this shape."""
    assert tuple(tensor.shape) == shape, f"shape is {tuple(tensor.shape)}, not {shape}"


def check_close(left, right, tolerance: float = 1e-6) -> float:
    """Assert that two numbers, lists or tensors agree at every place.

    Args:
        left: What was computed.
        right: What it should be, of the same shape.
        tolerance: Greatest allowed absolute difference.

    Returns:
        The greatest absolute difference.

    Raises:
        AssertionError: Shapes or values differ; both sides are printed.
    """
    left, right = (torch.as_tensor(x).detach().cpu().double() for x in (left, right))
    assert left.shape == right.shape, (
        f"shapes differ: {tuple(left.shape)} and {tuple(right.shape)}"
    )
    if left.numel() == 0:
        return 0.0
    difference = (left - right).abs()
    greatest = difference.max().item()
    if not greatest <= tolerance:  # also true when the difference is not a number
        place = torch.unravel_index(
            difference.nan_to_num(nan=torch.inf).argmax(), left.shape
        )
        place = tuple(int(axis) for axis in place)
        raise AssertionError(
            f"differ by {greatest:.3g}, more than {tolerance:.3g}; at {place}: "
            f"{left[place].item():.6g} and {right[place].item():.6g}"
        )
    return greatest
