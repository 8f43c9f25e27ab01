"""Exercises: right answers of any form pass, wrong ones read why and never what."""

import json
import re

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from notebook_files import NOTEBOOKS, exercises, read
from torch import as_tensor

from going_modular.teaching import exercises as module
from going_modular.teaching.exercises import (
    SOLVED,
    Exercise,
    WrongAnswer,
    check,
    hint,
    load_exercise,
    progress,
)

SUMS = Exercise(
    answer=lambda x: x.sum(dim=-1),
    cases=lambda: [(torch.arange(8.0).view(2, 4) + 100,), (torch.full((4, 5), 1.5),)],
    laws=(
        (
            "twice the numbers, twice the sum",
            lambda f, x: torch.equal(as_tensor(f(2 * x)), 2 * as_tensor(f(x))),
        ),
    ),
    mistakes={"that is the mean": lambda x: x.mean(dim=-1)},
    hints=("first", "second"),
)


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "_solved", set())
    monkeypatch.setattr(module, "_hints_given", {})
    return tmp_path


@pytest.fixture
def sums(monkeypatch):
    monkeypatch.setattr(module, "load_exercise", lambda name: SUMS)


def wrong(answer, name="00.9") -> str:
    with pytest.raises(WrongAnswer) as refusal:
        check(name, answer)
    return str(refusal.value)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: x.sum(dim=-1),
        lambda x: sum(x.unbind(-1)),
        lambda x: x.double().sum(-1).tolist(),
        lambda x: (x @ torch.ones(x.shape[-1])).numpy(),
    ],
    ids=["sum", "loop", "list", "array"],
)
def test_right_answers_of_any_form_pass(answer, sums, capsys):
    check("00.9", answer)
    assert capsys.readouterr().out == "00.9: correct.\n"


def test_wrong_answers_read_what_was_misunderstood(sums):
    assert wrong(lambda x: x.mean(dim=-1)) == "that is the mean"
    assert wrong(lambda x: x.sum(dim=-1) + 1) == "twice the numbers, twice the sum"
    assert "another shape" in wrong(lambda x: x.sum(dim=-1, keepdim=True))
    assert "is there a `return`?" in wrong(lambda x: None)
    assert "stops with ZeroDivisionError" in wrong(lambda x: 1 / 0)
    assert "hand over the function itself" in wrong(3)


def test_a_function_that_changes_its_argument_is_refused(sums):
    assert "work on a copy" in wrong(lambda x: x.mul_(2).sum(dim=-1) / 2)


def test_a_wrong_answer_never_reads_the_right_one(sums):
    for answer in (lambda x: x.sum(), lambda x: x[..., 0], lambda x: x.sum(-1) * 2):
        said = wrong(answer)
        assert not any(expected in said for expected in ("406", "422", "7.5"))


def test_three_dots_pass_as_not_answered(sums, capsys):
    check("00.9", ...)
    check("00.9", lambda x: ...)
    said = '00.9: not answered yet. Replace the three dots; hint("00.9") helps.\n'
    assert capsys.readouterr().out == 2 * said
    assert not SOLVED.exists()


def test_hints_come_one_at_a_time_and_begin_again(sums, capsys):
    for _ in range(3):
        hint("00.9")
    expected = "Hint 1 of 2: first\nHint 2 of 2: second\nHint 1 of 2: first\n"
    assert capsys.readouterr().out == expected


def test_an_unknown_exercise_is_named_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"no exercise '99.1': choose from 00.1, "):
        check("99.1", 3)


def test_progress_shows_what_is_solved_and_remembers_it(capsys, monkeypatch):
    assert "○○○○  0 of 4" in repr(progress())
    check("00.1", 301)
    assert "●○○○  1 of 4" in repr(progress())
    assert json.loads(SOLVED.read_text()) == ["00.1"]
    monkeypatch.setattr(module, "_solved", set())  # another notebook's process
    assert "●○○○" in progress()._repr_html_()
    check("00.3", load_exercise("00.3").answer)
    assert json.loads(SOLVED.read_text()) == ["00.1", "00.3"]


@pytest.mark.parametrize("text", ["{", '{"mine": 1}', "[1, 2]", "\xff"])
def test_a_file_that_is_not_ours_is_left_alone(text):
    SOLVED.write_text(text, encoding="latin-1")
    check("00.1", 301)
    assert SOLVED.read_text(encoding="latin-1") == text
    assert "1 of 4" in repr(progress())


def test_a_link_is_not_followed(own_folder):
    SOLVED.symlink_to(own_folder / "elsewhere")
    check("00.1", 301)
    assert not (own_folder / "elsewhere").exists()


def test_a_notebook_shows_one_line_and_no_traceback(capsys):
    shell = InteractiveShell.instance()
    shell.run_cell(
        "from going_modular.teaching.exercises import check\ncheck('00.1', 300)"
    )
    said = capsys.readouterr()
    assert "Not yet: that is the number of patches" in said.out + said.err
    assert "Traceback" not in said.out + said.err
    InteractiveShell.clear_instance()


@pytest.mark.parametrize("name", module.NOTEBOOKS)
def test_every_exercise_stands_in_its_notebook_and_has_hints(name):
    (path,) = [p for p in NOTEBOOKS if p.stem.startswith(name)]
    asked = [re.search(r'check\("([\d.]+)"', e.check)[1] for e in exercises(read(path))]
    known = module.exercises_of(name)
    assert asked == [f"{name}.{number}" for number in known] and len(asked) >= 4
    for exercise in known.values():
        assert len(exercise.hints) >= 2
        assert all(s[0].islower() and not s.endswith(".") for s in exercise.mistakes)
