"""The explorer's page in a real browser: numbers, pixels, keys, phones, bad names."""

import io
import json

import numpy as np
import pytest
import torch
from browser import ExplorerOnScreen, open_browser, open_file, require_browser
from PIL import Image
from test_explorer import HOSTILE, class_names, make_image, make_model

from going_modular.attention_maps import attention_rollout, capture
from going_modular.data_setup import load_builtin, normalise
from going_modular.explorer.data import explore_image
from going_modular.explorer.encoding import restore
from going_modular.explorer.page import pair_page, write_page
from going_modular.explorer.widget import VIEWS
from going_modular.pretrained import from_pretrained
from going_modular.vit import ViT

LABELS = dict(
    zip(
        VIEWS,
        (
            "looks at",
            "is looked at by",
            "what contributes to it",
            "rollout up to this layer",
        ),
        strict=True,
    )
)


class Case:
    """A model and an image: the explorer's file, and what the model says itself."""

    def __init__(self, model: ViT, image, names, folder, **options):
        self.exploration = explore_image(model, image, names, **options)
        self.about = self.exploration.description
        self.path = folder / "explorer.html"
        write_page(self.path, self.exploration)
        x = normalise(image, model.config.mean, model.config.std)[None]
        seen = capture(model, x, kinds=("attention", "values"))
        self.attention = seen.attention[:, 0].double()
        self.rollout = attention_rollout(seen.attention[:, 0]).double()
        self.lengths = seen.values[:, 0].double().norm(dim=-1)

    def numbers(self, layer, head=0, view="looks-at", row=-1, column=-1) -> np.ndarray:
        """The (T,) float weights that the model itself has for a state."""
        A, l = self.attention[layer - 1], layer - 1  # noqa: E741
        token = 0 if row < 0 else 1 + row * self.about["columns"] + column
        if view == "rollout":
            return self.rollout[l, token].numpy()
        by_head = {
            "looks-at": A[:, token],
            "looked-at-by": A[:, :, token],
            "contributes": A[:, token] * self.lengths[l],
        }[view]
        return (by_head[head - 1] if head else by_head.mean(0)).numpy()

    def tolerance(self, view: str) -> float:
        """By how much rounding to bytes may change a number."""
        longest = self.lengths.max().item() if view == "contributes" else 1
        return self.about["error"]["greatest"] * longest * (1 + 1e-9)


def colours(case, numbers, highest) -> np.ndarray:
    """(rows, columns, 3) bytes: where viridis has the numbers, from 0 to highest."""
    viridis = np.frombuffer(bytes.fromhex(case.about["colours"]), np.uint8)
    steps = np.minimum(255, np.floor(256 * numbers / highest)).astype(int)
    return viridis.reshape(256, 3)[steps].reshape(
        case.about["rows"], case.about["columns"], 3
    )


def check_drawn(case: Case, shown: ExplorerOnScreen, **state) -> None:
    """Numbers, pixels and words on the screen are the model's for this state."""
    assert shown.state() == state
    values = shown.values()
    right = case.numbers(**state)
    near = case.tolerance(state["view"])
    np.testing.assert_allclose(values["patches"], right[1:], rtol=0, atol=near)
    np.testing.assert_allclose(values["classToken"], right[0], rtol=0, atol=near)
    assert values["highest"] == max(values["patches"])
    drawn = colours(case, np.array(values["patches"]), values["highest"])
    assert (shown.pixels()[..., :3] == drawn).all()
    assert (shown.pixels()[..., 3] == 255).all()
    check_summary(case, shown.summary(), values, **state)


def percent(value: float, view: str) -> str:
    if view == "contributes":
        return f"{value:.3g}"
    digits = 2 if 0 < 100 * value < 1 else 1
    text = "under 0.01" if 0 < 100 * value < 0.01 else f"{100 * value:.{digits}f}"
    return text + "\u00a0%"


