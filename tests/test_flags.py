"""Flags say what the docstrings of their settings say, to the end."""

import inspect
import textwrap
from dataclasses import dataclass, fields

import pytest

from going_modular.command_line.flags import add_flags, one_line_parser
from going_modular.config import ViTConfig
from going_modular.training.settings import TrainingSettings


def help_texts(settings: type) -> dict[str, str]:
    """The help of each flag, by its field."""
    parser = one_line_parser("")
    add_flags(parser, settings)
    return {action.dest: action.help for action in parser._actions}


def as_python_311_stores_it(docs: str) -> str:
    """With the spaces of the source in front of every line but the first."""
    first, rest = inspect.cleandoc(docs).split("\n", 1)
    return f"{first}\n{textwrap.indent(rest, '    ')}\n    "


def as_python_313_stores_it(docs: str) -> str:
    """Without the spaces that all lines but the first share."""
    return inspect.cleandoc(docs) + "\n"


STORED = as_python_311_stores_it, as_python_313_stores_it


@pytest.mark.parametrize("stored", STORED)
def test_help_holds_the_whole_sentence_however_python_stores_it(stored):
    @dataclass
    class Settings:
        one: int = 1
        two: float = 2.0

    Settings.__doc__ = stored(
        """A page.

        Attributes:
            one: Begins here,
                goes on here
                and ends here.
            two: The next.

        Raises:
            two: Another section.
        """
    )
    found = help_texts(Settings)
    assert found["one"] == "Begins here, goes on here and ends here (1)"
    assert found["two"] == "The next (2.0)"


@pytest.mark.parametrize("settings", [TrainingSettings, ViTConfig])
def test_help_is_the_same_and_ends_with_a_full_stop_on_every_python(
    settings, monkeypatch
):
    docs, texts = settings.__doc__, []
    for stored in STORED:
        monkeypatch.setattr(settings, "__doc__", stored(docs))
        texts.append(help_texts(settings))
    assert texts[0] == texts[1]
    for name in (field.name for field in fields(settings)):
        assert texts[0][name].endswith((".", ")")), texts[0][name]
