"""Results come back as written, and a foreign pickle runs nothing."""

import pickle

import pandas as pd
import pytest
from bomb import Bomb

from going_modular.errors import InputError
from going_modular.training.watchers import main, read_results, write_results

RESULTS = {
    "train_loss": [2.0, 1.5, 1.25],
    "train_acc": [0.25, 0.5, 0.625],
    "test_loss": [1.75, 1.5, 1.375],
    "test_acc": [0.375, 0.5, 0.5],
}


def test_results_come_back_as_written(tmp_path):
    write_results(tmp_path / "results.pkl", RESULTS)
    pd.testing.assert_frame_equal(
        read_results(tmp_path / "results.pkl"), pd.DataFrame(RESULTS)
    )
    assert [p.name for p in tmp_path.iterdir()] == ["results.pkl"]


def test_pickle_with_code_is_refused_and_nothing_runs(tmp_path):
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(InputError, match="bomb.pkl is no results file"):
        read_results(tmp_path / "bomb.pkl")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content", [b"", b"hello", pickle.dumps([1, 2]), pickle.dumps(RESULTS)[:-9]]
)
def test_file_that_is_no_table_gets_one_line_and_status_2(tmp_path, content, capsys):
    path = tmp_path / "results.pkl"
    path.write_bytes(content)
    assert main([str(path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and str(path) in lines[0]
    assert [p.name for p in tmp_path.iterdir()] == ["results.pkl"]


def test_table_without_the_columns_and_missing_file_get_status_2(tmp_path, capsys):
    pd.DataFrame({"loss": [1.0]}).to_pickle(tmp_path / "other.pkl")
    assert main([str(tmp_path / "other.pkl")]) == 2
    assert "no column train_loss" in capsys.readouterr().err
    assert main([str(tmp_path / "none.pkl")]) == 2
    assert "no results file" in capsys.readouterr().err


def test_command_prints_the_table_and_draws_the_curves(tmp_path, capsys):
    write_results(tmp_path / "results.pkl", RESULTS)
    assert main([str(tmp_path / "results.pkl")]) == 0
    out = capsys.readouterr().out
    assert "1.375" in out and "results.png" in out
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_of_somebody_else_is_not_replaced(tmp_path, capsys):
    write_results(tmp_path / "results.pkl", RESULTS)
    (tmp_path / "results.png").write_text("mine")
    assert main([str(tmp_path / "results.pkl")]) == 2
    line = capsys.readouterr().err
    assert "results.png exists: choose another --output" in line
    assert (tmp_path / "results.png").read_text() == "mine"
    argv = [str(tmp_path / "results.pkl"), "--output", str(tmp_path / "new.png")]
    for _ in range(2):  # our own may be drawn anew
        assert main(argv) == 0
    assert main([*argv[:2], str(tmp_path / "results.png"), "--overwrite"]) == 0
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def test_a_table_named_as_a_picture_is_not_drawn_over(tmp_path, capsys):
    write_results(tmp_path / "table.png", RESULTS)
    before = (tmp_path / "table.png").read_bytes()
    assert main([str(tmp_path / "table.png"), "--overwrite"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "table.png").read_bytes() == before