def check_summary(case, summary: str, values, layer, head, view, row, column):
    who = "the class token" if row < 0 else f"row {row + 1}, column {column + 1}"
    said = {
        "looks-at": f"{who} looks most at",
        "looked-at-by": f"{who} is looked at most by",
        "contributes": f"to {who} contribute most",
        "rollout": f"through layers 1 to {layer}, {who} rests most on",
    }[view]
    assert summary.lower().startswith(said), summary
    patches = np.array(values["patches"])
    for i in (-patches).argsort(kind="stable")[:3]:
        r, c = divmod(int(i), case.about["columns"])
        name = "itself" if (r, c) == (row, column) else f"row {r + 1}, column {c + 1}"
        assert f"{name} ({percent(patches[i], view)})" in summary, summary
    assert f"; class token {percent(values['classToken'], view)}." in summary
    heads = f"head {head}" if head and view != "rollout" else "mean of 4 heads"
    assert summary.endswith(f"Layer {layer}, {heads}.")


@pytest.fixture(scope="module")
def browser():
    with open_browser(require_browser()) as browser:
        yield browser


@pytest.fixture(scope="module")
def boot(tmp_path_factory):
    """A clothing image that the built-in weights know: 7 x 7 patches, 6 layers."""
    model = from_pretrained("built-in", quiet=True).eval()
    _, test = load_builtin()
    return Case(
        model,
        test.images[1805],
        test.class_names,
        tmp_path_factory.mktemp("boot"),
        title="A boot",
    )


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A toy with 3 x 7 patches; only two of its layers are kept."""
    model = make_model(image_size=(24, 56))
    image, names = make_image(model.config), class_names(model.config)
    return Case(model, image, names, tmp_path_factory.mktemp("wide"), layers=[2, 5])


@pytest.fixture
def opened(browser):
    """Opens a case's file; at the end nothing was complained of or fetched."""
    pages = []

    def open_case(case, **options) -> ExplorerOnScreen:
        page = open_file(browser, case.path, **options)
        pages.append((page, case))
        return ExplorerOnScreen(page)

    yield open_case
    for page, case in pages:
        complaints, requests = page.complaints, page.requests
        page.close()
        assert complaints == []
        assert requests == [case.path.as_uri()]


# ---- What is drawn


@pytest.mark.parametrize("view", VIEWS)
def test_every_layer_and_head_shows_the_numbers_of_the_model(view, opened, boot):
    shown = opened(boot)
    shown.choose(LABELS[view])
    shown.point_at(3, 2)
    for layer in boot.about["layers"]:
        shown.choose(str(layer), group="Layer")
        for head in range(boot.about["heads"] + 1):
            if view != "rollout":
                shown.choose(str(head or "mean"), group="Head")
            state = dict(layer=layer, head=head, view=view, row=3, column=2)
            if view == "rollout":
                state["head"] = 0
            check_drawn(boot, shown, **state)


@pytest.mark.parametrize("view", VIEWS)
def test_every_patch_of_a_grid_that_is_not_square(view, opened, wide):
    shown = opened(wide)
    shown.choose(LABELS[view])
    state = dict(layer=5, head=0, view=view)
    check_drawn(wide, shown, **state, row=-1, column=-1)
    for row in range(3):
        for column in range(7):
            shown.point_at(row, column)
            check_drawn(wide, shown, **state, row=row, column=column)


def test_the_screen_has_the_colours_where_the_patches_are(opened, wide):
    shown = opened(wide)
    shown.point_at(1, 5)
    shown.page.get_by_label("Heat map over the image").fill("100")
    shot = Image.open(io.BytesIO(shown.stage.screenshot())).convert("RGB")
    values = shown.values()
    right = colours(wide, np.array(values["patches"]), values["highest"])
    for row in range(3):
        for column in range(7):
            x = (column + 0.5) * shot.width / 7
            y = (row + 0.5) * shot.height / 3
            assert shot.getpixel((int(x), int(y))) == tuple(right[row, column])
    box, stage = shown.box(".ae-outline"), shown.box(".ae-stage")
    assert box["x"] - stage["x"] == pytest.approx(5 / 7 * stage["width"], abs=0.1)
    assert box["y"] - stage["y"] == pytest.approx(1 / 3 * stage["height"], abs=0.1)
    assert box["width"] == pytest.approx(stage["width"] / 7, abs=0.1)
    assert stage["width"] / stage["height"] == pytest.approx(7 / 3, rel=0.01)
    corner = (int(5 / 7 * shot.width) + 2, int((1 + 0.5) / 3 * shot.height))
    assert shot.getpixel(corner) == (0xE6, 0x9F, 0x00)


