"""Comparing everything in two states, bit by bit."""

import torch

__all__ = ["check_same"]


def check_same(left, right, where: str = "state") -> None:
    """Raise an error unless two nested states hold the same bits in the same order."""
    assert type(left) is type(right), f"{where}: {type(left)} and {type(right)}"
    if isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype, f"{where}: {left.dtype} and {right.dtype}"
        assert torch.equal(left, right), f"{where} differs"
    elif isinstance(left, dict):
        assert list(left) == list(right), f"{where}: {list(left)} and {list(right)}"
        for key in left:
            check_same(left[key], right[key], f"{where}[{key!r}]")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), f"{where}: {len(left)} and {len(right)} items"
        for i, (one, two) in enumerate(zip(left, right, strict=True)):
            check_same(one, two, f"{where}[{i}]")
    else:
        assert left == right, f"{where}: {left!r} and {right!r}"
