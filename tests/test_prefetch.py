"""A thread makes the next batch, and nothing else changes."""

import threading
import time

import pytest

from going_modular.prefetch import prefetch


def test_order_and_content_stay():
    assert list(prefetch(range(20))) == list(range(20))
    assert list(prefetch([])) == []
    assert list(prefetch([None, 0, False])) == [None, 0, False]


def test_the_next_one_is_made_while_this_one_is_used():
    made = []

    def batches():
        for i in range(3):
            made.append(i)
            yield i

    coming = prefetch(batches())
    assert next(coming) == 0
    deadline = time.monotonic() + 10
    while made != [0, 1] and time.monotonic() < deadline:
        time.sleep(0.001)
    assert made == [0, 1]  # one ahead, not more
    coming.close()


def test_errors_come_up_where_the_batch_would_have_come():
    def batches():
        yield 1
        raise OSError("lost")

    coming = prefetch(batches())
    assert next(coming) == 1
    with pytest.raises(OSError, match="lost"):
        next(coming)


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    coming = prefetch(range(100))
    next(coming)
    coming.close()
    assert threading.active_count() == before
