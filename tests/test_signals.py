"""A first signal is taken note of, a second one obeyed, and nothing stays changed."""

import signal
import subprocess
import sys
import threading

import pytest

from going_modular.system.signals import HANGUP, Stopped, StopSignals

STOPS = (signal.SIGINT, signal.SIGTERM)
KINDS = (*STOPS, *([HANGUP] if HANGUP else []))
needs_hangup = pytest.mark.skipif(HANGUP is None, reason="Windows has no SIGHUP")


@pytest.fixture(autouse=True)
def heard():
    """Handlers of the test's own, in place of Python's, which note what they get."""
    heard = []
    usual = {
        kind: signal.signal(kind, lambda number, _: heard.append(number))
        for kind in KINDS
    }
    yield heard
    for kind, handler in usual.items():
        signal.signal(kind, handler)


@pytest.mark.parametrize("kind", STOPS)
def test_a_first_signal_is_noted_and_a_second_has_its_usual_effect(kind, heard):
    with StopSignals() as signals:
        assert signals.received is None
        signal.raise_signal(kind)
        assert signals.received == kind and heard == []
        signal.raise_signal(kind)
        assert heard == [kind]


def test_a_second_signal_of_the_other_kind_is_obeyed_too(heard):
    with StopSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert signals.received == signal.SIGINT and heard == [signal.SIGTERM]


@needs_hangup
@pytest.mark.parametrize("first", KINDS)
def test_a_terminal_that_closes_may_say_so_several_times(first, heard):
    """Itself, and its shell; also while a Ctrl-C is being followed."""
    with StopSignals() as signals:
        for kind in (first, HANGUP, HANGUP):
            signal.raise_signal(kind)
        assert signals.received == first and heard == []
        signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM], "the others still have their usual effect"


def test_a_second_ctrl_c_is_pythons_own():
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with StopSignals(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("sent", [None, *KINDS])
def test_afterwards_signals_are_as_before(sent, heard):
    before = [signal.getsignal(kind) for kind in KINDS]
    with StopSignals():
        assert [signal.getsignal(kind) for kind in KINDS] != before
        if sent:
            signal.raise_signal(sent)
    assert [signal.getsignal(kind) for kind in KINDS] == before
    with pytest.raises(ZeroDivisionError), StopSignals():
        _ = 1 / 0
    assert [signal.getsignal(kind) for kind in KINDS] == before
    assert heard == []


def test_in_another_thread_nothing_is_touched():
    before = [signal.getsignal(kind) for kind in KINDS]
    seen = []

    def enter():
        with StopSignals() as signals:
            seen.append(signals.received)
            seen.extend(signal.getsignal(kind) for kind in KINDS)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [None, *before]


@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_that_is_ignored_stays_ignored(kind):
    """A shell's background job must not stop at a Ctrl-C that is for another one.

    Nor must one that nohup has started, when its terminal closes.
    """
    signal.signal(kind, signal.SIG_IGN)
    with StopSignals() as signals:
        signal.raise_signal(kind)
        assert signals.received is None
    assert signal.getsignal(kind) == signal.SIG_IGN


@pytest.mark.parametrize("kind", KINDS)
def test_a_signal_that_comes_while_the_handlers_change_is_noted(kind, monkeypatch):
    before = [signal.getsignal(kind) for kind in KINDS]
    take, sent = signal.signal, []

    def take_and_send(number, handler):
        replaced = take(number, handler)
        if number == kind and not sent:
            sent.append(kind)
            signal.raise_signal(kind)
        return replaced

    monkeypatch.setattr(signal, "signal", take_and_send)
    with StopSignals() as signals:
        assert signals.received == kind
    assert [signal.getsignal(kind) for kind in KINDS] == before


def test_stopped_says_which_signal_it_was():
    stopped = Stopped(signal.SIGTERM)
    assert str(stopped) == "SIGTERM" and 128 + stopped.number == 143


ENDED = """
import signal
from going_modular.system.signals import StopSignals

with StopSignals():
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
    print("still there")
"""


def test_a_second_signal_that_is_the_systems_ends_the_process_and_no_more():
    ended = subprocess.run([sys.executable, "-c", ENDED], capture_output=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGTERM, b"", b"")
