"""The attention explorer as one HTML file: no server, no network, nothing to install.

A Content-Security-Policy lets the browser run the one script that stands in the file,
known by its hash, and fetch nothing.
"""

import base64
import hashlib
import html
import json
from importlib.resources import files
from pathlib import Path

from going_modular.explorer.data import Exploration
from going_modular.system.files import write_file

__all__ = ["page", "read_part", "write_page"]

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

# Runs behind explorer.js, in the same script.
START = """
const part = (name) => document.getElementById(name).textContent;
function decode(text) {
  const characters = atob(text);
  const decoded = new Uint8Array(characters.length);
  for (let i = 0; i < decoded.length; i++) decoded[i] = characters.charCodeAt(i);
  return decoded;
}
const description = JSON.parse(part("description"));
const arrays = {};
for (const name of JSON.parse(part("names"))) arrays[name] = decode(part(name));
mount(document.getElementById("explorer"), description, arrays, () => {});
"""


def page(exploration: Exploration) -> str:
    """The whole HTML file as text."""
    style = read_part("explorer.css") + PAGE_STYLE
    script = read_part("explorer.js") + START
    policy = (
        "default-src 'none'; base-uri 'none'; form-action 'none'; img-src data:; "
        f"script-src '{fingerprint(script)}'; style-src '{fingerprint(style)}'"
    )
    arrays = exploration.arrays()
    json_parts = {"description": exploration.description, "names": list(arrays)}
    data = [
        f'<script type="application/json" id="{name}">{to_json(value)}</script>'
        for name, value in json_parts.items()
    ] + [
        f'<script type="text/plain" id="{name}">'
        f"{base64.b64encode(content).decode()}</script>"
        for name, content in arrays.items()
    ]
    title = exploration.description["title"]
    return TEMPLATE.format(
        policy=policy,
        title=html.escape(f"{title}: attention" if title else "Attention"),
        style=style,
        data="\n".join(data),
        script=script,
    )


def write_page(path: Path, exploration: Exploration) -> None:
    """Write the page as a file, whole or not at all."""
    text = page(exploration)
    write_file(path, lambda p: p.write_text(text, encoding="utf-8", newline="\n"))


def read_part(name: str) -> str:
    """The explorer's script or style, which stand beside this module."""
    file = files("going_modular.explorer") / name
    return file.read_text(encoding="utf-8")


def fingerprint(text: str) -> str:
    """The hash by which a Content-Security-Policy knows a script or a style."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def to_json(value) -> str:
    """JSON, in ASCII, that cannot end the script element it stands in."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
