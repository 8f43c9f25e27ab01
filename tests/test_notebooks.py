"""The notebooks are stored executed, can be read by all, and their exercises work."""

import re
import subprocess
import sys

import matplotlib
import nbformat
import pytest
from notebook_files import (
    NOTEBOOKS,
    ROOT,
    alt_texts,
    answers,
    code_cells,
    exercises,
    exported_source,
    read,
    setup_source,
    tags,
)

from going_modular.plots.alt_text import alt_text
from going_modular.teaching import exercises as exercises_module
from tools.run_notebooks import clean, fills_more_than_a_screen, is_folded

matplotlib.use("Agg")
REWRITTEN = exercises_module.NOTEBOOKS  # those whose exercises are judged there
FOLDED = "The next cell is folded in JupyterLab: it holds "

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@each_notebook
def test_title_begins_with_the_notebooks_number(path):
    assert read(path).cells[0].source.startswith(f"# {path.stem[:2]} ")


@each_notebook
def test_notebook_is_stored_executed_without_errors(path):
    for cell in code_cells(read(path)):
        assert cell.execution_count, f"never executed: {cell.source[:80]}"
        assert not cell.source.rstrip().endswith(";"), cell.source
        errors = [o for o in cell.outputs if o.output_type == "error"]
        assert not errors or "raises-exception" in tags(cell), cell.source


@each_notebook
def test_every_figure_has_alt_text_and_a_reading(path):
    cells = read(path).cells
    number = 0
    for i, cell in enumerate(cells):
        if cell.cell_type != "code" or not (shown := alt_texts(cell)):
            continue
        words = alt_text(cell.source)
        assert words and len(words) >= 30, cell.source[:80]
        assert set(shown) == {words}, f"stored without it, run it anew: {words}"
        if "draw_pipeline" in cell.source:
            continue
        number += 1
        reading = cells[i + 1].source
        assert reading.startswith(f"**Figure {number}.** "), reading[:80]
        assert len(reading.split()) >= 15, reading


@each_notebook
def test_long_cells_of_the_package_are_folded_and_folds_introduced(path):
    cells = read(path).cells
    for i, cell in enumerate(cells):
        hidden = is_folded(cell)
        assert hidden or not fills_more_than_a_screen(cell), cell.source[:80]
        said = cells[i - 1].source.split("\n\n")[-1].startswith(FOLDED) if i else False
        assert hidden == said, f"words and fold disagree: {cell.source[:80]}"


def test_running_a_notebook_keeps_its_folds():
    cell = nbformat.v4.new_code_cell("x = 1", metadata={"collapsed": True})
    folded = nbformat.v4.new_code_cell("y = 2")
    folded.metadata["jupyter"] = {"source_hidden": True, "outputs_hidden": True}
    notebook = nbformat.v4.new_notebook(cells=[cell, folded])
    clean(notebook)
    assert [is_folded(c) for c in notebook.cells] == [False, True]
    assert notebook.cells[0].metadata == {}
    assert notebook.cells[1].metadata == {"jupyter": {"source_hidden": True}}


def group_end(text: str, start: int) -> int:
    """Where the group in braces that begins at `start` is over."""
    depth = 0
    for i in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[i], 0)
        if depth == 0:
            return i + 1
    raise ValueError(f"a brace is not closed: {text[start:]}")


def leaking_colours(text: str) -> list[str]:
    r"""Each `\color{...}{...}` without braces of its own around it.

    MathJax 3 reads `\color{...}` as a switch: what follows is coloured, too.
    """
    leaks = []
    for found in re.finditer(r"\\color(?=\{)", text):
        start, end = found.start(), group_end(text, found.end())
        if text[end : end + 1] == "{":
            end = group_end(text, end)
        if text[start - 1 : start] != "{" or text[end : end + 1] != "}":
            leaks.append(text[start:end])
    return leaks


@pytest.mark.parametrize(
    "path", [*NOTEBOOKS, *ROOT.glob("*.md"), *ROOT.glob("*/*.md")], ids=lambda p: p.stem
)
def test_colours_stay_with_their_terms(path):
    cells = read(path).cells if path.suffix == ".ipynb" else []
    prose = [c.source for c in cells if c.cell_type == "markdown"]
    assert not leaking_colours("\n".join(prose or [path.read_text(encoding="utf-8")]))


def test_leaking_colours_are_found():
    term = r"\color{#0072B2}{\mathbf{z}_l}"
    assert not leaking_colours(f"${{{term}}} + x$")
    assert leaking_colours(f"${term} + x$") == [term]
    assert leaking_colours(f"$\\frac{{{term} + x}}2$") == [term]
    assert leaking_colours(f"$\\frac{{x + {term}}}2$") == [term]


