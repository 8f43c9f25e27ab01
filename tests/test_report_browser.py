"""The report in a real browser: on a phone and on a desk, by day and by night."""

import pytest
from browser import open_browser, open_file, require_browser
from test_explorer import HOSTILE
from test_explorer_browser import CONTRASTS
from test_report import drawings, make_logits, make_page, make_set

from going_modular.plots.results import plot_confusion_matrix
from going_modular.training.run_folder import REPORT

SIZES = {"phone": (320, 740), "desk": (1200, 900)}


@pytest.fixture(scope="module")
def browser():
    with open_browser(require_browser()) as browser:
        yield browser


@pytest.fixture(scope="module", params=["few", "many"])
def report(request, tmp_path_factory):
    """A report with names of every kind, and one of so many classes that it folds."""
    folder = tmp_path_factory.mktemp("report")
    if request.param == "few":
        names = [*HOSTILE, "w" * 300, "a name of many words " * 9, "مرحبا بالعالم", "x"]
        data = make_set((3, 40, 64), len(names), n=400, names=names)
        make_page(folder, data, command=["train.py", "--data", "p" * 400])
    else:
        names = [f"class number {i}" for i in range(40)]
        data = make_set((1, 8, 8), 40, n=400, names=names)
        guesses = make_logits(data).argmax(dim=1)
        matrix = plot_confusion_matrix(data.labels, guesses, names)
        make_page(folder, data, **{**drawings(), "confusion": matrix})
    return folder / REPORT


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_the_page_fits_and_every_image_is_there(size, scheme, report, browser):
    width, height = SIZES[size]
    options = dict(viewport=dict(width=width, height=height), color_scheme=scheme)
    page = open_file(browser, report, **options)
    for details in page.locator("summary").all():
        details.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sides = page.locator("main *:visible:not(.frame *)").evaluate_all(
        "(all) => all.map((e) => e.getBoundingClientRect())"
        ".map((box) => [box.left, box.right])"
    )
    assert len(sides) > 300
    assert min(left for left, _ in sides) >= 0
    assert max(right for _, right in sides) <= width
    loaded = page.locator("img").evaluate_all(
        "(all) => all.map((image) => image.complete && image.naturalWidth > 0)"
    )
    assert len(loaded) > 40 and all(loaded)
    contrasts = page.locator("body").evaluate(CONTRASTS)
    assert min(contrasts, key=lambda pair: pair[1])[1] >= 4.5
    behind = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (behind == "rgb(255, 255, 255)") == (scheme == "light")
    assert page.complaints == []
    assert [a for a in page.requests if not a.startswith("data:")] == [report.as_uri()]
    page.close()


def test_a_wide_matrix_moves_within_its_frame_with_the_keys(report, browser):
    page = open_file(browser, report, viewport=dict(width=320, height=740))
    frame = page.get_by_role("region", name="Confusion matrix")
    assert frame.evaluate("(e) => e.scrollWidth > e.clientWidth")
    frame.focus()
    page.keyboard.press("ArrowRight")
    frame.evaluate(  # until it has moved
        "(e) => new Promise((done) => { const look = () => e.scrollLeft > 0 ? done()"
        " : requestAnimationFrame(look); look(); })"
    )
    page.close()


def test_the_policy_lets_no_script_run(report, browser):
    page = open_file(browser, report)
    page.evaluate(
        "() => document.body.append(Object.assign(document.createElement('script'),"
        "{ textContent: 'globalThis.ran = true' }))"
    )
    assert page.evaluate("globalThis.ran") is None
    assert any("Content Security Policy" in c for c in page.complaints)
    page.close()
