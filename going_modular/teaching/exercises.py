"""The exercises: `check("03.1", answer)`, `hint("03.1")` and `progress()`.

The questions stand in the notebooks. How a right answer is told from a wrong one stands
in `cases`, one file for each notebook. An answer is tried on cases that no notebook
shows. Who is wrong reads what was misunderstood, and never what was expected.
"""

import copy
import html
import inspect
import json
import numbers
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["Exercise", "WrongAnswer", "check", "hint", "load_exercise", "progress"]

NOTEBOOKS = tuple(f"{number:02}" for number in range(15))
SOLVED = Path(".solved_exercises.json")  # beside the notebooks
Law = tuple[str, Callable[..., bool]]


class WrongAnswer(AssertionError):
    """Says in one line what is wrong with an answer; a notebook shows only that."""

    def _render_traceback_(self) -> list[str]:  # IPython's own hook
        return [f"Not yet: {self}"]


@dataclass(frozen=True)
class Exercise:
    """How answers to one exercise are judged.

    Attributes:
        answer: A right one: a value, or a function of nothing that computes it; where
            there are cases, a function to be asked for. None: the laws say all.
        cases: Where a function is asked for: gives the arguments of each hidden case.
        laws: What must hold of an answer, as a sentence for who breaks it, and a test.
            It gets the answer, and for a function the arguments of a case, too.
        mistakes: Wrong answers that learners give, by what to tell them.
        hints: From a nudge to all but the solution.
        tolerance: Greatest difference between right numbers.
        read: Brings what was answered into one form, as of spellings.
    """

    answer: object
    hints: Sequence[str]
    cases: Callable[[], list[tuple]] | None = None
    laws: Sequence[Law] = ()
    mistakes: dict[str, object] = field(default_factory=dict)
    tolerance: float = 1e-5
    read: Callable = staticmethod(lambda answer: answer)


_hints_given: dict[str, int] = {}
_solved: set[str] = set()


def check(name: str, answer) -> None:
    """Judge an answer; three dots mean that there is none yet.

    Args:
        name: The exercise, such as "03.1".
        answer: A value or a function, as the exercise asks for.

    Raises:
        WrongAnswer: It is wrong; the message says in which way.
    """
    exercise = load_exercise(name)
    if exercise.cases is None:
        if answer is ...:
            return say_unanswered(name)
        judge_value(exercise, answer)
    else:
        if answer is not ... and not callable(answer):
            raise WrongAnswer(
                f"hand over the function itself, not what it gives: {answer!r:.60}"
            )
        if answer is ... or not judge_function(exercise, answer):
            return say_unanswered(name)
    remember(name)
    print(f"{name}: correct.")


def hint(name: str) -> None:
    """Print the next hint for an exercise; the first again after the last."""
    hints = load_exercise(name).hints
    number = _hints_given.get(name, 0)
    _hints_given[name] = (number + 1) % len(hints)
    print(f"Hint {number + 1} of {len(hints)}: {hints[number]}")


def load_exercise(name: str) -> Exercise:
    """An exercise by its name.

    Raises:
        ValueError: There is none of this name.
    """
    notebook, _, number = str(name).partition(".")
    known = exercises_of(notebook) if notebook in NOTEBOOKS else {}
    if number not in known:
        names = [f"{n}.{i}" for n in NOTEBOOKS for i in exercises_of(n)]
        raise ValueError(f"no exercise {name!r}: choose from {', '.join(names)}")
    return known[number]


def exercises_of(notebook: str) -> dict[str, Exercise]:
    module = import_module(f"going_modular.teaching.cases.notebook_{notebook}")
    return module.EXERCISES


def judge_value(exercise: Exercise, answer) -> None:
    with suppress(Exception):  # what cannot be read is judged as it is
        answer = exercise.read(answer)
    for sentence, holds in exercise.laws:
        if not holds_of(holds, answer):
            raise WrongAnswer(sentence)
    expected = exercise.answer() if callable(exercise.answer) else exercise.answer
    if expected is None or agree(answer, expected, exercise.tolerance):
        return
    for sentence, wrong in exercise.mistakes.items():
        if agree(answer, wrong, exercise.tolerance):
            raise WrongAnswer(sentence)
    raise WrongAnswer(what_differs(answer, expected))


def judge_function(exercise: Exercise, answer: Callable) -> bool:
    """Try a function on every case.

    Returns:
        Whether it is one; False while it still gives three dots.
    """
    cases = exercise.cases()
    results = []
    for arguments in cases:
        given = copy.deepcopy(arguments)
        try:
            results.append(answer(*given))
        except Exception as error:
            raise WrongAnswer(
                f"it stops with {type(error).__name__}: {error}, given "
                f"{describe_all(arguments, answer)}"
            ) from error
        if results[-1] is ...:
            return False
        if not unchanged(given, arguments):
            raise WrongAnswer("it changes what it was given: work on a copy")
    if all(result is None for result in results):
        raise WrongAnswer("it gives nothing: is there a `return`?")
    results = list(map(exercise.read, results))
    for sentence, holds in exercise.laws:
        if not all(holds_of(holds, answer, *copy.deepcopy(case)) for case in cases):
            raise WrongAnswer(sentence)
    expected = [exercise.answer(*copy.deepcopy(case)) for case in cases]
    tolerance = exercise.tolerance
    right = [agree(*pair, tolerance) for pair in zip(results, expected, strict=True)]
    if all(right):
        return True
    for sentence, wrong in exercise.mistakes.items():
        theirs = [wrong(*copy.deepcopy(case)) for case in cases]
        if agree(results, theirs, tolerance):
            raise WrongAnswer(sentence)
    first = right.index(False)
    given = describe_all(cases[first], exercise.answer)
    raise WrongAnswer(
        f"{what_differs(results[first], expected[first])}, given {given}; {sum(right)} "
        f"of {len(right)} hidden cases are right"
    )


