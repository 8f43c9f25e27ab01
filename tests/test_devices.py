"""What runs on a GPU without float64 also runs right there: on a faked one."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
CHECKS = (
    "training", "training in parts, averaged", "guesses", "features",
    "fitted images", "capture", "rollout", "flow", "distance", "entropy",
    "relevance", "filters", "positions", "colours", "deletion", "explorer",
)  # fmt: skip


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    """What the process with the faked device said of each check."""
    done = subprocess.run(
        [sys.executable, FOLDER / "fake_device.py"],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return dict(line.split(": ", 1) for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", CHECKS)
def test_a_device_without_float64_computes_what_the_cpu_does(name, found):
    assert found[name] == "right"


def test_every_check_is_asked_for(found):
    assert set(found) == set(CHECKS)
