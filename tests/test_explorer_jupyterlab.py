"""The explorer's widget in a real JupyterLab, in step with Python."""

import json
import re
import time

import pytest
from browser import ExplorerOnScreen, open_browser, require_browser, watched_page
from jupyter_server import start_lab, write_notebook
from playwright.sync_api import expect
from test_explorer_browser import CONTRASTS, LABELS, Case, check_drawn, percent

from going_modular.data_setup import load_builtin
from going_modular.pretrained import from_pretrained

SHOW = """
from going_modular.data_setup import load_builtin
from going_modular.explorer.widget import explore
from going_modular.pretrained import from_pretrained

model = from_pretrained("built-in", quiet=True).eval()
_, test = load_builtin()
explorer = explore(model, test.images[1805], test.class_names, title="A boot")
explorer
"""
READ = """
import json

names = ("layer", "head", "view", "row", "column")
print(json.dumps({name: getattr(explorer, name) for name in names}))
"""
SET = """
explorer.layer, explorer.head, explorer.view = 2, 3, "looked-at-by"
explorer.row, explorer.column = 6, 1
print("set")
"""
REFUSE = "explorer.layer = 9"
AGAIN = "explorer"
LIVE = """
from going_modular import run_live

run_live(model, test.class_names, test.images[1805], "a boot")
"""


class Notebook:
    """A notebook in JupyterLab whose cells are run one by one."""

    def __init__(self, page):
        self.page = page

    def cell(self, number: int):
        return self.page.locator(".jp-Notebook .jp-CodeCell").nth(number)

    def run(self, number: int) -> str:
        """Run a cell by Ctrl-Enter and return what it prints."""
        prompt = self.cell(number).locator(".jp-InputArea-prompt")
        before = prompt.inner_text()
        self.cell(number).locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        done = re.compile(rf"^(?!{re.escape(before.strip())})\[\d+\]:")
        expect(prompt).to_have_text(done, timeout=60_000)
        return self.cell(number).locator(".jp-OutputArea").inner_text()

    def check_state_in_python(self, expected: dict):
        """Python hears of what is done on the screen a moment later."""
        deadline = time.monotonic() + 20
        while (state := json.loads(self.run(1).splitlines()[-1])) != expected:
            assert time.monotonic() < deadline, f"{state} instead of {expected}"


@pytest.fixture(scope="module")
def boot(tmp_path_factory):
    model = from_pretrained("built-in", quiet=True).eval()
    _, test = load_builtin()
    folder = tmp_path_factory.mktemp("boot")
    return Case(model, test.images[1805], test.class_names, folder, title="A boot")


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """The notebook above, opened in JupyterLab, its first cell run."""
    path = require_browser()
    folder = tmp_path_factory.mktemp("lab")
    write_notebook(folder / "explorer.ipynb", SHOW, READ, SET, REFUSE, AGAIN, LIVE)
    with start_lab(folder) as lab, open_browser(path) as browser:
        size = dict(width=1300, height=1500)
        page = watched_page(browser, viewport=size, color_scheme="dark")
        page.goto(lab.address("explorer.ipynb"))
        notebook = Notebook(page)
        expect(notebook.cell(0)).to_be_visible(timeout=60_000)
        expect(page.get_by_text("| Idle")).to_be_visible(timeout=60_000)
        notebook.run(0)
        expect(page.locator(".ae-explorer")).to_be_visible(timeout=30_000)
        yield notebook


@pytest.fixture
def shown(notebook):
    return ExplorerOnScreen(notebook.page)


def test_what_is_done_on_the_screen_is_read_in_python(notebook, shown, boot):
    state = dict(layer=6, head=0, view="looks-at", row=-1, column=-1)
    check_drawn(boot, shown, **state)
    notebook.check_state_in_python(state)
    shown.point_at(3, 4)
    shown.click_at(3, 4)
    shown.choose("4", group="Layer")
    shown.choose("2", group="Head")
    state = dict(layer=4, head=2, view="looks-at", row=3, column=4)
    check_drawn(boot, shown, **state)
    notebook.check_state_in_python(state)
    for view, label in LABELS.items():
        shown.choose(label)
        check_drawn(boot, shown, **{**state, "view": view})
        notebook.check_state_in_python({**state, "view": view})


