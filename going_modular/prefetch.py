"""The next batch is made while the step works on this one."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait

__all__ = ["prefetch"]


def prefetch(batches: Iterable) -> Iterator:
    """Iterate over batches that a thread makes, one ahead.

    Order and content are those of the batches; an error in making one comes up where
    it would have been taken.
    """
    end = object()
    iterator = iter(batches)
    thread = ThreadPoolExecutor(max_workers=1)
    coming = thread.submit(next, iterator, end)
    try:
        while (batch := coming.result()) is not end:
            coming = thread.submit(next, iterator, end)
            yield batch
    finally:
        thread.shutdown(wait=False)
        wait([coming])  # Ctrl-C here leaves the thread for Python's end to wait for
        thread.shutdown()
