"""The site in a real browser: every page, in both themes, on a desk and on a phone."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import open_browser, require_browser, watched_page

from tools.make_site import main

RULES = {  # what is no matter of colours is the same in both themes
    "light": {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa"], "preload": False},
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast"]}},
}
TYPESET = """async () => {
  if (!document.querySelector("script[src*='mathjax']")) return;
  while (!window.MathJax?.startup?.promise) await new Promise((d) => setTimeout(d, 20));
  await MathJax.startup.promise;
}"""
REACHED = """() => [...document.querySelectorAll(".bd-article pre, .bd-article table")]
  .every((part) => part.tabIndex === 0 || (part.scrollWidth <= part.clientWidth + 12
    && part.scrollHeight <= part.clientHeight + 12))"""
CONTRAST = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (part) => {
    for (let at = part; at; at = at.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(at).backgroundColor);
      if (a > 0.99) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const found = new Map();
  for (const drawn of document.querySelectorAll("mjx-container use")) {
    const { fill } = getComputedStyle(drawn);
    const [a, b] = [light(parse(fill)), light(ground(drawn.closest("mjx-container")))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found.set(fill, Math.min(found.get(fill) ?? 99, ratio));
  }
  return [...found];
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built as `make site` does."""
    folder = tmp_path_factory.mktemp("site") / "site"
    assert main(["--output", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def browser():
    with open_browser(require_browser()) as opened:
        yield opened


def pages_of(site: Path) -> list[Path]:
    """All pages but those of the theme and the live one, which has its own tests."""
    return sorted(p for p in site.rglob("*.html") if "_static" not in p.parts)


class Read(HTMLParser):
    """The addresses that a page leads to, and the places in it that have names."""

    def __init__(self, text: str):
        super().__init__()
        self.links, self.names = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.names.add(value)
            elif name in ("href", "src") and value and tag != "base":
                self.links.append(value)


def test_every_link_within_the_site_is_alive(site):
    read = {p: Read(p.read_text(encoding="utf-8")) for p in pages_of(site)}
    dead = []
    for page, found in read.items():
        for link in found.links:
            if re.match(r"(https?|mailto|data|blob):", link):
                continue
            address, place = urldefrag(unquote(link.split("?")[0]))
            target = (page.parent / address).resolve() if address else page
            known = read[target].names if target in read else None
            if not target.exists() or (place and known is not None):
                if not target.exists() or place not in known:
                    dead.append((page.name, link))
    assert dead == []
    assert len(read) > 30


def test_notebooks_and_pages_are_all_there(site):
    names = {str(p.relative_to(site).with_suffix("")) for p in pages_of(site)}
    root = Path(__file__).parents[1]
    for path in [*root.glob("notebooks/*.ipynb"), *root.glob("docs/*.md")]:
        assert str(path.relative_to(root).with_suffix("")) in names
    for name in ("index", "live", "reuse", "reference/model", "experiments/README"):
        assert name in names
    text = (site / "reference/model.html").read_text(encoding="utf-8")
    for taught in ("patchify", "MultiheadSelfAttention", "ViT", "ViTConfig"):
        assert f'id="going_modular.{taught}' in text or f".{taught}" in text


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_is_clean(scheme, site, browser):
    """No complaint, no request to the outside, nothing cut off, no rule broken."""
    page = watched_page(browser, color_scheme=scheme)
    problems, equations = [], 0
    for path in pages_of(site):
        name = str(path.relative_to(site))
        page.complaints.clear()
        page.requests.clear()
        page.set_viewport_size({"width": 390, "height": 844})
        page.goto(path.as_uri())
        page.evaluate(TYPESET)
        wide = page.evaluate("document.documentElement.scrollWidth")
        problems += [(name, "wide", wide)] * (wide > 390)
        page.set_viewport_size({"width": 1300, "height": 900})
        page.wait_for_function(REACHED)  # by the keyboard, what scrolls
        outside = [r for r in page.requests if re.match("https?:", r)]
        problems += [(name, "asked", r) for r in outside]
        for fill, ratio in page.evaluate(CONTRAST):
            equations += 1
            problems += [(name, fill, round(ratio, 2))] * (ratio < 4.5)
        problems += [(name, "says", c) for c in page.complaints]
        for broken in Axe().run(page, options=RULES[scheme]).response["violations"]:
            node = broken["nodes"][0]
            problems.append((name, broken["id"], node["html"][:200]))
    assert problems == []
    assert equations > 20


@pytest.mark.parametrize("words", ["rollout", "position embedding"])
def test_search_finds(words, site, browser):
    page = watched_page(browser)
    page.goto((site / "search.html").as_uri() + f"?q={words.replace(' ', '+')}")
    page.locator("#search-results li a").first.wait_for()
    found = page.locator("#search-results li a").all_text_contents()
    assert len(found) >= 3
