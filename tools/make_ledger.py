"""Write docs/ledger.md: for each claim of the paper what was run, and what came out.

    python -m tools.make_ledger

What was measured comes from the tables in experiments/results, and from tests that
are marked with `@pytest.mark.ledger(item, found)`: `found` says what the test asserts.
"""

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from experiments.__main__ import STUDIES
from experiments.study import count_ahead
from going_modular.system.files import write_file
from tools.ledger_items import ITEMS, Item, study_of

ROOT = Path(__file__).parents[1]
LEDGER = ROOT / "docs" / "ledger.md"
HEAD = """\
# The paper, item by item

Every equation, table and figure of *An Image is Worth 16x16 Words* that can be asked a question has a row here: what the paper says, what was run for it at a size that two cores can bear, what one would expect, and what came out. A difference is in points of test accuracy, the first setting named being what all others are held against, with its 95 % interval over five seeds. What a small model shows is a hint about larger ones and no proof; [experiments/README.md](../experiments/README.md) says how the runs were made.

`make ledger` writes this page from the tables in `experiments/results` and from the tests that are named in the last column, and a test fails when it is out of date.

| item | the paper says | run here | expected | measured | held by |
|---|---|---|---|---|---|
"""  # noqa: E501


def marks(path: Path) -> Iterator[tuple[str, str, str]]:
    """Item, finding and name of each marked test of a file."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        for decorator in getattr(node, "decorator_list", ()):
            if (
                ast.unparse(getattr(decorator, "func", decorator))
                == "pytest.mark.ledger"
            ):
                item, found = map(ast.literal_eval, decorator.args)
                yield item, found, f"{path.name}::{node.name}"


def marked_tests() -> dict[str, list[tuple[str, str]]]:
    """What each item's tests assert, and their names.

    Raises:
        ValueError: A mark names no item.
    """
    known, tests = {item.name for item in ITEMS}, defaultdict(list)
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        for item, found, name in marks(path):
            if item not in known:
                raise ValueError(f"{name}: the ledger has no item {item!r}")
            tests[item].append((found, name))
    return tests


def complete(item: Item) -> bool:
    """Whether the studies that an item tells of have all their rows."""
    names = (
        command.removeprefix("python -m experiments.") for command in item.commands
    )
    studies = [study_of(name) for name in names if name in STUDIES]
    return not any(count_ahead(study, list(study.settings)) for study in studies)


def row(item: Item, tests: list[tuple[str, str]]) -> str:
    """A line of the table."""
    found = []
    if item.measured:
        found.append(item.measured() if complete(item) else "not run yet")
    found += dict.fromkeys(words for words, _ in tests)
    holders = [f"`{command}`" for command in item.commands]
    holders += [f"`{name}`" for _, name in tests]
    cells = (
        item.name,
        item.says,
        item.here,
        item.expected,
        "; ".join(found),
        ", ".join(holders),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def ledger() -> str:
    """The page."""
    tests = marked_tests()
    return HEAD + "".join(row(item, tests[item.name]) for item in ITEMS)


def main() -> int:
    text = ledger()
    write_file(LEDGER, lambda path: path.write_bytes(text.encode()))
    print(f"{len(ITEMS)} items in {LEDGER.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
