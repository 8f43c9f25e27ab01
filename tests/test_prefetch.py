"""A thread makes the next batch, and nothing else changes."""

import os
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from going_modular.datasets.fast_batches import prefetch

ROOT = Path(__file__).parents[1]


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


def test_leaving_early_ends_the_thread():
    before = threading.active_count()
    coming = prefetch(range(100))
    next(coming)
    coming.close()
    assert threading.active_count() == before


def test_an_error_comes_up_once_and_its_thread_has_ended():
    before = threading.active_count()

    def batches():
        yield 1
        raise OSError("lost")

    coming = prefetch(batches())
    assert next(coming) == 1
    with pytest.raises(OSError, match="lost") as raised:
        next(coming)
    assert raised.value.__context__ is None
    assert threading.active_count() == before
    assert list(coming) == [], "it does not come up again"


def test_an_error_at_the_very_beginning_comes_up_too():
    class Gone:
        def __iter__(self):
            raise OSError("lost")

    with pytest.raises(OSError, match="lost"):
        next(prefetch(Gone()))


def test_leaving_with_an_error_waits_for_the_batch_in_the_making():
    """Whether it is made in the end or not; the error is that of the leaving."""
    for fails in (False, True):
        before, begun, let_go = threading.active_count(), Event(), Event()

        def batches(begun=begun, let_go=let_go, fails=fails):
            yield 1
            begun.set()
            assert let_go.wait(60)
            if fails:
                raise OSError("too late to be heard")
            yield 2

        with pytest.raises(ZeroDivisionError), closing(prefetch(batches())) as coming:
            next(coming)
            assert begun.wait(60)
            threading.Timer(0.05, let_go.set).start()
            raise ZeroDivisionError
        assert let_go.is_set()
        assert threading.active_count() == before


def test_two_at_once_do_not_disturb_each_other():
    """As those of training and testing may be."""
    pairs = zip(prefetch(range(50)), prefetch(range(50, 100)), strict=True)
    assert list(pairs) == list(zip(range(50), range(50, 100), strict=True))


@given(st.lists(st.none() | st.booleans() | st.integers()), st.integers(0, 20))
@settings(deadline=None, derandomize=True, database=None)
def test_any_batches_come_in_order_up_to_the_error(items, place):
    def batches():
        for number, item in enumerate(items):
            if number == place:
                raise LookupError(place)
            yield item

    found = []
    try:
        for item in prefetch(batches()):
            found.append(item)
    except LookupError:
        assert place < len(items)
    else:
        assert place >= len(items)
    assert found == items[:place]


INTERRUPTED = """
import os, signal, sys, threading, time
from contextlib import closing
from going_modular.datasets.fast_batches import prefetch

begun, let_go = threading.Event(), threading.Event()

def batches():
    yield 1
    begun.set()
    let_go.wait(60)
    time.sleep(0.2)
    print("made", flush=True)
    yield 2

def interrupt():
    time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with closing(prefetch(batches())) as coming:
        next(coming)
        begun.wait(60)
        threading.Thread(target=interrupt).start()
except KeyboardInterrupt:
    print("interrupted", flush=True)
    let_go.set()
    sys.exit(130)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_while_leaving_is_told_at_once_and_the_thread_still_ends_well():
    """Python must not end while the thread computes: that would abort it."""
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=ROOT, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (130, "")
    assert ended.stdout.split() == ["interrupted", "made"]
