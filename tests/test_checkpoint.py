"""Models come back with their configuration; damaged files are named."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from going_modular.checkpoint import (
    load_checkpoint,
    load_model,
    save_checkpoint,
    save_model,
    write_file,
)
from going_modular.toy import toy_config, toy_images
from going_modular.utils import InputError
from going_modular.vit import ViT


def test_model_comes_back_equal_with_configuration_and_names(tmp_path):
    config = toy_config(image_size=(40, 40), gelu="tanh", representation_size=13)
    model = ViT(config).eval()
    torch.nn.init.normal_(model.head[-1].weight)
    names = tuple("abcdefghij")
    save_model(tmp_path / "model.safetensors", model, names)
    loaded, loaded_names = load_model(tmp_path / "model.safetensors")
    assert loaded.config == config and loaded_names == names
    assert not loaded.training
    assert torch.equal(loaded(toy_images()), model(toy_images()))


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 100])
def test_damaged_weights_are_named(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="model.safetensors holds no model"):
        load_model(path)


def test_foreign_or_missing_weights_are_named(tmp_path):
    with pytest.raises(InputError, match="no weights file"):
        load_model(tmp_path / "none.safetensors")
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(InputError, match="foreign.safetensors holds no model"):
        load_model(tmp_path / "foreign.safetensors")


def test_interrupted_write_keeps_the_file_before(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("before")

    def fail(beside):
        beside.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_file(path, fail)
    assert path.read_text() == "before"


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_checkpoint_comes_back_and_one_with_code_runs_nothing(tmp_path):
    save_checkpoint(tmp_path / "good.pt", {"a": torch.arange(3), "b": {"c": [1.5]}})
    state = load_checkpoint(tmp_path / "good.pt")
    assert state["a"].tolist() == [0, 1, 2] and state["b"] == {"c": [1.5]}
    bomb = Bomb(str(tmp_path / "ran"))
    torch.save({"a": bomb}, tmp_path / "bomb.pt")
    (tmp_path / "bomb.pkl").write_bytes(pickle.dumps(bomb))
    for name in ("bomb.pt", "bomb.pkl"):
        with pytest.raises(InputError, match=f"{name} is damaged"):
            load_checkpoint(tmp_path / name)
    assert not (tmp_path / "ran").exists()
