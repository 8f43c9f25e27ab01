"""Checkpoints as people have them give the numbers of the model that was trained.

Each kind is a small model, wrapped, renamed or mixed as training scripts do it.
"""

import argparse
import datetime
import json
from collections import OrderedDict, defaultdict
from dataclasses import replace
from pathlib import Path, PosixPath

import numpy as np
import pytest
import torch
from peers import WIDE, add_noise, images_for, timm_vit, torchvision_vit
from safetensors.torch import save_file
from torch import Tensor, nn

from going_modular.errors import InputError
from going_modular.pretrained import from_pretrained
from going_modular.vit import ViT
from going_modular.weights.reading import read_pretrained

X = images_for(WIDE)
HEADS = dict(num_heads=WIDE.num_heads)


@pytest.fixture(scope="module")
def peer() -> nn.Module:
    return timm_vit(WIDE)


def other_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Of a model that must not be taken."""
    return {name: tensor + 1 for name, tensor in state.items()}


def prefixed(prefix: str, state: dict) -> dict:
    return {prefix + name: value for name, value in state.items()}


def without_head(state: dict) -> dict:
    return {name: value for name, value in state.items() if "head" not in name}


def check(source, peer: nn.Module, **options) -> ViT:
    """Built from the source, our model gives the logits, or the y, of the peer."""
    model = from_pretrained(read_pretrained(source, **HEADS, **options), quiet=True)
    with torch.no_grad():
        y = model.eval().forward_features(X)
        expected = peer.forward_head(peer.forward_features(X), pre_logits=True)
        torch.testing.assert_close(y, expected, atol=1e-5, rtol=0)
        if model.head.weight.any():
            torch.testing.assert_close(model(X), peer(X), atol=1e-5, rtol=0)
    return model


def save(path: Path, value) -> Path:
    torch.save(value, path)
    return path


# What stands before the names

BEFORE = (
    "module. backbone. net. encoder. model. vit. student. teacher. base_encoder. "
    "_orig_mod. module._orig_mod. model.backbone.vit. image_encoder. trunk. f."
).split()


@pytest.mark.parametrize("prefix", BEFORE)
def test_any_prefix_is_found(prefix, peer, tmp_path):
    model = check(save(tmp_path / "w.pth", prefixed(prefix, peer.state_dict())), peer)
    assert model.head.weight.any()


@pytest.mark.parametrize("prefix", ["backbone.", "module.encoder.", "0."])
def test_a_head_may_stand_beside_the_body(prefix, peer, tmp_path):
    state = prefixed(prefix, without_head(peer.state_dict()))
    outer = prefix.rpartition(".")[0].rpartition(".")[0]
    outer += "." * bool(outer)
    for kind in ("weight", "bias"):
        state[f"{outer}head.{kind}"] = peer.state_dict()[f"head.{kind}"]
    model = check(save(tmp_path / "w.pth", {"state_dict": state}), peer)
    assert model.head.weight.any()


@pytest.mark.parametrize(
    "word", ["_checkpoint_wrapped_module", "_fsdp_wrapped_module", "_orig_mod"]
)
def test_words_of_wrappers_may_stand_anywhere(word, peer, tmp_path):
    state = {
        name.replace("blocks.", f"{word}.blocks.").replace("attn.", f"attn.{word}."): w
        for name, w in peer.state_dict().items()
    }
    check(save(tmp_path / "w.pth", state), peer)


def test_blocks_stored_in_chunks_are_put_in_a_row(peer, tmp_path):
    """DINOv2 numbers them by chunk and by their place in the whole."""
    state = {}
    for name, tensor in peer.state_dict().items():
        number = int(name.split(".")[1]) if name.startswith("blocks.") else 0
        chunk = f"blocks.{number // 2}.{number}."
        state[name.replace(f"blocks.{number}.", chunk)] = tensor
    check(save(tmp_path / "w.pth", {"teacher": prefixed("backbone.", state)}), peer)


# Several models in one file


def averaged(peer) -> dict:
    """As torch's AveragedModel stores it."""
    return {"n_averaged": torch.tensor(7), **prefixed("module.", peer.state_dict())}


