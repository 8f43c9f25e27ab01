"""Results come back as written, in whichever pandas reads or wrote them."""

import pickletools
from pathlib import Path

import pandas as pd
import pytest

from going_modular.training.watchers import write_results

RESULTS = {
    "train_loss": [2.0, 1.5, 1.25],
    "train_acc": [0.25, 0.5, 0.625],
    "test_loss": [1.75, 1.5, 1.375],
    "test_acc": [0.375, 0.5, 0.5],
}
# Written by `write_results`, with the pandas that each is named after.
STORED = sorted(Path(__file__).parent.joinpath("results_files").glob("*.pkl"))


def test_results_come_back_as_written(tmp_path):
    write_results(tmp_path / "results.pkl", RESULTS)
    table = pd.read_pickle(tmp_path / "results.pkl")
    assert table.to_dict("list") == RESULTS
    assert [p.name for p in tmp_path.iterdir()] == ["results.pkl"]


@pytest.mark.parametrize("file", STORED, ids=lambda file: file.stem)
def test_results_of_either_pandas_are_read_by_this_one(file):
    assert pd.read_pickle(file).to_dict("list") == RESULTS


def test_results_of_both_pandas_are_stored():
    assert {file.stem.split(".")[0] for file in STORED} == {"pandas-2", "pandas-3"}


def test_what_is_written_names_no_type_that_only_pandas_3_has(tmp_path):
    write_results(tmp_path / "results.pkl", RESULTS)
    written = (tmp_path / "results.pkl").read_bytes()
    words = {word for _, word, _ in pickletools.genops(written) if type(word) is str}
    assert "BlockManager" in words and RESULTS.keys() <= words
    assert not [word for word in words if "String" in word]
