"""A real browser for the tests: where none is found they say so and are skipped."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()


def find_browser() -> str | None:
    """The path of a Chromium or Chrome of this machine, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def require_browser() -> str:
    """Its path; otherwise the test is skipped, or fails if REQUIRE_BROWSER is set."""
    path = find_browser()
    if path is None:
        reason = f"no browser here: none of {', '.join(NAMES)} is on the PATH"
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


@contextmanager
def open_browser(path: str) -> Iterator[Browser]:
    """Run the browser at `path`, without a window."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def watched_page(browser: Browser, **options) -> Page:
    """A page that notes what goes wrong and what is fetched.

    It has two lists more: `complaints`, errors and warnings of console and page, and
    `requests`, the addresses asked for.
    """
    page = browser.new_page(**options)
    page.complaints, page.requests = [], []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.requests.append(request.url))

    def note(message) -> None:
        if message.type in ("error", "warning"):
            page.complaints.append(message.text)

    page.on("console", note)
    return page


def open_file(browser: Browser, path: Path, **options) -> Page:
    """Open an explorer's HTML file as by double click."""
    page = watched_page(browser, **options)
    page.goto(path.as_uri())
    return page


class ExplorerOnScreen:
    """An attention explorer in a page, as hands and eyes have it.

    Args:
        page: Where it is.
        number: Which one, from 0, where there are several.
    """

    def __init__(self, page: Page, number: int = 0):
        self.page = page
        self.root = page.locator(".ae-explorer").nth(number)
        self.stage = self.root.locator(".ae-stage")

    def ask(self, script: str, value=None):
        """Run a function of the handle that `mount` returned."""
        return self.root.evaluate(
            f"(root, value) => ({script})(root.handle, value)", value
        )

    def state(self) -> dict:
        """Layer, head, view, row and column."""
        return self.ask(
            "({ state: { layer, head, view, row, column } }) =>"
            " ({ layer, head, view, row, column })"
        )

    def patch(self) -> tuple[int, int]:
        state = self.state()
        return state["row"], state["column"]

    def values(self) -> dict:
        return self.ask("(handle) => handle.values()")

    def set(self, **changes) -> None:
        self.ask("(handle, changes) => handle.set(changes)", changes)

    def refused(self, **changes) -> str:
        """The complaint about changes that cannot be."""
        return self.ask(
            "(handle, changes) => { try { handle.set(changes); return ''; }"
            " catch (error) { return error.message; } }",
            changes,
        )

    def summary(self) -> str:
        return self.root.locator(".ae-summary").text_content()

    def pixels(self) -> np.ndarray:
        """(rows, columns, 4) bytes of the heat map's canvas."""
        width, height, data = self.stage.locator("canvas").evaluate(
            "(canvas) => { const { width, height } = canvas;"
            " const copy = new OffscreenCanvas(width, height).getContext('2d');"
            " copy.drawImage(canvas, 0, 0);"
            " const { data } = copy.getImageData(0, 0, width, height);"
            " return [width, height, [...data]]; }"
        )
        return np.array(data, np.uint8).reshape(height, width, 4)

    def box(self, selector: str) -> dict:
        return self.root.locator(selector).bounding_box()

    def centre(self, row: int, column: int) -> tuple[float, float]:
        """Where a patch is in the window, scrolled there if need be."""
        name = f"row {row + 1}, column {column + 1}"
        cell = self.root.get_by_role("gridcell", name=name, exact=True)
        cell.scroll_into_view_if_needed()
        box = cell.bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def wait_a_frame(self) -> None:
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(done))")

    def point_at(self, row: int, column: int) -> None:
        self.page.mouse.move(*self.centre(row, column))
        self.wait_a_frame()

    def click_at(self, row: int, column: int) -> None:
        self.page.mouse.click(*self.centre(row, column))
        self.wait_a_frame()

    def choose(self, label: str, group: str = "The outlined token") -> None:
        """Click one of a group's choices."""
        fieldset = self.root.get_by_role("group", name=group)
        fieldset.get_by_role("radio", name=label, exact=True).check()

    def focused(self) -> str:
        """What has the focus, by its label or text; BODY if nothing has."""
        return self.page.evaluate(
            "() => { const e = document.activeElement; if (e === document.body)"
            " return 'BODY'; const text = e.getAttribute('aria-label') ??"
            " e.querySelector('span:not(.ae-swatch)')?.textContent ??"
            " e.closest('label')?.textContent ?? e.textContent; return text; }"
        )
