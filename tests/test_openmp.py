"""How threads wait is decided before torch is there, unless somebody has decided."""

import ast
import os
import re
import subprocess
import sys

import pytest
from notebook_files import ROOT

from going_modular.system import openmp

SCRIPTS = ("train.py", "train_transferlearning.py", "predict.py", "explain.py")
TORCH = ["-c", "import going_modular.system.openmp, torch"]


def what_the_runtime_knows(*command, **variables: str) -> dict[str, str]:
    """The settings that torch's OpenMP says it has, in a process of its own.

    Every runtime prints them as it is loaded: those of GNU's, or of LLVM's.
    """
    environment = {k: v for k, v in os.environ.items() if k not in openmp.DECIDING}
    environment |= {"OMP_DISPLAY_ENV": "verbose", **variables}
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"(\w+) *= *'(\w*)'", done.stderr))


def ours(known: dict[str, str]) -> set[tuple[str, str]]:
    return known.items() & openmp.SHORT_SPIN.items()


def test_in_train_py_threads_sleep_soon():
    known = what_the_runtime_knows("train.py", "--help")
    assert len(ours(known)) == 1, "each runtime knows its own variable"


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_decides_before_it_imports_anything_else(script):
    tree = ast.parse((ROOT / script).read_text(encoding="utf-8"))
    imports = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    first = [ast.unparse(node) for node in imports[:2]]
    assert "import going_modular.system.openmp" in first
    assert all(line.startswith("import going_modular.system.") for line in first)


@pytest.mark.parametrize(
    "said",
    [
        {"OMP_WAIT_POLICY": "ACTIVE"},
        {"GOMP_SPINCOUNT": "777", "KMP_BLOCKTIME": "77"},
    ],
)
def test_threads_wait_as_the_user_says(said):
    known = what_the_runtime_knows(*TORCH, OMP_NUM_THREADS="1", **said)
    assert known["OMP_NUM_THREADS"] == "1" and not ours(known)
    assert known.items() & said.items()


@pytest.mark.parametrize("name", openmp.DECIDING)
def test_one_variable_that_decides_is_enough(name):
    environment = {name: "x", "OMP_NUM_THREADS": "3"}
    openmp.sleep_soon(environment)
    assert environment == {name: "x", "OMP_NUM_THREADS": "3"}


def test_the_number_of_threads_is_another_matter():
    environment = {"OMP_NUM_THREADS": "3", "KMP_AFFINITY": "compact"}
    before = dict(environment)
    openmp.sleep_soon(environment)
    assert environment == before | openmp.SHORT_SPIN


def test_nothing_changes_where_torch_is_there_already():
    code = "import os, sys; sys.modules['torch'] = sys; before = dict(os.environ); "
    code += "import going_modular.system.openmp; assert os.environ == before; "
    code += "del sys.modules['going_modular.system.openmp'], sys.modules['torch']; "
    code += "import going_modular.system.openmp; assert os.environ != before"
    environment = {k: v for k, v in os.environ.items() if k not in openmp.DECIDING}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, cwd=ROOT)
