"""A folder of `save_pretrained` loads in timm, in transformers and here, offline."""

import json
from dataclasses import replace

import pytest
import timm
import torch
from peers import DEEP, SIZES, WIDE, add_noise, images_for, noisy_vit
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification

from going_modular.config import ViTConfig
from going_modular.errors import InputError
from going_modular.pretrained import from_pretrained, save_pretrained
from going_modular.variants.registers import ViTWithRegisters
from going_modular.vit import ViT
from going_modular.weights.reading import read_pretrained

GREY = replace(WIDE, in_channels=1, mean=(0.4,), std=(0.2,), gelu="tanh")
MODELS = {
    "P8-D44": lambda: noisy_vit(WIDE),
    "P7-D60": lambda: noisy_vit(DEEP),
    "not square": lambda: noisy_vit(replace(WIDE, image_size=(24, 40))),
    "grey, GELU by tanh": lambda: noisy_vit(GREY),
    "an MLP that divides badly": lambda: noisy_vit(replace(WIDE, mlp_size=101)),
    "registers": lambda: add_noise(ViTWithRegisters(WIDE, 3)),
    "registers of one row": lambda: add_noise(
        ViTWithRegisters(replace(WIDE, image_size=(24, 56)), 4)
    ),
}


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(params=MODELS)
def model(request) -> ViT:
    return MODELS[request.param]().eval()


def check_same(logits: torch.Tensor, model: ViT) -> None:
    expected = model(images_for(model.config))
    assert (expected[0] - expected[1]).abs().max() > 1e-2
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_three_libraries_give_the_same_logits(model, tmp_path):
    K = model.config.num_classes
    names = [f"kind {i}" for i in range(K)]
    save_pretrained(model, tmp_path / "it", names)
    x = images_for(model.config)

    in_timm = timm.create_model(f"local-dir:{tmp_path / 'it'}", pretrained=True)
    check_same(in_timm.eval()(x), model)
    pixels = timm.data.resolve_data_config(in_timm.pretrained_cfg)
    assert pixels["input_size"] == tuple(x.shape[1:])
    assert set(pixels["mean"]) == set(model.config.mean)
    assert set(pixels["std"]) == set(model.config.std)

    theirs = AutoModelForImageClassification.from_pretrained(tmp_path / "it")
    check_same(theirs.eval()(x).logits, model)
    assert theirs.config.id2label == dict(enumerate(names))

    ours = from_pretrained(tmp_path / "it", quiet=True).eval()
    check_same(ours(x), model)
    assert type(ours) is type(model)
    C = model.config.in_channels
    each = replace(
        model.config,
        mean=model.config.mean * (C if len(model.config.mean) == 1 else 1),
        std=model.config.std * (C if len(model.config.std) == 1 else 1),
    )
    assert ours.config == each
    found = read_pretrained(tmp_path / "it")
    assert found.class_names == tuple(names)
    assert not [entry for entry in found.report if entry.action == "assumed"]


def test_transformers_reads_photos_as_the_model_was_trained(tmp_path):
    config = replace(WIDE, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    save_pretrained(noisy_vit(config), tmp_path / "it")
    processor = AutoImageProcessor.from_pretrained(tmp_path / "it")
    picture = Image.new("RGB", (80, 80), (255, 0, 0))
    x = processor(picture, return_tensors="pt")["pixel_values"]
    assert x.shape == (1, 3, 40, 40)
    means = [(1 - 0.1) / 0.5, (0 - 0.2) / 0.6, (0 - 0.3) / 0.7]
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.tensor(means))


def test_every_size_of_an_mlp_comes_back():
    """timm multiplies a width by a ratio and drops what is behind the point."""
    from going_modular.weights.folder import ratio

    for width in (12, 44, 60, 96, 192, 384, 768, 1280):
        for size in range(1, 4 * width, 7):
            assert int(width * ratio(size, width)) == size


@SIZES
def test_an_eps_that_timm_has_no_place_for_is_said_and_kept_here(c, tmp_path):
    model = noisy_vit(replace(c, layer_norm_eps=1e-3)).eval()
    save_pretrained(model, tmp_path / "it")
    ours = from_pretrained(tmp_path / "it", quiet=True).eval()
    check_same(ours(images_for(c)), model)
    assert "eps 0.001" in (tmp_path / "it/README.md").read_text(encoding="utf-8")


def test_card_and_notes_hold_any_name_of_a_class(tmp_path):
    names = ["Käse", "a | b", "\x1b[2J", "```", "x\ny"]
    model = ViT(ViTConfig(image_size=16, embedding_dim=12, depth=1, num_classes=5))
    save_pretrained(model, tmp_path / "it", names)
    about = json.loads((tmp_path / "it/config.json").read_text(encoding="utf-8"))
    assert about["label_names"] == names
    page = (tmp_path / "it/README.md").read_text(encoding="utf-8")
    assert "    Käse\n    a | b\n    \\x1b[2J\n    ```\n    x\\ny\n" in page
    assert read_pretrained(tmp_path / "it").class_names == tuple(names)


def test_nothing_is_overwritten_unless_asked(tmp_path):
    model = noisy_vit(WIDE)
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match=r"README.md exists"):
        save_pretrained(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine"
    save_pretrained(model, tmp_path, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 3


def test_what_timm_has_no_place_for_is_refused(tmp_path):
    model = noisy_vit(replace(WIDE, representation_size=20))
    with pytest.raises(InputError, match="tanh layer"):
        save_pretrained(model, tmp_path / "it")
    assert not (tmp_path / "it").exists()
    with pytest.raises(ValueError, match="2 class names for 10 classes"):
        save_pretrained(noisy_vit(WIDE), tmp_path / "it", ["a", "b"])
