"""Damaged, foreign and hostile weights of every kind end in one line that says why."""

import json
import pickle
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import torchvision
from bomb import Bomb
from peers import (
    WIDE,
    images_for,
    noisy_vit,
    official_arrays,
    save_pretrained,
    timm_vit,
    torchvision_vit,
    transformers_vit,
)
from safetensors.torch import load_file, save_file

from going_modular.errors import InputError
from going_modular.pretrained import from_pretrained
from going_modular.weights.files import read_weights
from going_modular.weights.reading import read_pretrained


def write_pth(state, folder):
    torch.save({"model": dict(state)}, folder / "weights.pth")
    return folder / "weights.pth"


def write_old_pth(state, folder):
    path = folder / "old.pth"
    torch.save(dict(state), path, _use_new_zipfile_serialization=False)
    return path


def write_safetensors(state, folder):
    state = {name: value.contiguous() for name, value in state.items()}
    save_file(state, folder / "weights.safetensors")
    return folder / "weights.safetensors"


def write_npz(state, folder):
    arrays = {name: np.asarray(value) for name, value in state.items()}
    np.savez(folder / "weights.npz", **arrays)
    return folder / "weights.npz"


def write_folder(state, folder):
    save_pretrained(transformers_vit(WIDE), folder / "saved")
    state = {name: value.contiguous() for name, value in state.items()}
    save_file(state, folder / "saved/model.safetensors")
    return folder / "saved"


def write_folder_of_pth(state, folder):
    save_pretrained(transformers_vit(WIDE), folder / "saved")
    (folder / "saved/model.safetensors").unlink()
    torch.save(dict(state), folder / "saved/pytorch_model.bin")
    return folder / "saved"


def write_ours(state, folder):
    about = {"config": vars(WIDE), "class_names": tuple("abcdefghij")}
    notes = {"vit": json.dumps(about)}
    save_file(dict(state), folder / "ours.safetensors", metadata=notes)
    return folder / "ours.safetensors"


def transformers_state(folder):
    save_pretrained(transformers_vit(WIDE), folder)
    return load_file(folder / "model.safetensors")


def tensors(arrays):
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


PRETRAINING = replace(WIDE, representation_size=52)
# How each kind is written, and its tensors.
STATES = {
    "pth": (write_pth, lambda folder: timm_vit(WIDE).state_dict()),
    "old pth": (
        write_old_pth,
        lambda folder: timm_vit(WIDE, init_values=0.3).state_dict(),
    ),
    "safetensors": (
        write_safetensors,
        lambda folder: torchvision_vit(PRETRAINING).state_dict(),
    ),
    "npz": (write_npz, lambda folder: tensors(official_arrays(PRETRAINING))),
    "big_vision npz": (write_npz, lambda folder: tensors(official_arrays(WIDE, True))),
    "folder": (write_folder, transformers_state),
    "folder of pth": (write_folder_of_pth, transformers_state),
    "ours": (write_ours, lambda folder: noisy_vit(WIDE).state_dict()),
}
# A key in the middle of each.
KEYS = {
    "pth": "blocks.1.norm2.bias",
    "old pth": "blocks.2.ls1.gamma",
    "safetensors": "encoder.layers.encoder_layer_1.ln_2.bias",
    "npz": "Transformer/encoderblock_1/LayerNorm_2/bias",
    "big_vision npz": "Transformer/encoderblock_1/LayerNorm_1/bias",
    "folder": "vit.encoder.layer.1.layernorm_after.bias",
    "folder of pth": "vit.encoder.layer.1.layernorm_after.bias",
    "ours": "encoder.blocks.1.mlp_block.layer_norm.bias",
}


@pytest.fixture(scope="module", params=list(STATES))
def kind(request, tmp_path_factory):
    write, make = STATES[request.param]
    return request.param, write, make(tmp_path_factory.mktemp("peer"))