def test_without_a_heat_map_the_screen_has_the_image(opened, boot):
    shown = opened(boot)
    shown.page.get_by_label("Heat map over the image").fill("0")
    shot = Image.open(io.BytesIO(shown.stage.screenshot())).convert("RGB")
    _, test = load_builtin()
    for y in range(1, 28, 4):  # in the middle of patches, beside their lines
        for x in range(1, 28, 4):
            at = [int((v + 0.5) * shot.width / 28) for v in (x, y)]
            assert shot.getpixel(tuple(at)) == (test.images[1805, 0, y, x].item(),) * 3


def test_legend_class_token_and_predictions_say_their_numbers(opened, boot):
    shown = opened(boot)
    shown.point_at(2, 2)
    values = shown.values()
    legend = shown.page.locator(".ae-legend").inner_text().split("\n")
    assert legend == ["0", percent(values["highest"], "looks-at")]
    token = shown.page.get_by_role("button", name="class token")
    assert percent(values["classToken"], "looks-at") in token.inner_text()
    lines = shown.page.get_by_role("listitem").all_inner_texts()
    right = [
        [guess["name"], percent(guess["probability"], "looks-at")]
        for guess in boot.about["predictions"]
    ]
    assert [line.split("\n") for line in lines] == right
    for guess, bar in zip(
        boot.about["predictions"], shown.page.locator(".ae-bar").all(), strict=True
    ):
        whole = bar.bounding_box()["width"]
        width = bar.locator("div").bounding_box()["width"]
        assert width == pytest.approx(max(1, whole * guess["probability"]), abs=0.6)


def test_a_kept_scale_stays_until_it_is_let_go(opened, boot):
    shown = opened(boot)
    shown.point_at(2, 2)
    kept = shown.values()["highest"]
    shown.page.get_by_label("Keep the colour scale").check()
    shown.point_at(5, 1)
    values = shown.values()
    assert values["highest"] == kept != max(values["patches"])
    right = colours(boot, np.array(values["patches"]), kept)
    assert (shown.pixels()[..., :3] == right).all()
    assert shown.page.locator(".ae-legend").inner_text().endswith("and more")
    shown.choose("2", group="Layer")
    assert shown.values()["highest"] == kept
    shown.choose(LABELS["contributes"])  # another unit
    assert not shown.page.get_by_label("Keep the colour scale").is_checked()
    values = shown.values()
    assert values["highest"] == max(values["patches"])


def test_rollout_has_no_heads_and_says_so(opened, boot):
    shown = opened(boot)
    shown.choose("3", group="Head")
    shown.choose(LABELS["rollout"])
    heads = shown.page.get_by_role("group", name="Head")
    assert all(radio.is_disabled() for radio in heads.get_by_role("radio").all())
    assert "the rollout takes the mean of all" in heads.inner_text()
    values = shown.values()
    shown.set(head=2)
    assert shown.values() == values
    shown.choose(LABELS["looks-at"])
    assert heads.get_by_role("radio", name="2").is_checked()
    assert heads.get_by_role("radio", name="1").is_enabled()
    assert "rollout" not in heads.inner_text()


# ---- Pointer and keyboard


def test_pointing_shows_and_a_click_pins(opened, boot):
    shown = opened(boot)
    shown.point_at(4, 6)
    shown.point_at(0, 1)
    assert shown.patch() == (0, 1)
    shown.click_at(0, 1)
    shown.point_at(4, 4)
    assert shown.patch() == (0, 1), "pinned"
    assert shown.page.get_by_text("Pinned.").is_visible()
    shown.click_at(3, 3)
    shown.point_at(5, 5)
    assert shown.patch() == (3, 3), "pinned elsewhere"
    shown.click_at(3, 3)
    shown.point_at(6, 6)
    assert shown.patch() == (6, 6), "let go by a second click"
    shown.click_at(6, 6)
    shown.page.keyboard.press("Escape")
    shown.point_at(0, 0)
    assert shown.patch() == (0, 0), "let go by Escape"
    assert not shown.page.get_by_text("Pinned.").is_visible()


