"""How a training script ends: done, stopped, or with one line that says why not."""

import argparse
import io
import sys
from collections.abc import Callable

import matplotlib

from going_modular.engine import TrainingDiverged
from going_modular.errors import InputError
from going_modular.processes.alone import Processes
from going_modular.processes.start import lost_another, says_first, start_processes
from going_modular.system.signals import Stopped
from going_modular.system.text import printable
from going_modular.training.fast_path import compilers_reason, is_compilers
from going_modular.training.run_folder import has_checkpoint, holds_finished_run
from going_modular.utils import is_out_of_memory

__all__ = ["run_script"]


def run_script(
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
        The exit status: 0, 2 for unusable input, 130 after Ctrl-C, 143 after SIGTERM.
    """
    matplotlib.use("Agg")  # files only, no window
    if isinstance(sys.stdout, io.TextIOWrapper):  # names may not fit its encoding
        sys.stdout.reconfigure(errors="backslashreplace")

    def kept(what: str) -> str:
        if args.output is not None and holds_finished_run(args.output):
            return f"the run in {printable(args.output)} is finished"
        if args.output is None or not has_checkpoint(args.output):
            return "nothing was saved yet"
        return f"{what} is kept: go on with --output {printable(args.output)} --resume"

    try:
        with start_processes(args.device, args.shard) as processes:
            run(args, processes)
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
    except (RuntimeError, MemoryError) as error:
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
