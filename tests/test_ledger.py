"""The ledger of the paper has every item, and is what tests and tables say today."""

import re
from importlib.util import find_spec

import pytest

from tools import make_ledger
from tools.ledger_items import ITEMS


def test_the_ledger_is_what_tests_and_tables_say():
    written = make_ledger.LEDGER.read_text(encoding="utf-8")
    assert written == make_ledger.ledger(), "out of date: make ledger"


def test_every_item_of_the_paper_is_held_by_a_test_or_a_command():
    assert len({item.name for item in ITEMS}) == len(ITEMS) == 26
    tests = make_ledger.marked_tests()
    for item in ITEMS:
        assert item.commands or tests[item.name], item.name
        assert item.measured or tests[item.name], f"{item.name}: nothing measured"


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_every_command_names_a_module_that_is_there(item):
    for command in item.commands:
        found = re.fullmatch(r"python -m ([\w.]+)", command)
        assert found and find_spec(found[1]), command


def test_a_mark_of_no_item_is_found(tmp_path, monkeypatch):
    (tmp_path / "tests").mkdir()
    source = '@pytest.mark.ledger("Equation 9", "nothing")\ndef test_x():\n    pass\n'
    (tmp_path / "tests" / "test_x.py").write_text(source)
    monkeypatch.setattr(make_ledger, "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"test_x.py::test_x: .* 'Equation 9'"):
        make_ledger.marked_tests()