def refused(source, *words, num_heads=4) -> str:
    """The message, which is one line and holds all words."""
    with pytest.raises(InputError) as caught:
        read_pretrained(source, num_heads)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500, message
    for word in words:
        assert word in message, message
    return message


def bare(key: str) -> str:
    return key.removeprefix("vit.")


def test_whole_file_is_read(kind, tmp_path):
    _, write, state = kind
    found = read_pretrained(write(state, tmp_path), 4)
    assert (found.config.image_size, found.config.depth) == (40, 3)
    about_tensors = [e.key for e in found.report if e.action != "assumed"]
    assert sorted(about_tensors) == sorted(state)


def test_missing_key_is_named(kind, tmp_path):
    name, write, state = kind
    less = {key: value for key, value in state.items() if key != KEYS[name]}
    assert len(less) == len(state) - 1
    refused(write(less, tmp_path), bare(KEYS[name]))


def test_extra_key_is_named(kind, tmp_path):
    """In a block it would change what is computed; elsewhere it may be left out."""
    name, write, state = kind
    inside = KEYS[name].replace("bias", "wood").replace("gamma", "wood")
    refused(write({**state, inside: torch.ones(2)}, tmp_path), bare(inside), "place")
    beside = write({**state, "wood.weight": torch.ones(2)}, tmp_path)
    if name == "ours":
        refused(beside, "wood.weight", "place")
    else:
        report = read_pretrained(beside, 4).report
        assert ("wood.weight", "left out") in [entry[:2] for entry in report]


def test_wrong_shape_names_the_key_and_both_shapes(kind, tmp_path):
    name, write, state = kind
    wrong = {**state, KEYS[name]: torch.ones(45)}
    refused(write(wrong, tmp_path), bare(KEYS[name]), "(45,)", "(44,)")


def file_of(path):
    if path.is_dir():
        (path,) = (p for p in path.iterdir() if p.suffix in (".safetensors", ".bin"))
    return path


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_truncated_file_is_named(kind, share, tmp_path):
    _, write, state = kind
    path = write(state, tmp_path)
    file = file_of(path)
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    refused(path, str(file), "damaged")


def test_empty_file_is_named(kind, tmp_path):
    _, write, state = kind
    path = write(state, tmp_path)
    file_of(path).write_bytes(b"")
    refused(path, str(file_of(path)), "empty")


def test_file_without_tensors_is_named(kind, tmp_path):
    name, write, _ = kind
    refused(write({}, tmp_path), "lack" if name == "ours" else "no weights of a Vision")


def test_another_model_is_told(kind, tmp_path):
    name, write, _ = kind
    other = torchvision.models.resnet18().state_dict()
    words = (
        ("bn1.", "no place") if name == "ours" else ("no weights of a Vision", "bn1.")
    )
    refused(write(other, tmp_path), *words)


def test_text_is_no_weights_file(kind, tmp_path):
    _, write, state = kind
    path = write(state, tmp_path)
    file_of(path).write_text("<html>404: not found</html>\n" * 20)
    refused(path, str(file_of(path)), "a web page, no weights")
    file_of(path).write_text("404: not found\n" * 20)
    refused(path, str(file_of(path)), "damaged")


def test_every_single_missing_key_is_named(kind, tmp_path):
    name, write, state = kind
    for key in state:
        less = {k: v for k, v in state.items() if k != key}
        if re.search(r"(head|classifier)\W?bias", key) and name != "ours":
            report = read_pretrained(less, 4).report
            assert ("zeros: the head has no bias") in [e.detail for e in report]
            continue
        message = refused(write(less, tmp_path) if name == "ours" else less)
        assert bare(key) in message or "no weights of a Vision" in message, key


def test_every_single_wrong_shape_is_refused_and_named(kind, tmp_path):
    name, write, state = kind
    for key, value in state.items():
        for wrong in (
            torch.ones(*value.shape[:-1], value.shape[-1] + 1),
            torch.ones(1, *value.shape),
            torch.ones(()),
        ):
            source = {**state, key: wrong}
            message = refused(write(source, tmp_path) if name == "ours" else source)
            head = ("head", "classifier", "pre_logits")
            if any(word in key for word in head):  # each tells another's width
                assert any(word in message for word in head), message
            else:
                assert key in message or bare(key) in message, (key, message)
                assert wrong.dim() == 0 or "(" in message