SEVERAL = {
    "timm's EMA": lambda right, wrong: {"state_dict": wrong, "state_dict_ema": right},
    "an EMA of the model": lambda right, wrong: {"model": wrong, "model_ema": right},
    "ema_model": lambda right, wrong: {"ema_model": right, "model": wrong},
    "SWA": lambda right, wrong: {"model": wrong, "swa_model": averaged_of(right)},
    "teacher and student": lambda right, wrong: {
        "student": prefixed("module.backbone.", wrong),
        "teacher": prefixed("backbone.", right),
    },
    "in one dictionary": lambda right, wrong: {
        **prefixed("student.backbone.", wrong),
        **prefixed("teacher.backbone.", right),
    },
    "MoCo v3": lambda right, wrong: {
        "state_dict": {
            **prefixed("module.momentum_encoder.", wrong),
            **prefixed("module.base_encoder.", right),
        }
    },
    "the optimiser's copy": lambda right, wrong: {
        "optimizer": {"state": wrong},
        "model": right,
    },
}


def averaged_of(state: dict) -> dict:
    return {"n_averaged": torch.tensor(7), **prefixed("module.", state)}


@pytest.mark.parametrize("kind", SEVERAL)
def test_of_several_models_one_is_chosen_and_said(kind, peer, tmp_path):
    right = peer.state_dict()
    held = SEVERAL[kind](right, other_weights(right))
    path = save(tmp_path / "w.pth", held)
    check(path, peer)
    chosen = [e for e in read_pretrained(path, **HEADS).report if e.action == "chosen"]
    assert len(chosen) == 1 and "beside it" in chosen[0].detail


@pytest.mark.parametrize("kind", ["timm's EMA", "an EMA of the model", "ema_model"])
def test_raw_weights_are_taken_on_request(kind, peer, tmp_path):
    right = peer.state_dict()
    path = save(tmp_path / "w.pth", SEVERAL[kind](other_weights(right), right))
    check(path, peer, raw=True)
    said = read_pretrained(path, **HEADS).report.summary()
    assert "raw=True or --raw takes those" in said


# What else a checkpoint holds

EXTRAS = {
    "options": argparse.Namespace(lr=0.1, data=PosixPath("/a/b")),
    "a NumPy number": np.float64(0.7),
    "a NumPy array": np.arange(3),
    "NumPy's random state": np.random.default_rng(0).bit_generator.state,
    "a path": PosixPath("/a/b"),
    "a date": datetime.datetime(2020, 1, 2),
    "a duration": datetime.timedelta(seconds=3),
    "counts": defaultdict(int, {"a": 1}),
    "a set": {1, 2},
    "a complex number": 1 + 2j,
    "a range": range(3),
    "a device and a dtype": (torch.device("cpu"), torch.float16),
    "a size": torch.Size([1, 2]),
    "an ordered dictionary": OrderedDict(a=1),
    "the random state": torch.get_rng_state(),
    "a NumPy dtype": np.dtype("float32"),
}


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("kind", EXTRAS)
def test_harmless_things_may_lie_beside_the_tensors(kind, new, peer, tmp_path):
    held = {"model": peer.state_dict(), "extra": EXTRAS[kind], "epoch": 3}
    torch.save(held, tmp_path / "w.pth", _use_new_zipfile_serialization=new)
    check(tmp_path / "w.pth", peer)


PRETRAINING = {
    "MAE's decoder": {
        "mask_token": (1, 1, 20),
        "decoder_pos_embed": (1, 26, 20),
        "decoder_embed.weight": (20, 44),
        "decoder_blocks.0.norm1.weight": (20,),
        "decoder_blocks.0.attn.qkv.weight": (60, 20),
        "decoder_norm.bias": (20,),
        "decoder_pred.weight": (192, 20),
    },
    "DINO's head": {"head.mlp.0.weight": (64, 44), "head.last_layer.weight_g": (9, 1)},
    "DINOv2's heads": {"dino_head.mlp.0.weight": (9, 44), "dino_loss.center": (1, 9)},
    "a criterion": {"criterion.weight": (3,), "loss.logit_scale.value": (1,)},
    "a projector": {"projector.0.weight": (9, 44), "predictor.2.bias": (9,)},
    "counters": {"queue_ptr": (1,), "num_batches_tracked": ()},
}


@pytest.mark.parametrize("kind", PRETRAINING)
def test_parts_of_pretraining_are_left_out_and_named(kind, peer, tmp_path):
    extra = {name: torch.ones(shape) for name, shape in PRETRAINING[kind].items()}
    path = save(tmp_path / "w.pth", {**without_head(peer.state_dict()), **extra})
    check(path, peer)
    report = read_pretrained(path, **HEADS).report
    left_out = {entry.key for entry in report if entry.action == "left out"}
    assert left_out == set(extra)


