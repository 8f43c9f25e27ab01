"""The attention explorer as one HTML file: no server, no network, nothing to install.

A Content-Security-Policy lets the browser run the one script that stands in the file,
known by its hash, and fetch nothing.
"""

import base64
import hashlib
import html
import json
from pathlib import Path

from going_modular.explorer.bundle import bundle, read_part
from going_modular.explorer.data import Exploration
from going_modular.system.files import write_file

__all__ = ["DECODE", "html_page", "page", "pair_page", "write_page"]

TEMPLATE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main id="explorer"><noscript>This page draws with JavaScript: allow it here. \
Nothing is fetched, and nothing leaves this page.</noscript></main>
{data}
<script type="module">{script}</script>
</body>
</html>
"""

PAGE_STYLE = """
body { margin: 0; background: #fff; }
@media (prefers-color-scheme: dark) { body { background: #16181d; } }
main { max-width: 64rem; margin: 0 auto; padding: 1rem; }
"""

# Runs behind a page's modules, in the same script.
DECODE = """
const part = (name) => document.getElementById(name).textContent;
function fromBase64(text) {
  const characters = atob(text);
  const decoded = new Uint8Array(characters.length);
  for (let i = 0; i < decoded.length; i++) decoded[i] = characters.charCodeAt(i);
  return decoded;
}
"""
START = """
const description = JSON.parse(part("description"));
const arrays = {};
for (const name of JSON.parse(part("names"))) arrays[name] = fromBase64(part(name));
mount(document.getElementById("explorer"), description, arrays, () => {});
"""

START_PAIR = """
const read = (name) => {
  const arrays = {};
  for (const array of JSON.parse(part("names"))) {
    arrays[array] = fromBase64(part(`${name}-${array}`));
  }
  return [JSON.parse(part(`${name}-description`)), arrays];
};
mountPair(document.getElementById("explorer"), ["first", "second"].map(read));
"""
PAIR_STYLE = "main { max-width: 100rem; }"


def page(exploration: Exploration) -> str:
    """The whole HTML file as text."""
    arrays = exploration.arrays()
    title = exploration.description["title"]
    return html_page(
        f"{title}: attention" if title else "Attention",
        read_part("explorer.css"),
        bundle("explorer.js") + DECODE + START,
        {"description": exploration.description, "names": list(arrays)},
        arrays,
    )


def pair_page(first: Exploration, second: Exploration) -> str:
    """Two images of one model side by side, as text; what is chosen holds for both."""
    pair = {"first": first, "second": second}
    values = {f"{name}-description": found.description for name, found in pair.items()}
    arrays = {
        f"{name}-{array}": content
        for name, found in pair.items()
        for array, content in found.arrays().items()
    }
    titles = [found.description["title"] for found in pair.values()]
    return html_page(
        f"{' and '.join(titles)}: attention" if all(titles) else "Attention",
        read_part("explorer.css") + PAIR_STYLE,
        bundle("explorer.js") + DECODE + START_PAIR,
        {**values, "names": list(first.arrays())},
        arrays,
    )


def html_page(
    title: str,
    style: str,
    script: str,
    values: dict,
    arrays: dict[str, bytes],
    workers: bool = False,
) -> str:
    """An HTML file that may run its one script and fetch nothing.

    Args:
        title: Of the page.
        style: CSS, behind that of all pages.
        script: What draws into the element "explorer". It finds data by their names.
        values: Data by name, written as JSON.
        arrays: Data by name, written in base 64.
        workers: Whether the script may start others, from text of its own.
    """
    style = PAGE_STYLE + style
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"script-src '{fingerprint(script)}'; style-src '{fingerprint(style)}'"
        + "; worker-src blob:"
        * workers
    )
    data = [
        f'<script type="application/json" id="{name}">{to_json(value)}</script>'
        for name, value in values.items()
    ] + [
        f'<script type="text/plain" id="{name}">'
        f"{base64.b64encode(content).decode()}</script>"
        for name, content in arrays.items()
    ]
    return TEMPLATE.format(
        policy=policy,
        title=html.escape(title),
        style=style,
        data="\n".join(data),
        script=script,
    )


def write_page(path: Path, exploration: Exploration) -> None:
    """Write the page as a file, whole or not at all."""
    text = page(exploration)
    write_file(path, lambda p: p.write_text(text, encoding="utf-8", newline="\n"))


def fingerprint(text: str) -> str:
    """The hash by which a Content-Security-Policy knows a script or a style."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def to_json(value) -> str:
    """JSON, in ASCII, that cannot end the script element it stands in."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
