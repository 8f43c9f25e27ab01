"""The package as a whole: importing it changes nothing, and its names are there."""

import importlib
import importlib.resources
import json
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

# Run in a fresh interpreter that loads the libraries once and forks for each module.
# Opening a connection is an error; random states, plots, settings and the files in the
# folder are compared before and after the import. The last line is a JSON dictionary:
# for each module what its import printed or changed.
SCRIPT = """
import json, os, random, sys, traceback
import matplotlib, numpy, pandas, torch, torchvision
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

def import_and_compare(module):
    before = state()
    sys.addaudithook(watch)
    try:
        __import__(module)
    except Exception:
        traceback.print_exc()
    changed = [name for name, value in state().items() if value != before[name]]
    if changed:
        print(f"changed: {changed}")

sys.path.insert(0, os.getcwd())
sys.dont_write_bytecode = True
found = {}
for module in sys.argv[1:]:
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.dup2(writing, 1), os.dup2(writing, 2)
        import_and_compare(module)
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as printed:
        found[module] = printed.read()
    os.wait()
print(json.dumps(found))
"""


def import_each(modules: list[str], folder) -> dict[str, str]:
    """What the import of each module prints or changes, by module."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *modules],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_prints_downloads_seeds_writes_and_plots_nothing(tmp_path):
    assert import_each(MODULES, tmp_path) == dict.fromkeys(MODULES, "")


NOISY = {
    "loud": ("print('hello')", "hello\n"),
    "seeding": (
        "import random, torch; random.seed(0); torch.manual_seed(0)",
        "'torch'",
    ),
    "styling": (
        "from matplotlib import pyplot as p; p.rcParams['font.size'] = 1",
        "style",
    ),
    "plotting": ("from matplotlib import pyplot as p; p.figure()", "plots"),
    "writing": ("open('left_behind', 'w')", "changed: ['files']"),
    "calling": ("import socket; socket.getaddrinfo('localhost', 9)", "getaddrinfo"),
}


def test_the_test_above_notices_noisy_modules(tmp_path):
    for name, (source, _) in NOISY.items():
        (tmp_path / f"{name}.py").write_text(source)
    noise = import_each(list(NOISY), tmp_path)
    for name, (_, heard) in NOISY.items():
        assert heard in noise[name], name


@pytest.mark.parametrize("module", MODULES)
def test_every_module_says_what_it_is_and_offers_what_it_names(module):
    imported = importlib.import_module(module)
    assert imported.__doc__ and imported.__doc__.strip()
    for name in getattr(imported, "__all__", []):
        assert hasattr(imported, name), name


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_offers_its_names_and_imports_only_what_is_asked_for():
    loaded = "print(sorted(m for m in sys.modules if m.startswith('going_modular')))"
    assert run_python(f"import sys, going_modular; {loaded}") == "['going_modular']\n"
    out = run_python(f"import sys; from going_modular import ViTConfig; {loaded}")
    assert out == "['going_modular', 'going_modular.config']\n"
    out = run_python(f"import sys; from going_modular import ViT; {loaded}")
    assert "vit" in out and "pretrained" not in out and "explorer" not in out


@pytest.mark.parametrize("name", going_modular.__all__)
def test_each_name_of_the_package_can_be_had(name):
    assert getattr(going_modular, name) is not None
    assert name in dir(going_modular)


def test_a_name_that_the_package_has_not_is_an_error_that_says_so():
    with pytest.raises(AttributeError, match="no attribute 'VIT'"):
        going_modular.VIT  # noqa: B018


def test_the_package_says_that_it_is_typed():
    assert (importlib.resources.files(going_modular) / "py.typed").is_file()