def unchanged(given: tuple, original: tuple) -> bool:
    """Whether the numbers among the arguments are what they were."""
    pairs = zip(given, original, strict=True)
    return all(agree(*pair, 0) for pair in pairs if as_numbers(pair[1]) is not None)


def holds_of(law: Callable[..., bool], *values) -> bool:
    """Whether a law holds; what it cannot be asked of breaks it."""
    with suppress(Exception):
        return bool(law(*values))
    return False


def agree(left, right, tolerance: float) -> bool:
    """Whether two values are the same: numbers within a tolerance, at every place."""
    if isinstance(left, str) or isinstance(right, str):
        return type(left) is type(right) and left == right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            agree(left[key], right[key], tolerance) for key in left
        )
    theirs, ours = as_numbers(left), as_numbers(right)
    if theirs is not None and ours is not None:
        same_shape = theirs.shape == ours.shape
        return same_shape and torch.allclose(theirs, ours, rtol=0, atol=tolerance)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(
            agree(*pair, tolerance) for pair in zip(left, right, strict=True)
        )
    with suppress(Exception):
        return left is right or bool(left == right)
    return False


def as_numbers(value) -> Tensor | None:
    """A number, a list of numbers or an array as doubles; None of anything else."""
    if isinstance(value, Tensor):
        return value.detach().cpu().to(torch.float64)
    if isinstance(value, complex):
        return None
    if isinstance(value, numbers.Number):
        value = float(value)
    with suppress(Exception):
        return torch.as_tensor(value, dtype=torch.float64)
    return None


def what_differs(answer, expected) -> str:
    """In which way an answer is wrong, without the right one."""
    theirs, ours = as_numbers(answer), as_numbers(expected)
    if ours is None:
        same = type(answer) is type(expected)
        return (
            "that is not it" if same else f"the kind of answer differs: {kind(answer)}"
        )
    if theirs is None:
        return f"numbers are asked for, not {kind(answer)}"
    if theirs.shape != ours.shape:
        plain = "a plain number is asked for, not" if ours.ndim == 0 else ""
        return f"{plain or 'another shape is asked for than'} {kind(answer)}"
    wrong = int(((theirs - ours).abs() > 1e-5).sum())
    if ours.numel() == 1:
        return f"{float(theirs.flatten()[0]):g} is not it"
    return f"{wrong} of {ours.numel()} numbers are wrong"


def describe_all(arguments: tuple, function: Callable) -> str:
    """The arguments by their names."""
    names = list(inspect.signature(function).parameters)
    names += [f"argument {i}" for i in range(len(names) + 1, len(arguments) + 1)]
    pairs = zip(names, arguments, strict=False)
    return ", ".join(f"{name} = {describe(argument)}" for name, argument in pairs)


def describe(argument) -> str:
    """An argument in a few words."""
    if isinstance(argument, Tensor) and argument.numel() > 6:
        return f"a tensor {tuple(argument.shape)}"
    if callable(argument):
        return f"a function {getattr(argument, '__name__', '')}".rstrip()
    if isinstance(argument, Tensor):
        return str(argument.tolist())
    return f"{argument!r:.60}"


def kind(value) -> str:
    if isinstance(value, Tensor):
        return f"a tensor {tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return "None" if value is None else type(value).__name__


def say_unanswered(name: str) -> None:
    print(f'{name}: not answered yet. Replace the three dots; hint("{name}") helps.')


# What has been solved


def remember(name: str) -> None:
    """Keep, beside the notebooks, that an exercise is solved."""
    stored = read_solved()
    _solved.add(name)
    if stored is not None and not _solved <= stored:
        with suppress(OSError):  # a folder that may not be written to
            text = json.dumps(sorted(stored | _solved))
            SOLVED.write_text(text, encoding="utf-8")


def read_solved() -> set[str] | None:
    """The names in the file, none where there is no file; None if it is not ours."""
    if not SOLVED.exists() and not SOLVED.is_symlink():
        return set()
    with suppress(OSError, ValueError):
        if SOLVED.is_file() and not SOLVED.is_symlink():
            names = json.loads(SOLVED.read_text(encoding="utf-8"))
            if isinstance(names, list) and all(isinstance(n, str) for n in names):
                return set(names)
    return None


class Progress:
    """A table of the notebooks and which of their exercises are solved."""

    def __init__(self):
        solved = _solved | (read_solved() or set())
        self.rows = [
            (notebook, [f"{notebook}.{i}" in solved for i in exercises_of(notebook)])
            for notebook in NOTEBOOKS
        ]

    def __repr__(self) -> str:
        lines = [
            f"notebook {notebook}  {marks(done)}  {sum(done)} of {len(done)}"
            for notebook, done in self.rows
        ]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(notebook)}</td><td>{marks(done)}</td>"
            f"<td>{sum(done)} of {len(done)}</td></tr>"
            for notebook, done in self.rows
        )
        head = "<tr><th>notebook</th><th>exercises</th><th>solved</th></tr>"
        return f"<table>{head}{rows}</table>"


def marks(done: list[bool]) -> str:
    return "".join("●" if solved else "○" for solved in done)


def progress() -> Progress:
    """Which exercises of the series are solved, in this folder."""
    return Progress()
