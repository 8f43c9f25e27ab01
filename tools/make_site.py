"""Build the site: the notebooks as they are stored, the pages, the reference.

    python -m tools.make_site            # into build/site; open index.html there
    python -m tools.make_site --output FOLDER

Sphinx needs all pages in one folder, so they are copied there first, each to the place
that it has in the project, so that links between them stay as they are. Links to what
is no page, such as a script, become plain text. Nothing is fetched, and no cell runs.
"""

import argparse
import re
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from sphinx.cmd.build import build_main

from going_modular.data_setup import load_builtin
from going_modular.explorer.live_page import live_page
from going_modular.pretrained import from_pretrained

ROOT = Path(__file__).parents[1]
PAGES = ("docs/*.md", "benchmarks/README.md", "experiments/README.md", "CHANGELOG.md")
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:)([^)#]+)(#[^)]*)?\)")
ROOMS = (
    "datasets training transfer processes weights variants inspection explorer report "
    "command_line system plots teaching"
).split()


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=ROOT / "build/site")
    output = parser.parse_args(argv).output
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "pages"
        lay_out(source)
        shutil.rmtree(output, ignore_errors=True)
        arguments = ["-W", "--keep-going", "-q", "-b", "html"]
        code = build_main([*arguments, str(source), str(output)])
    if code == 0:
        for rest in (".buildinfo", ".doctrees", "objects.inv"):
            left = output / rest
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        print(f"open {output / 'index.html'}")
    return code


def lay_out(source: Path) -> None:
    """Put all pages into a folder, as they lie in the project."""
    shutil.copytree(ROOT / "docs/site", source)
    shutil.copytree(ROOT / "images", source / "images")
    (source / "_static/live.html").write_text(live(), encoding="utf-8")
    (source / "reference/rooms.md").write_text(rooms(), encoding="utf-8")
    files = [path for pattern in PAGES for path in ROOT.glob(pattern)]
    for path in [*files, *ROOT.glob("notebooks/*.ipynb")]:
        place = source / path.relative_to(ROOT)
        place.parent.mkdir(exist_ok=True)
        shutil.copy(path, place)
    for path in source.rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        path.write_text(only_pages_linked(text, path, source), encoding="utf-8")
    for path in source.rglob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = only_pages_linked(cell.source, path, source)
        nbformat.write(notebook, path)


def only_pages_linked(text: str, path: Path, source: Path) -> str:
    """Leave links to pages and pictures, and of all others the words alone."""

    def judged(found: re.Match) -> str:
        words, target = found[1], found[2]
        return found[0] if (path.parent / target).is_file() else words

    return LINK.sub(judged, text)


def live() -> str:
    """The page in which the built-in model runs."""
    model = from_pretrained("built-in", quiet=True)
    return live_page(model, load_builtin()[1].class_names)


def rooms() -> str:
    """The reference of everything below the top floor, room by room."""
    parts = ["# The rooms below\n"]
    for room in ROOMS:
        folder = ROOT / "going_modular" / room
        parts.append(f"## {room}\n")
        for path in sorted(folder.glob("*.py")):
            name = f"going_modular.{room}"
            if path.stem != "__init__":
                name += f".{path.stem}"
                parts.append(f"### {path.stem}\n")
            parts.append("```{eval-rst}\n.. automodule:: " + name + "\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
