"""Settings that every test needs."""

import signal

import matplotlib
import numpy as np
import pytest
from PIL import Image

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    """Free the figures that a test has drawn."""
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


@pytest.fixture
def photos(tmp_path):
    """A folder of ten photos of noise in two classes."""
    numbers = np.random.default_rng(0)
    for name in ("cat", "dog"):
        for i in range(5):
            path = tmp_path / "photos" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = numbers.integers(0, 256, (20, 30, 3), np.uint8)
            Image.fromarray(pixels).save(path)
    return tmp_path / "photos"


@pytest.fixture
def folder(tmp_path):
    """An empty folder that scripts run in."""
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.fixture(scope="module")
def as_in_a_terminal():
    """Ctrl-C and SIGHUP are not ignored, as in the background and after nohup."""
    kinds = {signal.SIGINT: signal.default_int_handler}
    if hasattr(signal, "SIGHUP"):  # not on Windows
        kinds[signal.SIGHUP] = signal.SIG_DFL
    usual = {kind: signal.signal(kind, handler) for kind, handler in kinds.items()}
    yield
    for kind, handler in usual.items():
        signal.signal(kind, handler)