def test_what_python_sets_is_seen_on_the_screen(notebook, shown, boot):
    assert notebook.run(2).strip() == "set"
    state = dict(layer=2, head=3, view="looked-at-by", row=6, column=1)
    expect(shown.root.locator(".ae-summary")).to_contain_text("Layer 2, head 3.")
    expect(shown.root.locator(".ae-summary")).to_contain_text("Row 7, column 2")
    check_drawn(boot, shown, **state)
    notebook.check_state_in_python(state)
    for group, label in (
        ("Layer", "2"),
        ("Head", "3"),
        ("The outlined token", LABELS["looked-at-by"]),
    ):
        controls = shown.root.get_by_role("group", name=group)
        assert controls.get_by_role("radio", name=label, exact=True).is_checked()


def test_what_is_not_there_is_refused_in_python(notebook, shown):
    before = shown.state()
    assert "TraitError: no layer 9 here: choose from 1, 2, 3" in notebook.run(3)
    assert shown.state() == before


def test_keys_are_the_explorers_and_not_the_notebooks(notebook, shown, boot):
    active = notebook.page.locator(".jp-Notebook .jp-mod-active .jp-InputPrompt")
    shown.click_at(1, 1)
    cell = active.inner_text()
    for key in ("ArrowDown", "ArrowRight", "Enter", "End", "PageDown", "Escape"):
        notebook.page.keyboard.press(key)
    assert shown.focused() == "row 7, column 7" and shown.patch() == (6, 6)
    assert active.inner_text() == cell
    state = {**shown.state(), "row": 6, "column": 6}
    check_drawn(boot, shown, **state)
    notebook.check_state_in_python(state)


def test_a_second_view_goes_along(notebook, shown, boot):
    notebook.run(4)
    second = ExplorerOnScreen(notebook.page, number=1)
    expect(second.root).to_be_visible()
    state = shown.state()
    check_drawn(boot, second, **state)
    second.choose("5", group="Layer")
    second.click_at(2, 2)
    expect(shown.root.locator(".ae-summary")).to_contain_text("Layer 5")
    expect(shown.root.locator(".ae-summary")).to_contain_text("Row 3, column 3")
    check_drawn(boot, shown, **{**state, "layer": 5, "row": 2, "column": 2})
    second.click_at(2, 2)  # lets it go


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_text_stands_out_in_the_themes_of_jupyterlab(theme, notebook, shown):
    page = notebook.page
    page.locator(".lm-MenuBar-itemLabel", has_text="Settings").click()
    for label in ("Theme", f"JupyterLab {theme}"):
        page.locator(".lm-Menu-itemLabel", has_text=re.compile(f"^{label}$")).click()
    light = str(theme == "Light").lower()
    expect(page.locator(f"body[data-jp-theme-light={light}]")).to_be_attached()
    page.wait_for_timeout(500)
    found = shown.root.evaluate(CONTRASTS)
    assert len(found) > 20
    assert min(found, key=lambda pair: pair[1])[1] >= 4.5
    assert shown.root.evaluate("e => getComputedStyle(e).colorScheme") == theme.lower()


def test_the_live_model_runs_in_a_cell(notebook, boot):
    notebook.run(5)
    live = notebook.page.locator(".ae-live")
    best = live.locator(".ae-predictions li").first
    expect(best).to_contain_text(boot.about["predictions"][0]["name"], timeout=30_000)
    shown = best.locator(".ae-number").text_content()
    assert shown == percent(boot.about["predictions"][0]["probability"], "looks-at")
    live.get_by_role("button", name="Trouser", exact=True).click()
    expect(best).to_contain_text("Trouser")
    wide = live.evaluate("(e) => [e.scrollWidth, e.clientWidth]")
    assert wide[0] <= wide[1]


def test_the_console_stayed_quiet(notebook):
    assert notebook.page.complaints == []