def test_the_class_token_can_be_asked_too(opened, boot):
    shown = opened(boot)
    shown.point_at(4, 6)
    token = shown.page.get_by_role("button", name="class token")
    assert token.get_attribute("aria-pressed") == "false"
    token.click()
    assert shown.patch() == (-1, -1)
    assert token.get_attribute("aria-pressed") == "true"
    assert not shown.page.locator(".ae-outline").is_visible()
    shown.point_at(3, 3)
    assert shown.patch() == (-1, -1), "a click pins"
    state = dict(layer=6, head=0, view="looks-at", row=-1, column=-1)
    check_drawn(boot, shown, **state)
    token.click()
    shown.point_at(2, 3)
    assert shown.patch() == (2, 3)


def test_keys_move_through_the_patches(opened, wide):
    shown = opened(wide, viewport=dict(width=900, height=320))
    shown.page.keyboard.press("Tab")
    assert shown.focused() == "row 1, column 1" and shown.patch() == (0, 0)
    for key, patch in (
        ("ArrowLeft", (0, 0)),
        ("ArrowUp", (0, 0)),
        ("ArrowRight", (0, 1)),
        ("ArrowDown", (1, 1)),
        ("ArrowRight", (1, 2)),
        ("End", (1, 6)),
        ("ArrowRight", (1, 6)),
        ("PageDown", (2, 6)),
        ("ArrowDown", (2, 6)),
        ("ArrowLeft", (2, 5)),
        ("PageUp", (0, 5)),
        ("ArrowDown", (1, 5)),
        ("Home", (1, 0)),
        ("Control+End", (2, 6)),
        ("ArrowUp", (1, 6)),
        ("Control+Home", (0, 0)),
    ):
        shown.page.keyboard.press(key)
        assert shown.patch() == patch, key
        assert shown.focused() == f"row {patch[0] + 1}, column {patch[1] + 1}"
        state = dict(layer=5, head=0, view="looks-at", row=patch[0], column=patch[1])
        check_drawn(wide, shown, **state)
        selected = shown.page.locator("[aria-selected=true]")
        assert selected.get_attribute("aria-label") == shown.focused()
        assert shown.page.locator("[role=gridcell][tabindex='0']").count() == 1
    assert shown.page.evaluate("scrollY") == 0, "keys do not scroll the page too"
    for key in ("Enter", " "):
        shown.page.keyboard.press(key)
        shown.point_at(2, 2)
        pinned = key == "Enter"
        assert shown.patch() == ((0, 0) if pinned else (2, 2))


def test_tab_goes_through_every_control_in_order(opened, boot):
    shown = opened(boot)
    order = []
    for _ in range(11):
        shown.page.keyboard.press("Tab")
        order.append(shown.focused())
    assert order == [
        "row 1, column 1",
        "class token",
        "looks at",
        "6",
        "mean",
        "Heat map over the image",
        "Keep the colour scale",
        "Save the picture",
        "Save the numbers",
        "All layers and heads",
        "BODY",
    ]
    for _ in range(4):
        shown.page.keyboard.press("Shift+Tab")
    shown.page.keyboard.press("Space")
    assert shown.page.get_by_label("Keep the colour scale").is_checked()


def test_controls_work_by_keyboard_and_keep_the_patch(opened, boot):
    shown = opened(boot)
    for key in ("Tab", "ArrowDown", "Tab", "Tab"):
        shown.page.keyboard.press(key)
    shown.page.keyboard.press("ArrowRight")
    shown.page.keyboard.press("Tab")
    shown.page.keyboard.press("ArrowLeft")
    shown.page.keyboard.press("Tab")
    shown.page.keyboard.press("ArrowRight")
    # Enter does this in some browsers; nothing is sent, and the page stays.
    shown.page.locator("form").evaluate("form => form.requestSubmit()")
    state = dict(layer=5, head=1, view="looked-at-by", row=1, column=0)
    check_drawn(boot, shown, **state)


