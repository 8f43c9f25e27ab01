"""A real browser for the tests: where none is found they say so and are skipped."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
