"""The comparison of fine-tuning with training from scratch."""

import json

import pandas as pd
import pytest

from benchmarks import transfer
from going_modular.config import ViTConfig
from going_modular.utils import set_seeds
from going_modular.vit import ViT

TINY = dict(image_size=8, patch_size=4, in_channels=1, num_classes=10)
TINY |= dict(embedding_dim=8, depth=1, num_heads=2, mlp_size=8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    from going_modular.checkpoint import save_model

    set_seeds(0)
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    save_model(path, ViT(ViTConfig(**TINY)), tuple("abcdefghij"))
    return path


def test_the_table_has_a_row_for_each_number_of_images(weights, tmp_path, capsys):
    file = tmp_path / "transfer.json"
    argv = ["--weights", str(weights), "--epochs", "1", "--json", str(file)]
    assert transfer.main(argv) == 0
    assert "from scratch" in capsys.readouterr().out
    figures = json.loads(file.read_text())
    table = pd.DataFrame(figures["accuracy"])
    assert list(table.columns) == ["few-shot", "full", "from scratch"]
    assert list(table.index) == ["1", "5", "10", "25"]
    assert figures["settings"]["epochs"] == 1 and figures["processor"]


def test_unusable_input_gets_one_line(tmp_path, capsys):
    argv = ["--weights", str(tmp_path / "none.pth"), "--json", str(tmp_path / "a.json")]
    assert transfer.main(argv) == 2
    assert "no weights" in capsys.readouterr().err
    assert not (tmp_path / "a.json").exists()