NUMBER = re.compile(r"(?<![\w.,])\d+(?:\.\d+)?(?= ?%)|(?<![\w.,])\d+\.\d+")
# Words of a sentence that name where its numbers come from.
SOURCE = re.compile(
    r"\b(paper|Table|section|Equation|Appendix|appendix|figure \d|et al\.|arXiv|Python|"
    r"official|torchvision|timm|transformers|MathJax)\b"
)


def unsupported_numbers(notebook) -> list[str]:
    """Sentences with a decimal or a per cent that no cell prints and no source backs.

    A sentence ends at a full stop before a blank, or with its line.
    """
    shown = "\n".join(
        [cell.source for cell in code_cells(notebook)]
        + [
            str(output.get("text", "")) + str(output.get("data", {}).get("text/plain"))
            for cell in code_cells(notebook)
            for output in cell.outputs
        ]
    )
    known = set(re.findall(r"\d+(?:\.\d+)?", shown.replace(",", "")))
    found = []
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            continue
        prose = re.sub(r"```.*?```|`[^`]*`|\]\([^)]*\)", "", cell.source, flags=re.S)
        for sentence in re.split(r"(?<=[.:;?!])\s|\n", prose):
            numbers = NUMBER.findall(sentence)
            if SOURCE.search(sentence) or set(numbers) <= known:
                continue
            found.append(sentence)
    return found


@each_notebook
def test_numbers_in_prose_are_printed_or_have_a_source(path):
    if path.stem[:2] in REWRITTEN:
        assert unsupported_numbers(read(path)) == []


def test_numbers_without_support_are_found():
    cell = {"cell_type": "code", "source": "x = 0.5", "execution_count": 1}
    output = {"output_type": "stream", "text": "loss 2.303, 91% sure"}
    shown = {**cell, "outputs": [output], "metadata": {}}
    words = (
        "It loses 2.303 and is 91 % sure. Half is 0.5. The paper has 88.55 %.\n"
        "It was 17 %. It took 3.75 s, and `eps=1e-6` is 0.25.\n\n| 4.5 | ten |"
    )
    book = nbformat.from_dict(
        {
            "cells": [
                shown,
                {"cell_type": "markdown", "source": words, "metadata": {}},
            ],
            "metadata": {},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
    )
    assert unsupported_numbers(book) == [
        "It was 17 %.",
        "It took 3.75 s, and  is 0.25.",
        "| 4.5 | ten |",
    ]


def run(source: str, namespace: dict) -> None:
    exec(compile(source, "<cell>", "exec"), namespace)


@each_notebook
def test_exercises_accept_dots_and_solutions_and_refuse_wrong_answers(
    path, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # where the solved ones are noted
    notebook = read(path)
    found = exercises(notebook)
    wrong, right = answers(path, "wrong"), answers(path, "right")
    assert set(wrong) == set(range(1, len(found) + 1)), "wrong answers to each exercise"
    for number, exercise in enumerate(found, start=1):
        namespace: dict = {"__name__": "__main__"}
        run(setup_source(notebook), namespace)
        if path.stem[:2] in REWRITTEN:  # a reader has run what goes into the package
            run(exported_source(notebook), namespace)
        capsys.readouterr()
        run(exercise.stub + exercise.check, namespace)
        assert "ot answered yet" in capsys.readouterr().out
        if path.stem[:2] in REWRITTEN:
            assert f'check("{path.stem[:2]}.{number}", ' in exercise.check
            assert len(wrong[number]) >= 5 and len(right[number]) >= 3
        for answer in (exercise.solution, *right.get(number, [])):
            run(exercise.stub + answer + exercise.check, namespace)
            assert "orrect." in capsys.readouterr().out.replace("Right.", "Correct.")
        for answer in wrong[number]:
            with pytest.raises(AssertionError) as refusal:
                run(exercise.stub + answer + exercise.check, namespace)
            assert len(str(refusal.value).splitlines()) == 1


def test_notebooks_and_package_agree(tmp_path):
    """Exporting again gives the same bytes, no more modules and no fewer."""
    copy = tmp_path / "copy"
    for folder in ("notebooks", "tools"):
        (copy / folder).mkdir(parents=True)
        for file in (ROOT / folder).glob(
            "*.ipynb" if folder == "notebooks" else "*.py"
        ):
            (copy / folder / file.name).write_bytes(file.read_bytes())
    (copy / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    (copy / "going_modular").mkdir()
    script = copy / "tools/export_notebooks.py"
    subprocess.run([sys.executable, script], cwd=copy, check=True)
    exported = {p.name: p.read_text() for p in (copy / "going_modular").glob("*.py")}
    exported.pop("_modidx.py", None)
    committed = {
        p.name: p.read_text()
        for p in (ROOT / "going_modular").glob("*.py")
        if "# AUTOGENERATED! DO NOT EDIT!" in p.read_text()
    }
    assert exported.keys() == committed.keys()
    for name, text in exported.items():
        assert text == committed[name], f"{name}: run `make export`"