def test_focus_can_be_seen_on_every_stop(opened, boot):
    shown = opened(boot)
    for _ in range(10):
        before = shown.page.screenshot()
        shown.page.keyboard.press("Tab")
        assert shown.page.screenshot() != before
        outline = shown.page.evaluate(
            "() => { const e = document.activeElement;"
            " const seen = e.matches('.ae-choice input') ? e.nextSibling : e;"
            " const style = getComputedStyle(seen);"
            " return [style.outlineStyle, parseFloat(style.outlineWidth)]; }"
        )
        assert outline[0] != "none" and outline[1] >= 2


# ---- The sheet, files, two images


def test_the_sheet_shows_every_layer_and_head_and_leads_there(opened, wide):
    shown = opened(wide)
    shown.point_at(1, 3)
    shown.page.get_by_text("All layers and heads").first.click()
    buttons = shown.root.locator(".ae-sheet button")
    assert buttons.count() == 2 * wide.about["heads"]
    for layer in (2, 5):
        for head in range(1, wide.about["heads"] + 1):
            name = f"layer {layer}, head {head}"
            canvas = shown.root.get_by_role("button", name=name).locator("canvas")
            drawn = np.array(
                canvas.evaluate(
                    "(c) => [...c.getContext('2d')"
                    ".getImageData(0, 0, c.width, c.height).data]"
                )
            ).reshape(3, 7, 4)
            state = dict(layer=layer, head=head, view="looks-at", row=1, column=3)
            numbers = wide.numbers(**state)[1:]
            brightest = np.unravel_index(numbers.argmax(), (3, 7))
            assert tuple(drawn[brightest][:3]) == (253, 231, 36)
            assert tuple(drawn[..., 0].shape) == (3, 7)
    shown.root.get_by_role("button", name="layer 2, head 3").click()
    assert shown.state() == dict(layer=2, head=3, view="looks-at", row=1, column=3)
    pressed = shown.root.locator(".ae-sheet button[aria-pressed=true]")
    assert pressed.get_attribute("aria-label") == "layer 2, head 3"


def test_picture_and_numbers_can_be_saved(opened, boot):
    shown = opened(boot)
    shown.click_at(3, 2)
    with shown.page.expect_download() as download:
        shown.page.get_by_role("button", name="Save the numbers").click()
    assert download.value.suggested_filename == "A-boot-looks-at-layer-6.json"
    saved = json.loads(download.value.path().read_text())
    assert saved["token"] == {"row": 3, "column": 2} and saved["layer"] == 6
    values = shown.values()
    assert np.ravel(saved["patches"]).tolist() == values["patches"]
    assert saved["class_token"] == values["classToken"]
    with shown.page.expect_download() as download:
        shown.page.get_by_role("button", name="Save the picture").click()
    assert download.value.suggested_filename == "A-boot-looks-at-layer-6.png"
    picture = np.array(Image.open(download.value.path()).convert("RGB")).astype(int)
    assert picture.shape == (532, 532, 3)
    _, test = load_builtin()
    heat = shown.pixels()[..., :3].astype(int)
    for row, column in ((0, 0), (6, 6), (2, 5)):
        y, x = 4 * row + 1, 4 * column + 1
        under = np.full(3, test.images[1805, 0, y, x].item())
        expected = 0.65 * heat[row, column] + 0.35 * under
        got = picture[19 * y + 9, 19 * x + 9]
        assert np.abs(got - expected).max() <= 2


