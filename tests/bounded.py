"""Scripts in a process of their own that has a gigabyte and a minute."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path

import pytest
import torch
from PIL import Image

import explain
import predict
import train
import train_transferlearning
from going_modular.command_line import folder_report
from going_modular.config import ViTConfig
from going_modular.datasets.sources import load_digits

resource = pytest.importorskip("resource", reason="needs Linux or macOS")

__all__ = [
    "SMALL",
    "TINY",
    "call",
    "photo",
    "refused",
    "snapshot",
    "unfinished_run",
]

SCRIPTS = {
    "predict": predict,
    "explain": explain,
    "train": train,
    "transfer": train_transferlearning,
    "folders": folder_report,
}
GIGABYTE = 2**30
SMALL = ViTConfig(
    image_size=8,
    patch_size=4,
    embedding_dim=16,
    depth=1,
    num_heads=2,
    mlp_size=32,
    num_classes=3,
)


def virtual_memory() -> int:
    pages = Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def snapshot(folder: Path) -> dict:
    """All that there is in a folder: files' bytes, links' ends."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[path] = os.readlink(path)
        elif path.is_file():
            found[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            found[path] = "folder or pipe"
    return found


def call(script: str, *arguments, folder: Path) -> tuple[int, str, str]:
    """Run a script in a folder, with little memory and time.

    Returns:
        Its exit status, or minus the signal that ended it; what it said on standard
        output, and what on standard error.
    """
    out, err = folder.parent / "out.txt", folder.parent / "err.txt"
    asked = [script, [str(a) for a in arguments], str(folder), str(out), str(err)]
    server = start_server()
    server.stdin.write(json.dumps(asked) + "\n")
    server.stdin.flush()
    status = int(server.stdout.readline())
    texts = [path.read_text(encoding="utf-8", errors="replace") for path in (out, err)]
    return status, *texts


@cache
def start_server() -> subprocess.Popen:
    """A process that forks: one in which no test has left threads, as autograd's."""
    return subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


def serve() -> None:
    """Answer with the exit status of each script that is asked for, until the end."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place, redirect_stdout(io.StringIO()):
        import_everything(Path(place))
    for line in sys.stdin:
        print(run_bounded(*json.loads(line)), flush=True)


def run_bounded(script: str, arguments: list[str], folder: str, out, err) -> int:
    """Run a script in a fork of this process."""
    child = os.fork()
    if child == 0:
        try:
            for number, path in ((1, out), (2, err)):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
            sys.stderr = open(2, "w", encoding="utf-8", closefd=False)
            os.chdir(folder)
            limit = virtual_memory() + GIGABYTE
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
            signal.alarm(60)
            sys.argv = [SCRIPTS[script].__file__]  # parsers take their name from it
            status = SCRIPTS[script].main(arguments)
            sys.stdout.flush()
        except SystemExit as stop:
            status = stop.code
        except BaseException as error:
            traceback.print_exception(error)
            status = 99
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    _, ended = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(ended)


def import_everything(place: Path) -> None:
    """Import what scripts need before processes are forked, which then need not."""
    path = photo(place / "a.png")
    assert predict.main([str(path), "--output", str(path.with_name("b.png"))]) == 0
    load_digits()


def refused(script: str, *arguments, folder: Path, says: str = "") -> str:
    """The one line of a script that refuses its input and leaves all as it was."""
    before = snapshot(folder)
    status, _, complained = call(script, *arguments, folder=folder)
    assert status == 2, (status, complained[-2000:])
    (line,) = complained.splitlines()
    assert line.startswith(("predict.py: ", "explain.py: ", "train"))
    assert len(line) < 700 and line.isprintable(), line
    assert says in line
    assert snapshot(folder) == before
    return line


def photo(path: Path, size=(20, 20), mode="RGB", **options) -> Path:
    Image.new(mode, size, *options.pop("colour", ())).save(path, **options)
    return path


TINY = "--data digits --epochs 1 --depth 1 --embedding-dim 12 --num-heads 2 --quiet"


def unfinished_run(place: Path) -> dict:
    """The checkpoint of a run of two epochs, stopped after the first."""
    (place / "here").mkdir()
    flags = [*TINY.replace("epochs 1", "epochs 2").split(), "--output", "run"]
    status, _, complained = call("train", *flags, folder=place / "here")
    assert status == 0, complained
    folder = place / "here/run"
    path = next(folder.glob("checkpoint*.previous.pt"), folder / "checkpoint.pt")
    saved = torch.load(path, weights_only=True)
    assert saved["trainer"]["epoch"] < 2
    return saved


if __name__ == "__main__":
    serve()
