"""The package as a whole: importing it changes nothing, and its names are there."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import functions
import going_modular

MODULES = [
    module.name
    for package in (going_modular, functions)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
]

# Run in a fresh interpreter. Opening a connection is an error; random states, plots,
# settings and the files in the folder are compared before and after the import.
SCRIPT = """
import os, random, sys
import matplotlib, numpy, torch
from matplotlib import pyplot

def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "urllib.Request"):
        raise RuntimeError(f"{event} {args}")

def state():
    return dict(
        python=random.getstate(),
        numpy=repr(numpy.random.get_state()),
        torch=torch.get_rng_state().tolist(),
        plots=pyplot.get_fignums(),
        style=dict(matplotlib.rcParams),
        dtype=torch.get_default_dtype(),
        threads=torch.get_num_threads(),
        gradients=torch.is_grad_enabled(),
        exact=torch.are_deterministic_algorithms_enabled(),
        folder=os.getcwd(),
        files=os.listdir(),
    )

before = state()
sys.addaudithook(watch)
__import__(sys.argv[1])
changed = [name for name, value in state().items() if value != before[name]]
if changed:
    raise SystemExit(f"changed: {changed}")
"""


def import_alone(module: str, folder) -> subprocess.CompletedProcess:
    """Import one module in a fresh interpreter, in an empty folder."""
    return subprocess.run(
        [sys.executable, "-B", "-c", SCRIPT, module],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("module", MODULES)
def test_importing_prints_downloads_seeds_writes_and_plots_nothing(module, tmp_path):
    done = import_alone(module, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


SEEDS_AND_PLOTS = """
import random, numpy, torch
from matplotlib import pyplot
print("hello")
random.seed(0), numpy.random.rand(), torch.manual_seed(0)
pyplot.figure()
pyplot.rcParams["font.size"] = 1
"""


@pytest.mark.parametrize(
    "source, out, error",
    [
        (SEEDS_AND_PLOTS, "hello\n", "['python', 'numpy', 'torch', 'plots', 'style']"),
        ("open('left_behind', 'w')", "", "['files']"),
        ("import socket; socket.getaddrinfo('localhost', 9)", "", "socket.getaddrinfo"),
    ],
    ids=["prints, seeds and plots", "writes a file", "opens a connection"],
)
def test_the_test_above_notices_a_module_that(source, out, error, tmp_path):
    (tmp_path / "noisy.py").write_text(source)
    done = import_alone("noisy", tmp_path)
    assert done.returncode == 1
    assert done.stdout == out
    assert error in done.stderr


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is_and_offers_what_it_names(module):
    imported = importlib.import_module(module)
    assert imported.__doc__ and imported.__doc__.strip()
    for name in getattr(imported, "__all__", []):
        assert hasattr(imported, name), name


def test_functions_offers_the_helpers_of_going_modular():
    from functions import helper_functions
    from going_modular import helper_functions as original

    for name in original.__all__:
        assert getattr(helper_functions, name) is getattr(original, name)
    assert callable(helper_functions.plot_loss_curves)
