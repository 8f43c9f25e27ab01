"""The next batch is made while the step works on this one."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

__all__ = ["prefetch"]


def prefetch(batches: Iterable) -> Iterator:
    """Iterate over batches that a thread makes, one ahead.

    Order and content are those of the batches; an error in making one comes up where
    it would have been taken.
    """
    end = object()
    iterator = iter(batches)
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, iterator, end)
        while (batch := coming.result()) is not end:
            coming = thread.submit(next, iterator, end)
            yield batch
