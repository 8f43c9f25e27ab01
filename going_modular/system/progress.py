"""One line at the foot of a terminal: what goes on, and how long it will take.

Within a script nobody should wonder whether it still works. So whatever may take longer
than a moment is a phase here: `with saying("reading the weights")` where its length is
not known, `progress_of` and `progress_over` where it is. A thread draws the line anew
twice a second, also while a single step takes long. What is shown is what is counted:
`LINE.clock` holds the time of each phase.

Only a script shows the line, in `LINE.session`, and only on a terminal. Elsewhere the
phases are counted and nothing is drawn; a log gets a line for each that begins.
"""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TextIO

from tqdm import tqdm
from tqdm.std import Bar
from tqdm.utils import disp_len, disp_trim

from going_modular.system.clock import Clock

__all__ = [
    "LINE",
    "Line",
    "Phase",
    "print_past",
    "progress_of",
    "progress_over",
    "saying",
]

STARTING = "starting"
DRAW_EVERY = 0.2  # seconds, while the work itself says how far it is
TICK = 0.5  # seconds, while it says nothing
WIDEST_BAR, NARROWEST_BAR = 20, 8  # columns


class Phase:
    """Something that takes its time, as the line shows it.

    Attributes:
        what: In a word or two.
        account: What its time counts as.
        total: Pieces of the work; None if nobody knows.
        done: Those that are done.
        detail: What else is worth a look, such as the loss.
    """

    def __init__(
        self, line: "Line", what: str, total: float | None, done: float, account: str
    ):
        self.line, self.what, self.account = line, what, account
        self.total, self.done, self.first, self.detail = total, done, done, ""
        self.begun = self.changed = line.now()

    def advance(
        self, count: float = 1, detail: Callable[[], str] | None = None
    ) -> None:
        """Note that so many more pieces are done.

        Args:
            count: Pieces.
            detail: Gives the new detail; called only if the line is drawn now.
        """
        with self.line.lock:
            self.done += count
            self.changed = self.line.now()
        if self.line.due():
            if detail is not None:
                self.detail = detail()
            self.line.draw()

    def over(self, batches: Iterable) -> Iterator:
        """The same batches of images and labels; each counts when the next is taken."""
        for images, labels in batches:
            yield images, labels
            self.line.clock.images[self.account] += len(labels)
            self.advance(len(labels))

    def seconds_left(self) -> float | None:
        """Until its end, as the work went so far; None while that cannot be said."""
        pieces = self.done - self.first
        if self.total is None or pieces <= 0:
            return None
        left = (self.changed - self.begun) * (self.total - self.done) / pieces
        return max(0.0, left - (self.line.now() - self.changed))