def test_flax_heads_must_agree(tmp_path):
    state = tensors(official_arrays(WIDE))
    stem = "Transformer/encoderblock_0/MultiHeadDotProductAttention_1"
    key = f"{stem}/key/kernel"
    state[key] = state[key].reshape(44, 2, 22)
    refused(state, key, "(44, 2, 22), so 2 heads", "need 4 of 11", num_heads=None)
    state = tensors(official_arrays(WIDE))
    key = f"{stem}/out/kernel"
    state[key] = state[key].reshape(11, 4, 44)
    refused(state, key, "so 11 heads of 4", num_heads=None)


# Models that the paper's has no place for


@pytest.mark.parametrize(
    ("options", "key", "what"),
    [
        (dict(qk_norm=True), "blocks.0.attn.q_norm.weight", "LayerNorms"),
        (dict(pre_norm=True), "norm_pre.weight", "LayerNorms"),
        (dict(global_pool="avg"), "fc_norm.weight", "a head on all patches"),
        (dict(global_pool="map"), "attn_pool", "a head on all patches"),
    ],
)
def test_other_designs_of_timm_are_refused(options, key, what):
    refused(timm_vit(WIDE, **options).state_dict(), key, what)


def test_distillation_token_is_refused():
    from timm.models.deit import VisionTransformerDistilled

    state = VisionTransformerDistilled(
        img_size=40, patch_size=8, embed_dim=44, depth=3, num_heads=4, num_classes=10
    ).state_dict()
    refused(state, "dist_token", "distillation")


def test_model_without_a_class_token_or_biases_is_refused():
    average = timm_vit(WIDE, class_token=False, global_pool="avg")
    refused(average.state_dict(), "a head on all patches")
    refused(timm_vit(WIDE, qkv_bias=False).state_dict(), "missing", "attn.qkv.bias")
    refused(
        transformers_vit(WIDE, qkv_bias=False).state_dict(), "attention.k_proj.bias"
    )


def test_two_models_at_once_are_refused():
    state = timm_vit(WIDE).state_dict()
    two = {**state, **{f"module.{name}": value for name, value in state.items()}}
    refused(two, "two models")


# Files that could run code


@pytest.mark.parametrize("name", ["bomb.pth", "bomb.bin", "bomb.npz", "bomb.ckpt"])
@pytest.mark.parametrize("protocol", [None, 0, 2, 4])
def test_pickle_with_code_is_refused_and_nothing_runs(name, protocol, tmp_path):
    bomb, path = Bomb(tmp_path / "ran"), tmp_path / name
    if protocol is None:
        torch.save({**timm_vit(WIDE).state_dict(), "bomb": bomb}, path)
    else:
        path.write_bytes(pickle.dumps({"bomb": bomb}, protocol))
    message = refused(path, str(path))
    assert "weights_only" not in message  # no advice to load it all the same
    assert "refused" in message
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(bomb)).close()
    assert (tmp_path / "ran").exists()  # it would have


def test_folder_with_code_in_it_is_refused_and_nothing_runs(tmp_path):
    state = {"bomb": Bomb(tmp_path / "ran")}
    refused(write_folder_of_pth(state, tmp_path), "refused", "io.open")
    assert not (tmp_path / "ran").exists()


def test_object_array_is_refused_and_nothing_runs(tmp_path):
    arrays = official_arrays(WIDE)
    arrays["cls"] = np.array([Bomb(tmp_path / "ran")], dtype=object)
    np.savez(tmp_path / "objects.npz", **arrays)
    refused(tmp_path / "objects.npz", "refused", "Object arrays")
    np.savez(tmp_path / "objects.pth", **arrays)  # told by content, not by name
    (tmp_path / "objects.pth.npz").rename(tmp_path / "objects.pth")
    refused(tmp_path / "objects.pth", "refused", "Object arrays")
    assert not (tmp_path / "ran").exists()


