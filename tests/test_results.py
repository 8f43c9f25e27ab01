"""Results come back as written."""

import pandas as pd

from going_modular.training.watchers import write_results

RESULTS = {
    "train_loss": [2.0, 1.5, 1.25],
    "train_acc": [0.25, 0.5, 0.625],
    "test_loss": [1.75, 1.5, 1.375],
    "test_acc": [0.375, 0.5, 0.5],
}


def test_results_come_back_as_written(tmp_path):
    write_results(tmp_path / "results.pkl", RESULTS)
    pd.testing.assert_frame_equal(
        pd.read_pickle(tmp_path / "results.pkl"), pd.DataFrame(RESULTS)
    )
    assert [p.name for p in tmp_path.iterdir()] == ["results.pkl"]