class Line:
    """The line and its phases, the outermost first.

    Attributes:
        clock: Where the time of this session went.
        shown: Whether it is drawn.
        logged: Whether a log gets a line for what begins.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter):
        self.now, self.clock = now, Clock(STARTING, now)
        self.phases: list[Phase] = []
        self.shown = self.logged = False
        self.begun = False  # before the session, while imports run
        self.lock = threading.RLock()
        self.drawn = -DRAW_EVERY  # when
        self.width = 0  # columns that are written on
        self.ticker, self.ended = None, threading.Event()

    def begin(self, what: str, quiet: bool = False) -> None:
        """Begin to count, and to show what goes on until there is a `session`."""
        self.begun, self.clock = True, Clock(STARTING, self.now)
        self.phases = [Phase(self, what, None, 0, STARTING)]
        self.show(quiet)

    def show(self, quiet: bool) -> None:
        """Draw from now on, if there is a terminal."""
        self.shown = not quiet and on_terminal()
        self.draw()
        if self.shown and self.ticker is None:
            self.ended.clear()
            self.ticker = threading.Thread(target=self.tick, daemon=True)
            self.ticker.start()

    def hide(self) -> None:
        """Draw no more, until the next session, and take away what is there."""
        with self.lock:
            self.erase()
            self.shown = self.logged = False
        ticker, self.ticker = self.ticker, None
        if ticker is not None:
            self.ended.set()
            ticker.join()

    @contextmanager
    def session(self, quiet: bool = False, logged: bool = False) -> Iterator[None]:
        """Show what goes on as long as a script runs.

        Args:
            quiet: Show nothing.
            logged: Where there is no terminal, print a line for each phase that begins.
        """
        if not self.begun:
            self.clock = Clock(STARTING, self.now)
        self.phases = [Phase(self, "preparing", None, 0, STARTING)]
        self.logged = logged and not quiet and not on_terminal()
        self.show(quiet or not is_first_process())
        try:
            yield
        finally:
            self.hide()
            self.begun, self.phases = False, []

    @contextmanager
    def phase(
        self,
        what: str,
        total: float | None = None,
        done: float = 0,
        account: str | None = None,
    ) -> Iterator[Phase]:
        """Show something, and count its time, within this context.

        Args:
            what: In a word or two.
            total: Pieces of the work, if known.
            done: Those that were done before.
            account: What its time counts as; `what` if None.
        """
        depth, account = len(self.phases), account or what
        if self.logged and depth == 1:
            print(what, flush=True)
        phase = Phase(self, what, total, done, account)
        with self.clock.counting(account):
            with self.lock:
                self.phases.append(phase)
            self.draw()
            try:
                yield phase
            finally:
                with self.lock:
                    del self.phases[depth:]  # and what was left open within it

    def due(self) -> bool:
        """Whether it is time to draw again."""
        return self.shown and self.now() - self.drawn >= DRAW_EVERY

    def tick(self) -> None:
        """Draw again and again, since a single step may take long."""
        while not self.ended.wait(TICK):
            self.draw()

    def draw(self) -> None:
        with self.lock:
            if self.shown and self.phases:
                self.write(self.text(columns() - 1))
                self.drawn = self.now()

    def erase(self) -> None:
        """Leave an empty line, with the cursor at its beginning."""
        with self.lock:
            if self.shown and self.width:
                self.write("")

    def write(self, text: str) -> None:
        width = disp_len(text)
        blanks = " " * (self.width - width)  # over the rest of what was there
        try:
            end = "" if text else "\r"
            print(f"\r{text}{blanks}", end=end, file=sys.stderr, flush=True)
        except (OSError, ValueError):  # the terminal is gone
            self.shown = False
        self.width = width

    def text(self, room: int) -> str:
        """What the line says, in so many columns at most.

        The time left comes first. It is that of the outermost phase that has one, since
        this is what one waits for; the rest is about the innermost.
        """
        phase, left = self.phases[-1], ""
        known = [p.seconds_left() for p in self.phases if p.total is not None]
        if known:
            seconds = known[0]
            interval = "--:--" if seconds is None else tqdm.format_interval(seconds)
            left = f"{interval} left  "
        outer = [p.what for p in self.phases[:-1] if p.total is not None]
        what = ", ".join([*outer, phase.what])
        since = f"{self.now() - phase.begun:.0f} s"
        if phase.total is None:
            return fitted(left, what, f" ... {since}", room)
        share = min(1.0, phase.done / max(phase.total, 1e-9))
        begin = fitted(left, what, f" {share:4.0%}", room)
        detail = phase.detail or (since if known[0] is None else "")
        room -= disp_len(begin)
        detail = f"  {detail}" if detail and len(detail) + 2 <= room else ""
        wide = min(WIDEST_BAR, room - len(detail) - 4)
        if wide < NARROWEST_BAR:
            return begin + detail
        bar = format(Bar(share, wide, Bar.UTF if has_blocks() else Bar.ASCII))
        return f"{begin}  |{bar}|{detail}"


def fitted(before: str, what: str, after: str, room: int) -> str:
    """The three in a row, `what` cut where they do not fit."""
    wide = max(0, room - len(before) - len(after))
    if disp_len(what) > wide:
        what = disp_trim(what, wide)
    return disp_trim(f"{before}{what}{after}", room)


def columns() -> int:
    """Those of the terminal that standard error is."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return shutil.get_terminal_size().columns


def on_terminal() -> bool:
    """Whether standard error is one; a process may have none at all."""
    return sys.stderr is not None and sys.stderr.isatty()


def has_blocks() -> bool:
    """Whether the terminal's encoding has the signs of which a smooth bar is made."""
    try:
        Bar.UTF.encode(sys.stderr.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def is_first_process() -> bool:
    """Whether torchrun has started no other one before this."""
    return os.environ.get("RANK", "0") == "0"


LINE = Line()


def saying(what: str, account: str | None = None):
    """Show on a terminal what takes a while, and take it away when that is over.

    Args:
        what: In a word or two.
        account: What its time counts as; `what` if None.
    """
    return LINE.phase(what, account=account)


def progress_of(what: str, total: int, account: str | None = None):
    """The same with a bar: a context that gives a `Phase` to advance.

    Args:
        what, account: As for `saying`.
        total: Pieces of the work.
    """
    return LINE.phase(what, total, account=account)


def progress_over(batches, what: str) -> Iterator:
    """Batches of images and labels, shown as they are gone through.

    Args:
        batches: `data_setup.Batches`.
        what: As for `saying`.
    """
    own = len(batches.data) / getattr(batches, "count", 1)  # of several processes
    with LINE.phase(what, own) as phase:
        yield from phase.over(batches)


def print_past(text: str = "", flush: bool = False, file: TextIO | None = None) -> None:
    """Print above the line, which goes on below; to standard output if None."""
    with LINE.lock:
        LINE.erase()
        print(text, flush=flush, file=file)