def test_whole_model_as_pickle_is_refused(tmp_path):
    torch.save(timm_vit(WIDE), tmp_path / "model.pth")
    refused(tmp_path / "model.pth", "refused", "give a whole file of tensors")


# Other contents


def test_file_of_something_else_is_told(tmp_path):
    torch.save([torch.ones(2)], tmp_path / "list.pth")
    refused(tmp_path / "list.pth", "it holds a list, no state dictionary")
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    refused(tmp_path / "array.npz", "array.npz is damaged")
    with pytest.raises(InputError, match="no weights file .*none.pth"):
        read_weights(tmp_path / "none.pth")


def test_what_is_no_tensor_is_left_out_and_reported(tmp_path):
    state = {**timm_vit(WIDE).state_dict(), "epoch": 3, "note": "hello"}
    torch.save(state, tmp_path / "weights.pth")
    for source in (state, tmp_path / "weights.pth"):
        report = read_pretrained(source, 4).report
        for key in ("epoch", "note"):
            assert (key, "left out", "no numbers") in report
    np.savez(tmp_path / "weights.npz", note=np.array("hello"), **official_arrays(WIDE))
    report = read_pretrained(tmp_path / "weights.npz").report
    assert ("note", "left out", "no numbers") in report


def test_bfloat16_of_flax_is_read(tmp_path):
    arrays = official_arrays(WIDE)
    halves = {
        name: torch.from_numpy(array).bfloat16().view(torch.int16).numpy().view("V2")
        for name, array in arrays.items()
    }
    np.savez(tmp_path / "weights.npz", **halves)
    model = from_pretrained(tmp_path / "weights.npz", quiet=True)
    same = {n: torch.from_numpy(a).bfloat16() for n, a in arrays.items()}
    expected = from_pretrained(same, quiet=True)
    assert torch.equal(model(images_for(WIDE)), expected(images_for(WIDE)))


def test_folder_without_weights_or_with_bad_notes_is_told(tmp_path):
    refused(tmp_path, f"folder {tmp_path} holds no weights", "model.safetensors")
    folder = write_folder(transformers_state(tmp_path / "peer"), tmp_path)
    good = (folder / "config.json").read_text()
    for name in ("config.json", "preprocessor_config.json"):
        (folder / name).write_text("{")
        refused(folder, name, "no JSON file")
        for text in ("[]", '"hello"', "3"):
            (folder / name).write_text(text)
            refused(folder, name, "no JSON object")
        (folder / name).write_text(good)
    for key in ("layer_norm_eps", "num_attention_heads", "image_size", "patch_size"):
        notes = {k: v for k, v in json.loads(good).items() if k != key}
        (folder / "config.json").write_text(json.dumps(notes))
        refused(folder, "config.json", key)
        (folder / "config.json").write_text(json.dumps({**notes, key: None}))
        refused(folder, "")


@pytest.mark.parametrize(
    "notes",
    [
        "[]",
        "{}",
        '{"config": 3, "class_names": []}',
        '{"config": {"image_size": 41}, "class_names": []}',
        '{"config": {"colour": 3}, "class_names": []}',
    ],
)
def test_own_file_with_bad_notes_is_told(notes, tmp_path):
    path = tmp_path / "ours.safetensors"
    save_file(noisy_vit(WIDE).state_dict(), path, metadata={"vit": notes})
    refused(path, "the file's own notes describe no model")
    save_file(noisy_vit(WIDE).state_dict(), path, metadata={"vit": "{"})
    refused(path, str(path), "damaged")


def test_own_file_with_half_a_head_is_told(tmp_path):
    state = noisy_vit(WIDE).state_dict()
    del state["head.bias"]
    refused(write_ours(state, tmp_path), "lack head.bias")