def test_two_images_share_what_is_chosen(browser, boot, wide, tmp_path):
    for second in (boot, wide):
        path = tmp_path / "pair.html"
        text = pair_page(boot.exploration, second.exploration)
        path.write_text(text, encoding="utf-8")
        page = open_file(browser, path)
        left, right = (ExplorerOnScreen(page, number) for number in (0, 1))
        left.choose("2", group="Layer")
        assert left.state()["layer"] == right.state()["layer"] == 2
        left.choose(LABELS["contributes"])
        left.point_at(2, 6)
        assert right.patch() == left.patch() == (2, 6)
        left.point_at(1, 1)
        right.choose("3", group="Head")
        assert left.state() == right.state()
        if second is wide:
            left.point_at(6, 6)
            assert left.patch() == (6, 6) and right.patch() == (1, 1)
        np.testing.assert_allclose(
            right.values()["patches"],
            second.numbers(**right.state())[1:],
            atol=second.tolerance("contributes"),
        )
        assert page.complaints == [] and len(page.requests) == 1
        page.close()


# ---- Screen readers, phones, colours


def test_patches_are_a_grid_with_names_counted_from_one(opened, wide):
    shown = opened(wide)
    grid = shown.page.get_by_role("grid", name="3 rows and 7 columns")
    assert grid.get_by_role("row").count() == 3
    for row in grid.get_by_role("row").all():
        assert row.get_by_role("gridcell").count() == 7
    assert grid.get_by_role("gridcell", name="row 3, column 7", exact=True).count() == 1
    for name in ("The outlined token", "Layer", "Head"):
        assert shown.page.get_by_role("group", name=name).count() == 1
    assert shown.page.get_by_role("slider", name="Heat map").count() == 1


def test_summary_is_spoken_once_when_the_pointer_rests(opened, boot):
    shown = opened(boot)
    live = shown.page.locator("[aria-live=polite]")
    assert live.text_content() == "", "nothing is said before anything is asked"
    shown.page.evaluate(
        "() => { globalThis.spoken = []; const live = document.querySelector("
        "'[aria-live=polite]'); new MutationObserver(() => spoken.push("
        "live.textContent)).observe(live, { childList: true }); }"
    )
    # Timers end when the test says so: on a busy machine the way from one patch to
    # the next takes as long as a rest.
    shown.page.evaluate(
        "() => { const waiting = new Map(); let count = 0;"
        "globalThis.setTimeout = (f) => (waiting.set(++count, f), count);"
        "globalThis.clearTimeout = (id) => waiting.delete(id);"
        "globalThis.endTimers = () => { for (const f of waiting.values()) f();"
        "waiting.clear(); }; }"
    )
    for column in range(7):
        shown.point_at(2, column)
    assert shown.page.evaluate("spoken") == [], "the pointer has not rested"
    shown.page.evaluate("endTimers()")
    assert shown.page.evaluate("spoken") == [shown.summary()]
    assert shown.summary().startswith("Row 3, column 7 looks most at")


@pytest.mark.parametrize("width", [320, 360, 768])
def test_no_width_needs_sideways_scrolling(width, browser, opened, tmp_path):
    model = make_model(depth=24, embedding_dim=64, num_heads=16, num_classes=3)
    names = ["w" * 300, "a name of many words " * 9, "short"]
    image = make_image(model.config)
    case = Case(model, image, names, tmp_path, title="t" * 200)
    shown = opened(case, viewport=dict(width=width, height=740))
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
    for element in shown.page.locator(".ae-explorer *:visible").all():
        box = element.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width


def test_touch_chooses_and_pins(opened, boot):
    phone = dict(viewport=dict(width=360, height=740), has_touch=True, is_mobile=True)
    shown = opened(boot, **phone)
    for row, column in ((3, 4), (5, 1)):
        shown.page.touchscreen.tap(*shown.centre(row, column))
        assert shown.patch() == (row, column)
        assert shown.page.get_by_text("Pinned.").is_visible()
    state = dict(layer=6, head=0, view="looks-at", row=5, column=1)
    check_drawn(boot, shown, **state)
    shown.page.get_by_role("button", name="class token").tap()
    assert shown.patch() == (-1, -1)


