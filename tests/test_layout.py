"""The package's house: the book on its top floor, and imports that run downwards."""

import ast
from pathlib import Path

import pytest
from notebook_files import ROOT

PACKAGE = ROOT / "going_modular"

# From the ground up. A module imports from its own line and from those above it in this
# list, never from those below. A folder's name stands for all that is in it.
FLOORS = (
    "errors",
    "system",
    "config utils",
    "data_setup patch_embedding multihead_self_attention multilayer_perceptron "
    "transformer_encoder vit optimization engine",
    "variants hybrid",
    "checkpoint",
    "datasets",
    "weights",
    "pretrained",
    "inspection",
    "attention_maps relevance learned_structure",
    "predictions",
    "plots",
    "explorer",
    "report",
    "helper_functions teaching",
    "processes",
    "training",
    "transfer",
    "command_line",
)
FLOOR_OF = {
    name: number for number, names in enumerate(FLOORS) for name in names.split()
}


def module_name(path: Path, package: Path) -> str:
    parts = path.relative_to(package).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_script_part(node: ast.AST) -> bool:
    """Whether it runs only where a module is the program, which is above all."""
    return isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)


def import_graph(package: Path) -> dict[str, set[str]]:
    """For each module of a package those that it imports, in functions too."""
    files = {module_name(path, package): path for path in package.rglob("*.py")}
    graph = {}
    for name, path in files.items():
        found = set()
        inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tree.body = [node for node in tree.body if not is_script_part(node)]
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
                prefix = f"{package.name}."
                found |= {n.removeprefix(prefix) for n in names if prefix in n}
            if not isinstance(node, ast.ImportFrom):
                continue
            source = node.module or ""
            if node.level:
                parents = inside.split(".") if inside else []
                parents = parents[: len(parents) - node.level + 1]
                source = ".".join([package.name, *parents, *filter(None, [source])])
            first, _, rest = source.partition(".")
            if first != package.name:
                continue
            inner = {f"{rest}.{alias.name}".lstrip(".") for alias in node.names}
            found |= {n for n in inner if n in files} or {rest}
        graph[name] = found & files.keys() - {name, ""}
    return graph


def reach(graph: dict[str, set[str]], start: str) -> set[str]:
    """The modules that importing one brings in, itself among them."""
    found, waiting = set(), [start]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += graph[name]
    return found


def circles(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Imports that lead back to where they come from."""
    return [(a, b) for a in graph for b in graph[a] if a in reach(graph, b)]


def upward(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Imports of something that stands on a higher floor."""

    def floor(name: str) -> int:
        return FLOOR_OF[name.partition(".")[0]]

    return [(a, b) for a in graph if a for b in graph[a] if floor(b) > floor(a)]


GRAPH = import_graph(PACKAGE)


def test_no_imports_run_in_a_circle():
    assert circles(GRAPH) == []


def test_imports_run_downwards():
    assert upward(GRAPH) == []


def test_every_module_has_its_floor():
    rooms = {name.partition(".")[0] for name in GRAPH if name}
    assert rooms == FLOOR_OF.keys()


def test_the_model_is_reached_through_six_files():
    assert len(reach(GRAPH, "vit")) <= 6


def test_the_top_floor_has_at_most_twenty_files():
    assert len(list(PACKAGE.glob("*.py"))) <= 20


@pytest.mark.parametrize(
    "folder", [p.parent for p in PACKAGE.glob("*/__init__.py")], ids=lambda p: p.name
)
def test_a_folder_begins_with_what_lives_there_and_nothing_else(folder):
    tree = ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) and len(tree.body) == 1


@pytest.fixture
def wrong_house(tmp_path):
    """A package with a circle and an upward import, one in a function."""
    house = tmp_path / "house"
    (house / "system").mkdir(parents=True)
    for name, text in {
        "__init__": "",
        "vit": "from .config import A",
        "config": "def f():\n    from house import vit",
        "system/__init__": "",
        "system/files": "import house.config\nfrom ..errors import B",
        "errors": "import os",
    }.items():
        (house / f"{name}.py").write_text(text)
    return import_graph(house)


def test_the_tests_above_notice_a_circle_and_an_upward_import(wrong_house):
    assert set(circles(wrong_house)) == {("vit", "config"), ("config", "vit")}
    assert set(upward(wrong_house)) == {
        ("config", "vit"),
        ("system.files", "config"),
    }
    assert wrong_house["system.files"] == {"config", "errors"}
