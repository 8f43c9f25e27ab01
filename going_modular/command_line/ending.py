"""How a script ends: done, stopped, or with one line that says why not."""

import argparse
import io
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import matplotlib
from PIL import Image

from going_modular.engine import TrainingDiverged
from going_modular.errors import InputError
from going_modular.processes.alone import Processes
from going_modular.processes.start import lost_another, says_first, start_processes
from going_modular.system.closed_terminal import outlive_terminal
from going_modular.system.progress import LINE
from going_modular.system.signals import Stopped
from going_modular.system.text import printable
from going_modular.training.fast_path import compilers_reason, is_compilers
from going_modular.training.run_folder import has_checkpoint, holds_finished_run
from going_modular.utils import is_out_of_memory

__all__ = ["flush", "prepare_script", "run_script", "run_training"]


def prepare_script() -> None:
    """Set up what all scripts share."""
    matplotlib.use("Agg")  # files only, no window
    if isinstance(sys.stdout, io.TextIOWrapper):  # names may not fit its encoding
        sys.stdout.reconfigure(errors="backslashreplace")
    outlive_terminal()
    Image.MAX_IMAGE_PIXELS = None  # `datasets.photos.MEMORY` says how many instead
    warnings.filterwarnings("ignore", module="PIL")  # about harmless faults of photos


def run_script(
    name: str,
    run: Callable[[argparse.Namespace], None],
    args: argparse.Namespace,
    save_memory: str,
) -> int:
    """Run a script that writes its files in the end; make one line of what goes wrong.

    Args:
        name: The script's, for messages.
        run: Does the work.
        args: The flags, `device` among them.
        save_memory: What to do where memory does not suffice.

    Returns:
        The exit status: 0, 2 for unusable input, 130 after Ctrl-C.
    """
    prepare_script()
    try:
        with LINE.session(quiet=getattr(args, "quiet", False)):
            run(args)
            flush()
    except BrokenPipeError:
        leave_output()
    except (InputError, OSError) as error:
        print(f"{name}: {printable(error)}", file=sys.stderr)
        return 2
    except (RuntimeError, MemoryError, TypeError, OverflowError) as error:
        if not is_out_of_memory(error):
            raise
        print(
            f"{name}: it needs more memory than {args.device} has: {save_memory}",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        written = len(getattr(args, "written", ()))
        kept = f"{written:,} files are written" if written else "nothing is written"
        print(f"\n{name}: stopped; {kept}", file=sys.stderr)
        return 130
    return 0


def flush() -> None:
    """Send what was printed on its way, unless there is no standard output at all."""
    if sys.stdout is not None:
        sys.stdout.flush()


def leave_output() -> None:
    """Nobody reads the output any more, as after `| head`: let the rest go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())


def run_training(
    name: str,
    run: Callable[[argparse.Namespace, Processes], None],
    args: argparse.Namespace,
) -> int:
    """Run a training script; turn what can go wrong into one line.

    Args:
        name: The script's, for messages.
        run: Does the work.
        args: The flags, `output`, `device` and `shard` among them.

    Returns:
        The exit status: 0, 2 for unusable input, 130 after Ctrl-C, 143 after SIGTERM,
        129 after SIGHUP.
    """
    prepare_script()

    def kept(what: str) -> str:
        if isinstance(args.output, Path) and not os.path.exists(args.output):
            return "nothing was saved yet"
        if args.output is not None and holds_finished_run(args.output):
            return f"the run in {printable(args.output)} is finished"
        if args.output is None or not has_checkpoint(args.output):
            return "nothing was saved yet"
        return f"{what} is kept: go on with --output {printable(args.output)} --resume"

    try:
        with (
            LINE.session(quiet=getattr(args, "quiet", False), logged=True),
            start_processes(args.device, args.shard) as processes,
        ):
            run(args, processes)
            flush()
    except BrokenPipeError:
        what = kept("what the last checkpoint holds")
        leave_output()
        complain(f"{name}: nobody reads its output any more, so it stops; {what}")
        return 2
    except (InputError, TrainingDiverged) as error:
        complain(f"{name}: {printable(error)}")
        return 2
    except OSError as error:
        complain(
            f"{name}: {printable(error)}; {kept('what the last checkpoint holds')}"
        )
        return 2
    except Stopped as stopped:
        complain(f"\n{name}: stopped; {kept('every step so far')}")
        return 128 + stopped.number
    except KeyboardInterrupt:
        what = kept("what the last checkpoint holds")
        complain(f"\n{name}: stopped at once; {what}")
        return 130
    except (RuntimeError, MemoryError, TypeError, OverflowError) as error:
        what = kept("what the last checkpoint holds")
        if is_out_of_memory(error):
            complain(
                f"{name}: not enough memory: cut batches into parts (--accumulate), or "
                f"choose a smaller --batch-size or model; {what}"
            )
        elif is_compilers(error):
            why = compilers_reason(error)
            complain(
                f"{name}: cannot compile ({printable(why)}): add --compile no; {what}"
            )
        elif lost_another(error):
            complain(f"{name}: another process has ended, so this run ends; {what}")
        else:
            raise
        return 2
    return 0


def complain(message: str) -> None:
    """Print to stderr, unless another process has."""
    if says_first():
        print(message, file=sys.stderr)
