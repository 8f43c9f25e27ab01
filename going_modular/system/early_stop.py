"""Ctrl-C while a script's imports still run ends it with one line, too.

The scripts import this first; torch takes two seconds.
"""

import sys
from pathlib import Path

SCRIPT = Path(sys.argv[0]).name


def say_so(kind: type, error: BaseException, trace) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print(f"\n{SCRIPT}: stopped; nothing is written", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


if SCRIPT in ("train.py", "train_transferlearning.py", "predict.py", "explain.py"):
    sys.excepthook = say_so
