"""Take the pictures of the attention explorer in README: page, phone, JupyterLab.

python -m tools.make_screenshots
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from going_modular.data_setup import load_builtin
from going_modular.explorer.data import explore_image
from going_modular.explorer.page import write_page
from going_modular.pretrained import from_pretrained
from tests.browser import ExplorerOnScreen, find_browser, open_browser, open_file
from tests.jupyter_server import start_lab, write_notebook

IMAGES = Path(__file__).parents[1] / "images"
NUMBER = 1705  # a handbag among the built-in test images
CELLS = (
    f"""
from going_modular.data_setup import load_builtin
from going_modular.explorer.widget import explore
from going_modular.pretrained import from_pretrained

model = from_pretrained("built-in", quiet=True).eval()
_, test = load_builtin()
explorer = explore(model, test.images[{NUMBER}], test.class_names, title="A handbag")
explorer
""",
    "explorer.layer, explorer.head, explorer.view, explorer.row, explorer.column",
)


def take(page: Page, name: str, **options) -> None:
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path, **options)
    print(f"{path.name:28} {path.stat().st_size / 1000:.0f} kB")


def take_page(browser: Browser, path: Path) -> None:
    size = dict(width=1024, height=770)
    page = open_file(browser, path, viewport=size, device_scale_factor=1.5)
    shown = ExplorerOnScreen(page)
    shown.choose("5", group="Layer")
    shown.point_at(3, 3)
    take(page, "explorer", full_page=True)

    size = dict(width=360, height=780)
    phone = dict(viewport=size, device_scale_factor=2, has_touch=True, is_mobile=True)
    page = open_file(browser, path, **phone, color_scheme="dark")
    shown = ExplorerOnScreen(page)
    shown.set(layer=4, head=3, row=2, column=2)
    take(page, "explorer_phone", full_page=True)


def take_jupyterlab(browser: Browser, folder: Path) -> None:
    write_notebook(folder / "explorer.ipynb", *CELLS)
    with start_lab(folder) as lab:
        size = dict(width=1100, height=1130)
        page = browser.new_page(viewport=size, device_scale_factor=1.25)
        page.goto(lab.address("explorer.ipynb"))
        expect(page.get_by_text("| Idle")).to_be_visible(timeout=60_000)
        cells = page.locator(".jp-Notebook .jp-CodeCell")
        cells.nth(0).locator(".cm-content").click()
        page.keyboard.press("Control+b")  # the list of files goes
        page.keyboard.press("Control+Enter")
        expect(page.locator(".ae-explorer")).to_be_visible(timeout=60_000)
        shown = ExplorerOnScreen(page)
        shown.choose("5", group="Layer")
        shown.choose("is looked at by")
        shown.click_at(1, 5)
        page.wait_for_timeout(500)  # the state reaches Python
        cells.nth(1).locator(".cm-content").click()
        page.keyboard.press("Control+Enter")
        expect(cells.nth(1).locator(".jp-OutputArea-output")).to_be_visible()
        take(page, "explorer_jupyterlab")


def main() -> None:
    browser_path = find_browser() or sys.exit("no Chromium or Chrome on the PATH")
    model = from_pretrained("built-in", quiet=True).eval()
    _, test = load_builtin()
    bag = explore_image(model, test.images[NUMBER], test.class_names, "A handbag")
    with tempfile.TemporaryDirectory() as folder, open_browser(browser_path) as browser:
        write_page(Path(folder) / "explorer.html", bag)
        take_page(browser, Path(folder) / "explorer.html")
        take_jupyterlab(browser, Path(folder))


if __name__ == "__main__":
    main()
