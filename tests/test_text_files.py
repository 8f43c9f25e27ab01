"""Every text file is read and written as UTF-8, whatever the system's own encoding."""

import ast
from pathlib import Path

import pytest
from notebook_files import ROOT

FOLDERS = ("going_modular", "benchmarks", "tools", "functions")
FILES = [
    *ROOT.glob("*.py"),
    *(p for f in FOLDERS for p in ROOT.joinpath(f).rglob("*.py")),
]
NO_TEXT = ("Image", "gzip", "os", "webbrowser", "np", "lzma")  # their open() is another


def silent_calls(text: str) -> list[int]:
    """Lines that open a text file, or read or write one, and name no encoding."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        owner = getattr(getattr(node.func, "value", None), "id", None)
        name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
        if name == "open" and owner not in NO_TEXT:
            places = node.args[0 if owner else 1 :]
            mode = [a for a in places if isinstance(a, ast.Constant)]
            mode += [k.value for k in node.keywords if k.arg == "mode"]
            if mode and "b" in str(mode[0].value):
                continue
        elif name not in ("read_text", "write_text"):
            continue
        if "encoding" not in {keyword.arg for keyword in node.keywords}:
            found.append(node.lineno)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_text_files_name_their_encoding(path: Path):
    assert silent_calls(path.read_text(encoding="utf-8")) == []


def test_the_test_above_notices_what_names_no_encoding():
    text = """
open("a")
open("a", "w", newline="")
path.open("w")
path.read_text()
path.write_text("b")
open("a", encoding="utf-8"), open("a", "rb"), path.open("wb"), open("a", mode="rb")
Image.open("a"), path.read_text(encoding="utf-8"), os.open("a", os.O_RDONLY)
"""
    assert silent_calls(text) == [2, 3, 4, 5, 6]
