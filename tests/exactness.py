"""Comparing everything in two states, bit by bit."""

import torch
from torch import Tensor

__all__ = ["check_same"]


def check_same(left, right, where: str = "state") -> None:
    """Raise an error unless two nested states hold the same bits in the same order.

    0.0 and -0.0 are two numbers here, and nan is the same as nan.
    """
    assert type(left) is type(right), f"{where}: {type(left)} and {type(right)}"
    if isinstance(left, Tensor):
        kinds = [(x.dtype, tuple(x.shape)) for x in (left, right)]
        assert kinds[0] == kinds[1], f"{where}: {kinds[0]} and {kinds[1]}"
        assert torch.equal(bits(left), bits(right)), f"{where} differs"
    elif isinstance(left, dict):
        check_same(list(left), list(right), f"keys of {where}")
        for key in left:
            check_same(left[key], right[key], f"{where}[{key!r}]")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), f"{where}: {len(left)} and {len(right)} items"
        for i, (one, two) in enumerate(zip(left, right, strict=True)):
            check_same(one, two, f"{where}[{i}]")
    elif isinstance(left, float):
        assert left.hex() == right.hex(), f"{where}: {left!r} and {right!r}"
    else:
        assert left == right, f"{where}: {left!r} and {right!r}"


def bits(x: Tensor) -> Tensor:
    """The bytes that a tensor's numbers consist of."""
    flat = x.detach().cpu().contiguous().flatten()  # (numel,)
    return flat.view(torch.uint8)  # (bytes,)
