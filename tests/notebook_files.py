"""Reading the notebooks for the tests."""

import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook) -> list:
    return [c for c in notebook.cells if c.cell_type == "code" and c.source.strip()]


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


class Pictures(HTMLParser):
    """Reads the attributes of each `img` of a page."""

    def __init__(self, page: str):
        super().__init__()
        self.found: list[dict] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag == "img":
            self.found.append(dict(attrs))


def alt_texts(cell) -> list[str | None]:
    """The alt text of each picture that a cell shows; None of a bare `image/png`."""
    found = []
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            found.append(None)
        found += [p.get("alt") for p in Pictures(data.get("text/html", "")).found]
    return found


@dataclass
class Exercise:
    """One exercise: what the reader replaces, how it is checked, and a right answer."""

    stub: str
    check: str
    solution: str


def exercises(notebook) -> list[Exercise]:
    """The exercises of a notebook, in order.

    An exercise is a code cell tagged `exercise`; its check begins at the first line
    that starts with `check(`. The next cell folds the solution.
    """
    found = []
    for i, cell in enumerate(notebook.cells):
        if "exercise" not in tags(cell):
            continue
        start = re.search(r"^check\(", cell.source, re.MULTILINE).start()
        folded = notebook.cells[i + 1].source
        solution = re.search(
            r"<details>.*```python\n(.*?)```.*</details>", folded, re.S
        )
        assert solution, f"no folded solution after: {cell.source}"
        stub, check = cell.source[:start], cell.source[start:]
        found.append(Exercise(stub, check, solution.group(1)))
    return found


def setup_source(notebook) -> str:
    """The cell that an exercise may rely on, tagged `setup`."""
    (cell,) = [c for c in notebook.cells if "setup" in tags(c)]
    return cell.source


def exported_source(notebook) -> str:
    """The cells that go into the package, and what they import from it."""
    found = []
    for cell in code_cells(notebook):
        lines = cell.source.splitlines()
        imports = all(re.match(r"from |import |#|$", line) for line in lines)
        if "#| export" in cell.source or imports:
            found.append(cell.source)
    return "\n".join(found)


def answers(path: Path, kind: str = "") -> dict[int, list[str]]:
    """Answers of learners to a notebook's exercises, by number.

    They stand in `answers/NN_name.py`, each under `# %% NUMBER KIND: what it is`.
    """
    text = (ROOT / "tests/answers" / f"{path.stem}.py").read_text(encoding="utf-8")
    found: dict[int, list[str]] = {}
    pattern = rf"^# %% (\d) ({kind})[^\n]*\n(.*?)(?=^# %%|\Z)"
    for number, _, block in re.findall(pattern, text, re.M | re.S):
        found.setdefault(int(number), []).append(block)
    return found
