"""Ctrl-C, SIGTERM and SIGHUP, taken note of instead of obeyed at once."""

import signal
import threading

__all__ = ["Stopped", "StopSignals"]


# A terminal sends it as it closes. Windows has none.
HANGUP = getattr(signal, "SIGHUP", None)


class Stopped(Exception):
    """A run was asked to stop, and has saved what it needs to go on.

    Attributes:
        number: The signal's.
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


class StopSignals:
    """Within this context, a first Ctrl-C, SIGTERM or SIGHUP only sets `received`.

    A second one has its usual effect; but a SIGHUP never has, since one comes from the
    terminal that closes and another from its shell. One that is ignored, as Ctrl-C is
    in a shell's background jobs and SIGHUP after nohup, stays so.
    """

    def __enter__(self) -> "StopSignals":
        self.received: int | None = None
        kinds = (signal.SIGINT, signal.SIGTERM, *([HANGUP] if HANGUP else []))
        if threading.current_thread() is not threading.main_thread():
            kinds = ()  # other threads get no signals
        usual = {kind: signal.getsignal(kind) for kind in kinds}
        self.usual = {k: v for k, v in usual.items() if v is not signal.SIG_IGN}
        for kind in self.usual:  # one may come before the next is taken
            signal.signal(kind, self.note)
        return self

    def note(self, number: int, frame) -> None:
        if self.received is None:
            self.received = number
        elif number == HANGUP:
            return
        elif callable(self.usual[number]):
            self.usual[number](number, frame)
        else:  # the system's own: it ends the process
            signal.signal(number, self.usual[number])
            signal.raise_signal(number)

    def __exit__(self, *error) -> None:
        for kind, handler in self.usual.items():
            signal.signal(kind, handler)