# Heads


HEADS_OF_TIMM = ["head.1", "head.0", "head.fc", "fc", "classifier", "classifier.1"]


@pytest.mark.parametrize("name", HEADS_OF_TIMM)
def test_a_single_linear_layer_is_the_head(name, peer, tmp_path):
    state = peer.state_dict()
    for kind in ("weight", "bias"):
        state[f"{name}.{kind}"] = state.pop(f"head.{kind}")
    assert check(save(tmp_path / "w.pth", state), peer).head.weight.any()


@pytest.mark.parametrize("name", ["heads", "heads.1", "heads.0"])
def test_torchvisions_head_may_be_another_layer(name, tmp_path):
    theirs = torchvision_vit(WIDE)
    state = theirs.state_dict()
    for kind in ("weight", "bias"):
        state[f"{name}.{kind}"] = state.pop(f"heads.head.{kind}")
    model = from_pretrained(save(tmp_path / "w.pth", state), 4, quiet=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(X), theirs(X), atol=1e-5, rtol=0)


def test_a_head_without_a_bias_gets_zeros(peer, tmp_path):
    state = peer.state_dict()
    bias = state.pop("head.bias")
    model = from_pretrained(save(tmp_path / "w.pth", state), 4, quiet=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(model(X), peer(X) - bias, atol=1e-5, rtol=0)


def test_a_head_of_several_layers_is_left_out_and_named(peer, tmp_path):
    state = without_head(peer.state_dict())
    state |= {"head.0.weight": torch.ones(9, 44), "head.0.bias": torch.ones(9)}
    state |= {"head.2.weight": torch.ones(3, 9), "head.2.bias": torch.ones(3)}
    path = save(tmp_path / "w.pth", state)
    assert not check(path, peer).head.weight.any()
    details = {e.detail for e in read_pretrained(path, **HEADS).report}
    assert "a head of several layers, no single linear one" in details


# Files and their neighbours


def test_shards_are_read_through_their_index(peer, tmp_path):
    state, files = peer.state_dict(), {}
    for number, name in enumerate(state):
        files.setdefault(f"model-{number % 3 + 1:05}-of-00003.safetensors", []).append(
            name
        )
    for file, names in files.items():
        save_file({name: state[name].contiguous() for name in names}, tmp_path / file)
    index = {name: file for file, names in files.items() for name in names}
    text = json.dumps({"metadata": {}, "weight_map": index})
    (tmp_path / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    check(tmp_path, peer)


@pytest.mark.parametrize("alone", [False, True])
def test_a_config_is_read_beside_the_file_and_in_its_folder(alone, peer, tmp_path):
    save_file(peer.state_dict(), tmp_path / "model.safetensors")
    about = {
        "architecture": "vit_small_patch16_224",
        "num_classes": 10,
        "label_names": ["Käse", *"bcdefghij"],
        "model_args": {"img_size": 40, "num_heads": 4},
        "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
    }
    text = "\ufeff" + json.dumps(about, ensure_ascii=False)
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    found = read_pretrained(tmp_path / "model.safetensors" if alone else tmp_path)
    assert found.config == replace(WIDE, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert found.class_names[0] == "Käse"


def test_photos_that_are_not_normalised_are_told(peer, tmp_path):
    save_file(peer.state_dict(), tmp_path / "model.safetensors")
    text = '{"do_normalize": false, "image_mean": [0.5, 0.5, 0.5]}'
    (tmp_path / "preprocessor_config.json").write_text(text, encoding="utf-8")
    config = read_pretrained(tmp_path, **HEADS).config
    assert (config.mean, config.std) == ((0.0,), (1.0,))


def test_our_own_state_dict_comes_back(tmp_path):
    for representation_size in (None, 20):
        c = replace(WIDE, representation_size=representation_size)
        model = add_noise(ViT(c)).eval()
        path = save(tmp_path / "w.pth", {"model": model.state_dict()})
        ours = from_pretrained(path, num_heads=4, quiet=True).eval()
        torch.testing.assert_close(ours(X), model(X), atol=0, rtol=0)


# What shapes do not tell


def test_what_is_assumed_is_said_with_its_flag(peer, tmp_path):
    path = save(tmp_path / "w.pth", peer.state_dict())
    report = read_pretrained(path, **HEADS).report
    said = report.summary()
    assert "assumed, since the patches fill a square: image_size 40" in said
    assert "--image-size, --mean, --std" in said
    told = dict(mean=(0.1,), std=(0.2,), image_size=40)
    found = read_pretrained(path, **HEADS, **told)
    assert found.config == replace(WIDE, mean=(0.1,), std=(0.2,))
    assert not [e for e in found.report if e.key in told and e.action == "assumed"]


@pytest.mark.parametrize("side", [45, [47, 41]])
@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_a_size_that_patches_do_not_fill_is_said(library, side, peer, tmp_path):
    save_file(peer.state_dict(), tmp_path / "model.safetensors")
    about = dict(hidden_size=44, num_hidden_layers=3, patch_size=8, image_size=side)
    about |= dict(num_attention_heads=4, layer_norm_eps=1e-6, model_type="vit")
    if library == "timm":
        about = dict(architecture="vit", model_args=dict(img_size=side, num_heads=4))
    (tmp_path / "config.json").write_text(json.dumps(about), encoding="utf-8")
    found = read_pretrained(tmp_path)
    assert found.config.image_size == 40
    height, width = side if isinstance(side, list) else (side, side)
    why = f"since {height} x {width} has no whole number of patches: image_size 40 x 40"
    assert f"assumed, {why}" in " ".join(found.report.remarks())


@pytest.mark.parametrize("size", [(16, 64), (64, 16), (8, 128)])
def test_a_grid_that_could_be_square_is_told(size, tmp_path):
    c = replace(WIDE, image_size=size)
    theirs = timm_vit(c)
    path = save(tmp_path / "w.pth", theirs.state_dict())
    model = from_pretrained(
        read_pretrained(path, **HEADS, image_size=size), quiet=True
    ).eval()
    x = images_for(c)
    with torch.no_grad():
        torch.testing.assert_close(model(x), theirs(x), atol=1e-5, rtol=0)


REFUSED = {
    "CLIP": {"visual.conv1.weight": (44, 3, 8, 8), "visual.class_embedding": (44,)},
    "CLIP of transformers": {
        "vision_model.embeddings.class_embedding": (44,),
        "vision_model.embeddings.patch_embedding.weight": (44, 3, 8, 8),
        "vision_model.pre_layrnorm.weight": (44,),
    },
    "SigLIP": {
        "vision_model.embeddings.patch_embedding.weight": (44, 3, 8, 8),
        "vision_model.head.probe": (1, 1, 44),
    },
    "SwiGLU": {"patch_embed.proj.weight": (44, 3, 8, 8), "blocks.0.mlp.w12.weight": ()},
    "DINOv3": {"patch_embed.proj.weight": (44, 3, 8, 8), "storage_tokens": (1, 4, 44)},
    "Swin": {
        "patch_embed.proj.weight": (44, 3, 4, 4),
        "layers.0.blocks.0.attn.relative_position_bias_table": (169, 3),
    },
    "LoRA": {
        "vit.patch_embed.proj.weight": (44, 3, 8, 8),
        "vit.blocks.0.attn.qkv.lora_A.weight": (8, 44),
    },
}
NAMED = {
    "CLIP": "CLIP",
    "CLIP of transformers": "CLIP",
    "SigLIP": "SigLIP",
    "SwiGLU": "SwiGLU",
    "DINOv3": "DINOv3",
    "Swin": "relative position",
    "LoRA": "merge them into the weights",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_other_designs_are_refused_by_name(kind, tmp_path):
    state = {name: torch.ones(shape) for name, shape in REFUSED[kind].items()}
    with pytest.raises(InputError, match=NAMED[kind]):
        read_pretrained(save(tmp_path / "w.pth", state))


# What a loader must not let pass


def identity(width: int) -> dict[str, Tensor]:
    return {"weight": torch.eye(width) + 0.1, "bias": torch.ones(width)}


BETWEEN = {
    "a LayerNorm": {"norm.weight": (44,), "norm.bias": (44,)},
    "a BatchNorm": {"bottleneck.weight": (44,), "bottleneck.running_var": (44,)},
    "a linear layer": {"proj.weight": (44, 44), "proj.bias": (44,)},
    "an embedding of the user's": {"neck.0.weight": (44, 44)},
}


@pytest.mark.parametrize("kind", BETWEEN)
def test_a_head_that_another_layer_may_come_before_is_left_out(kind, peer, tmp_path):
    state = prefixed("backbone.", without_head(peer.state_dict()))
    state |= {name: torch.ones(shape) for name, shape in BETWEEN[kind].items()}
    for what in ("weight", "bias"):
        state[f"classifier.{what}"] = peer.state_dict()[f"head.{what}"]
    path = save(tmp_path / "w.pth", state)
    assert not check(path, peer).head.weight.any()
    said = read_pretrained(path, **HEADS).report.summary()
    assert "classifier (2 tensors) left out: a head that" in said


def test_timms_old_head_with_a_tanh_layer_is_whole(peer, tmp_path):
    layer = identity(44)
    state = peer.state_dict() | {f"pre_logits.fc.{k}": v for k, v in layer.items()}
    model = from_pretrained(save(tmp_path / "w.pth", state), 4, quiet=True).eval()
    with torch.no_grad():
        y = peer.forward_head(peer.forward_features(X), pre_logits=True)
        y = torch.tanh(y @ layer["weight"].T + layer["bias"])
        torch.testing.assert_close(model(X), peer.head(y), atol=1e-5, rtol=0)


CHANGES = {
    "8-bit scales": {"blocks.0.attn.qkv.weight_scale": torch.tensor(0.3)},
    "ReZero": {"blocks.1.alpha": torch.tensor(0.1)},
    "a learned temperature": {"blocks.0.attn.scale": torch.tensor(2.0)},
    "prompts": {"prompts": torch.ones(1, 10, 44)},
    "a prompt for each block": {"blocks.0.prompt_embeddings": torch.ones(1, 3, 44)},
    "a hybrid": {"block1/unit1/conv1/kernel": torch.ones(1, 1, 8, 8)},
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_would_change_the_numbers_is_refused(kind, peer, tmp_path):
    path = save(tmp_path / "w.pth", peer.state_dict() | CHANGES[kind])
    (name,) = CHANGES[kind]
    with pytest.raises(InputError, match=name):
        read_pretrained(path, **HEADS)


def test_raw_takes_the_student_and_optimal_is_no_optimiser(peer, tmp_path):
    right = without_head(peer.state_dict())
    wrong = other_weights(right)
    held = {"student": right, "teacher": prefixed("module.", wrong)}
    check(save(tmp_path / "a.pth", held), peer, raw=True)
    held = {"optimal_model": right, "last_model": wrong, "optimizer": wrong}
    check(save(tmp_path / "b.pth", held), peer)


@pytest.mark.parametrize("order", [">f4", "<f4", ">f8"])
def test_arrays_of_any_byte_order_are_read(order, peer, tmp_path):
    arrays = {k: v.numpy().astype(order) for k, v in peer.state_dict().items()}
    check(arrays, peer)
    np.savez(tmp_path / "w.npz", **arrays)
    check(tmp_path / "w.npz", peer)


OTHER_SIZES = {"hidden_size": 128, "num_hidden_layers": 1, "patch_size": 16}


@pytest.mark.parametrize("name", OTHER_SIZES)
@pytest.mark.parametrize("alone", [False, True])
def test_a_config_of_another_model_is_refused(name, alone, peer, tmp_path):
    save_file(peer.state_dict(), tmp_path / "model.safetensors")
    about = dict(hidden_size=44, num_hidden_layers=3, patch_size=8, image_size=40)
    about |= dict(num_attention_heads=4, layer_norm_eps=1e-6, model_type="vit")
    path = tmp_path / "model.safetensors" if alone else tmp_path
    for wrong in (False, True):
        about |= {name: OTHER_SIZES[name]} if wrong else {}
        if wrong and name == "patch_size":
            about["image_size"] = 80
        text = json.dumps(about)
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        if not wrong:
            check_y = from_pretrained(path, quiet=True)
            assert check_y.config.num_heads == 4
            continue
        with pytest.raises(InputError, match="config.json beside the weights says"):
            read_pretrained(path)


def test_a_config_of_no_vision_transformer_is_not_for_a_lone_file(peer, tmp_path):
    path = save(tmp_path / "w.pth", peer.state_dict())
    for about in ({"model_type": "bert", "hidden_size": 9}, {"architecture": "resnet"}):
        text = json.dumps(about)
        (tmp_path / "config.json").write_text(text, encoding="utf-8")
        check(path, peer)


PIXELS = [
    ({"do_rescale": False, "image_mean": [127.5], "image_std": [51]}, 0.5, 0.2),
    (
        {"rescale_factor": 1 / 127.5, "image_mean": 1.0, "image_std": [1, 1, 1]},
        0.5,
        0.5,
    ),
    ({"image_mean": [0.3], "image_std": 0.4}, 0.3, 0.4),
]


@pytest.mark.parametrize(("about", "mean", "std"), PIXELS)
def test_other_ranges_of_pixels_are_brought_to_ours(about, mean, std, peer, tmp_path):
    save_file(peer.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps(about), encoding="utf-8"
    )
    config = read_pretrained(tmp_path, **HEADS).config
    assert config.mean == pytest.approx([mean] * len(config.mean))
    assert config.std == pytest.approx([std] * len(config.std))


def test_weights_for_several_labels_are_refused(peer, tmp_path):
    save_file(peer.state_dict(), tmp_path / "model.safetensors")
    about = dict(patch_size=8, image_size=40, num_attention_heads=4)
    about |= dict(layer_norm_eps=1e-6, problem_type="multi_label_classification")
    (tmp_path / "config.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(InputError, match="multi_label_classification"):
        read_pretrained(tmp_path)


@pytest.mark.parametrize("source", [None, [], nn.Linear(2, 2), 7, b"w.pth"])
def test_what_is_no_source_of_weights_is_refused(source):
    with pytest.raises(InputError, match="weights are a file, a folder, a name or"):
        from_pretrained(source)


def test_moco_v3s_head_of_several_layers_is_left_out(peer, tmp_path):
    state = without_head(peer.state_dict())
    head = {"0.weight": (16, 44), "1.weight": (16,), "1.running_mean": (16,)}
    head |= {"3.weight": (8, 16), "4.running_var": (8,)}
    state |= {f"head.{name}": torch.ones(shape) for name, shape in head.items()}
    state["head.4.num_batches_tracked"] = torch.tensor(3)
    check(save(tmp_path / "w.pth", state), peer)


def test_dinov2s_head_on_two_vectors_is_left_out(peer, tmp_path):
    state = without_head(peer.state_dict())
    state |= {"head.weight": torch.ones(5, 88), "head.bias": torch.ones(5)}
    path = save(tmp_path / "w.pth", state)
    check(path, peer)
    said = read_pretrained(path, **HEADS).report.summary()
    assert "the mean of the patches" in said


def test_other_kinds_of_files_are_named(peer, tmp_path):
    traced = tmp_path / "traced.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), traced)
    files = {
        traced: "TorchScript",
        save(tmp_path / "list.pth", [peer.state_dict()]): "holds a list",
        tmp_path / "page.pth": "no weights of a known kind",
        tmp_path / "part-00001-of-00003.bin": "one part of several",
        tmp_path / "two": r"holds a.pth, b.pth: give one",
    }
    (tmp_path / "page.pth").write_text('{"error": 404}')
    (tmp_path / "two").mkdir()
    for name in ("a.pth", "b.pth", "optimizer.pt", "training_args.bin"):
        save(tmp_path / "two" / name, peer.state_dict())
    save(tmp_path / "part-00001-of-00003.bin", {})
    for path, said in files.items():
        with pytest.raises(InputError, match=said):
            read_pretrained(path)
    (tmp_path / "two/b.pth").unlink()
    check(tmp_path / "two", peer)


def test_arrays_within_a_pickle_are_asked_for_as_tensors(peer, tmp_path):
    state = {**peer.state_dict(), "pos_embed": np.ones((1, 26, 44), np.float32)}
    with pytest.raises(InputError, match="pos_embed is no tensor: save it as one"):
        read_pretrained(save(tmp_path / "w.pth", state), **HEADS)


def test_the_average_of_patches_is_no_silent_assumption(peer, tmp_path):
    path = save(tmp_path / "w.pth", peer.state_dict())
    assert "global_pool token" in read_pretrained(path, **HEADS).report.summary()


def test_heads_against_the_notes_are_refused(peer, tmp_path):
    save_file(peer.state_dict(), tmp_path / "model.safetensors")
    about = {"architecture": "vit", "model_args": {"num_heads": 4}}
    about |= {"pretrained_cfg": {"input_size": [3, 40, 40]}}
    (tmp_path / "config.json").write_text(json.dumps(about), encoding="utf-8")
    with pytest.raises(InputError, match="the weights have 4 heads"):
        from_pretrained(tmp_path, num_heads=2)
