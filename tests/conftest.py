"""Settings that every test needs."""

import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    """Free the figures that a test has drawn."""
    yield
    import matplotlib.pyplot as plt

    plt.close("all")
