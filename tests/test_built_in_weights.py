"""The weights in the package are what their card says."""

import hashlib
import re

import pytest
import torch
from notebook_files import ROOT
from safetensors import safe_open

from going_modular.data_setup import FASHION_CLASSES, Batches, load_builtin
from going_modular.engine import evaluate
from going_modular.pretrained import from_pretrained
from going_modular.weights.reading import read_pretrained

FOLDER = ROOT / "going_modular/weights"
FILE = FOLDER / "built_in.safetensors"
CARD = (FOLDER / "README.md").read_text()


def test_the_file_is_small_half_precision_and_has_the_cards_checksum():
    assert FILE.stat().st_size <= 6_000_000
    assert f"`{hashlib.sha256(FILE.read_bytes()).hexdigest()}`" in CARD
    with safe_open(FILE, framework="pt") as file:
        kinds = {file.get_tensor(name).dtype for name in file.keys()}  # noqa: SIM118
    assert kinds == {torch.float16}


def test_the_card_says_what_was_trained_how_and_on_what():
    assert "`make pretrained`" in CARD
    for word in ("Fashion-MNIST", "MIT", "seed", "hardware", "float16", "accuracy"):
        assert word in CARD
    config = read_pretrained("built-in").config
    sizes = f"P = {config.patch_size}, L = {config.depth}, D = {config.embedding_dim}"
    assert sizes in CARD


def test_built_in_weights_classify_the_built_in_test_images_as_the_card_says():
    found = read_pretrained("built-in")
    assert found.class_names == FASHION_CLASSES
    model = from_pretrained(found, quiet=True)
    _, accuracy = evaluate(model, Batches(load_builtin()[1], 500))
    stated = float(re.search(r"\*\*([\d.]+) %\*\*", CARD).group(1))
    assert 100 * accuracy == pytest.approx(stated, abs=1.5)  # 2,000 of the 10,000
    assert stated >= 91
