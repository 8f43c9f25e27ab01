"""Described pictures reach the reader with their words, in a real JupyterLab too."""

import nbformat
import pytest
from browser import open_browser, require_browser
from jupyter_server import start_lab, write_notebook
from nbclient import NotebookClient
from notebook_files import alt_texts, read
from playwright.sync_api import expect

from going_modular.plots.alt_text import alt_text, describe_pictures

START = """
import matplotlib.pyplot as plt
from IPython.display import clear_output

from going_modular.helper_functions import use_style

use_style()
use_style()  # twice does no harm
"""
DESCRIBED = """
#| fig-alt: Rates of "a" & b: <1 % each
plt.plot([0, 1])
plt.show()
plt.plot([1, 0])
plt.show()
"""
BARE = """
plt.plot([0, 1])
plt.show()
"""
CLEARED = """
#| fig-alt: A line that goes away
plt.plot([0, 1])
plt.show()
clear_output()
print("gone")
"""
WORDS = 'Rates of "a" & b: <1 % each'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the notebook above, run and stored."""
    folder = tmp_path_factory.mktemp("alt_text")
    path = folder / "pictures.ipynb"
    write_notebook(path, START, DESCRIBED, BARE, CLEARED)
    notebook = read(path)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    nbformat.write(notebook, path)
    return folder


def test_alt_text_is_read_from_its_line():
    assert alt_text("#| fig-alt: Two bars. \nplt.show()") == "Two bars."
    assert alt_text("# NBVAL_IGNORE_OUTPUT\n#| fig-alt: Two bars") == "Two bars"
    assert alt_text("print('#| fig-alt: none')") is None


def test_each_picture_of_a_described_cell_is_stored_once_with_its_words(folder):
    _, described, bare, cleared = read(folder / "pictures.ipynb").cells
    assert alt_texts(described) == [WORDS, WORDS]
    assert all("image/png" not in output.data for output in described.outputs)
    assert alt_texts(bare) == [None]
    assert alt_texts(cleared) == [] and cleared.outputs[0].text == "gone\n"


def test_outside_of_a_notebook_nothing_happens():
    describe_pictures()


def test_jupyterlab_shows_them_though_it_does_not_trust_the_notebook(folder):
    path = require_browser()
    with start_lab(folder) as lab, open_browser(path) as browser:
        page = browser.new_page(viewport=dict(width=1000, height=3000))
        page.goto(lab.address("pictures.ipynb"))
        pictures = page.locator(".jp-OutputArea-output img")
        expect(pictures).to_have_count(3, timeout=60_000)
        for picture in (pictures.nth(0), pictures.nth(1)):
            expect(picture).to_have_attribute("alt", WORDS)
            assert picture.evaluate("image => image.naturalWidth") > 300
