"""Ctrl-C while a script's imports still run ends it with one line, too.

The scripts import this first; torch takes two seconds.
"""

import os
import signal
import sys
from pathlib import Path

SCRIPTS = ("train.py", "train_transferlearning.py", "predict.py", "explain.py")
SCRIPT = Path(sys.argv[0]).name
pressed = False


def take_line_away() -> None:
    """Let what `starting` shows end before anything else is said."""
    progress = sys.modules.get("going_modular.system.progress")
    if progress is not None and hasattr(progress, "LINE"):
        progress.LINE.hide()


def say_so(kind: type, error: BaseException, trace) -> None:
    take_line_away()
    if pressed or issubclass(kind, KeyboardInterrupt):
        print(f"\n{SCRIPT}: stopped; nothing is written", file=sys.stderr, flush=True)
        if not issubclass(kind, KeyboardInterrupt):  # which has that exit status itself
            os._exit(130)
    else:
        sys.__excepthook__(kind, error, trace)


def stop(number, frame) -> None:
    """Remember Ctrl-C: an import may swallow its exception and fail otherwise."""
    global pressed
    pressed = True
    signal.default_int_handler(number, frame)


if SCRIPT in SCRIPTS:
    sys.excepthook = say_so
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)