CONTRASTS = """(root) => {
  const context = document.createElement("canvas").getContext("2d", {
    willReadFrequently: true });
  const rgb = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => c / 255).map((c) =>
      c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, style")) continue;
    let behind = element;
    while (behind && rgb(getComputedStyle(behind).backgroundColor)[3] < 255)
      behind = behind.parentElement;
    const [a, b] = [rgb(getComputedStyle(element).color),
      rgb(getComputedStyle(behind ?? document.documentElement).backgroundColor)]
      .map((c) => light(c)).sort((a, b) => b - a);
    found.push([element.textContent, (a + 0.05) / (b + 0.05)]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_colour_schemes(scheme, opened, boot):
    shown = opened(boot, color_scheme=scheme)
    shown.choose(LABELS["rollout"])  # with a disabled group
    found = shown.page.locator("body").evaluate(CONTRASTS)
    assert len(found) > 30
    assert min(found, key=lambda pair: pair[1])[1] >= 4.5
    behind = shown.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (behind == "rgb(255, 255, 255)") == (scheme == "light")


def test_nothing_moves_by_itself(opened, boot):
    shown = opened(boot, reduced_motion="no-preference")
    shown.point_at(3, 3)
    assert shown.page.evaluate("document.getAnimations().length") == 0


# ---- Safety


def test_hostile_names_are_shown_and_do_not_run(opened, tmp_path):
    model = make_model(num_classes=len(HOSTILE))
    image = make_image(model.config)
    case = Case(model, image, HOSTILE, tmp_path, title=HOSTILE[0], top=6)
    shown = opened(case)
    shown.page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    assert shown.page.get_by_role("heading", level=2).text_content() == HOSTILE[0]
    assert shown.page.title() == f"{HOSTILE[0]}: attention"
    names = shown.page.locator(".ae-name").all()
    assert {name.text_content() for name in names} == {
        name.replace("\udcff", "?") for name in HOSTILE
    }
    assert shown.page.locator("img").count() == 1, "only the image itself"
    shown.point_at(1, 1)
    assert shown.patch() == (1, 1)


def test_policy_stops_scripts_and_requests_that_are_not_the_pages_own(browser, boot):
    page = open_file(browser, boot.path)
    page.evaluate(
        "() => { const add = (tag, properties) => document.body.append("
        "Object.assign(document.createElement(tag), properties));"
        "add('script', { textContent: 'globalThis.ran = true' });"
        "add('style', { textContent: 'body { display: none }' });"
        "add('img', { src: 'http://127.0.0.1:9/a.png' });"
        "add('iframe', { src: 'http://127.0.0.1:9/' }); }"
    )
    page.evaluate("fetch('http://127.0.0.1:9/').catch(() => {})")
    assert page.evaluate("globalThis.ran") is None
    assert page.locator("main").is_visible()
    assert len([c for c in page.complaints if "Content Security Policy" in c]) >= 4
    page.close()


def test_states_that_are_not_there_are_refused(opened, boot):
    shown = opened(boot)
    before = shown.state()
    for bad in (
        dict(layer=7),
        dict(head=5),
        dict(head=-1),
        dict(view="up"),
        dict(row=7),
        dict(column=1.5),
        dict(nothing=1),
    ):
        assert "the explorer has no" in shown.refused(**bad)
        assert shown.state() == before


def test_without_javascript_the_page_says_what_it_needs(browser, boot):
    page = open_file(browser, boot.path, java_script_enabled=False)
    assert "JavaScript: allow it here" in page.locator("main").inner_text()
    page.close()


def test_the_page_draws_also_where_torch_has_no_say(opened, wide):
    """The numbers come from the file alone: bytes changed there change the screen."""
    found = wide.exploration
    restored = restore(found.attention, found.attention_scales)
    shown = opened(wide)
    values = shown.values()
    right = restored[-1].mean(0)[0]
    np.testing.assert_allclose(values["patches"], right[1:], rtol=1e-12)
    assert torch.tensor(values["patches"]).sum() + values["classToken"] == (
        pytest.approx(1, abs=25 * found.description["error"]["greatest"])
    )


def test_a_missing_browser_skips_or_fails_as_asked(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="none of chromium, "):
        require_browser()
    monkeypatch.setenv("REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="none of chromium, "):
        require_browser()
