"""A JupyterLab of its own for the tests: temporary folders, a free port, a token."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat

__all__ = ["JupyterLab", "start_lab", "write_notebook"]

ROOT = Path(__file__).parents[1]

# No question about news, no look for updates.
QUIET = {"fetchNews": "false", "checkForUpdates": False}


class JupyterLab:
    """A running server: `address(notebook)` is where a browser finds a notebook."""

    def __init__(self, port: int, token: str):
        self.root, self.token = f"http://127.0.0.1:{port}", token

    def address(self, notebook: str) -> str:
        return f"{self.root}/lab/tree/{notebook}?token={self.token}&reset"

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.root}/api?token={self.token}") as reply:
                return reply.status == 200
        except (urllib.error.URLError, ConnectionError):
            return False


def write_notebook(path: Path, *cells: str) -> None:
    """Write a notebook of code cells, not yet run."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source.strip()) for source in cells]
    )
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, path)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def start_lab(folder: Path, patience: float = 90) -> Iterator[JupyterLab]:
    """Run JupyterLab on the notebooks of a folder; everything else stays outside.

    Args:
        folder: A temporary folder; its subfolder `home` takes what Jupyter writes.
        patience: Seconds to wait for the server.
    """
    home = folder / "home"
    settings = home / "settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(QUIET))
    kept = {k: v for k, v in os.environ.items() if not k.startswith("JUPYTER")}
    environment = {
        **kept,
        "HOME": str(home),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    lab = JupyterLab(free_port(), secrets.token_hex(16))
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={lab.root.rpartition(':')[2]}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}",
        f"--IdentityProvider.token={lab.token}",
        "--LabApp.extension_manager=readonly",
    ]
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log
        )
        try:
            end = time.monotonic() + patience
            while not lab.answers():
                if server.poll() is not None or time.monotonic() > end:
                    said = (folder / "server.log").read_text()
                    raise RuntimeError(f"JupyterLab did not start:\n{said}")
                time.sleep(0.2)
            yield lab
        finally:
            server.terminate()  # it ends its kernels
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
