"""The fast path gives the taught model's numbers, and is chosen by the hardware."""

import copy

import pytest
import torch
import torch.nn.functional as F
from exactness import check_same
from torch import nn

from going_modular.data_setup import normalise
from going_modular.datasets.sources import load_data
from going_modular.predictions import load_classifier
from going_modular.teaching.checks import check_close
from going_modular.teaching.toy import toy_config, toy_images
from going_modular.training import fast_path
from going_modular.training.fast_path import (
    COMPILED_FROM,
    FastPath,
    cast_matrices,
    choose_computation,
    choose_precision,
    for_prediction,
    has_bf16,
    takes_explicit_attention,
)
from going_modular.training.settings import TrainingSettings
from going_modular.vit import ViT

BF16 = torch.bfloat16
CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def toy_vit(**changes) -> ViT:
    torch.manual_seed(0)
    model = ViT(toy_config(**changes))
    for parameter in model.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)  # biases and head, too
    return model


def gradients(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters()])


@pytest.mark.parametrize("changes", [{}, {"depth": 1}, {"representation_size": 20}])
@pytest.mark.parametrize("explicit", [False, True])
def test_logits_and_gradients_are_those_of_the_taught_model(
    changes, explicit, monkeypatch
):
    monkeypatch.setattr(fast_path, "takes_explicit_attention", lambda q: explicit)
    model = toy_vit(**changes)
    oracle = copy.deepcopy(model)
    images, labels = toy_images(), torch.tensor([3, 7])
    logits, expected = FastPath(model)(images), oracle(images)
    check_close(logits, expected, tolerance=1e-5)
    F.cross_entropy(logits, labels).backward()
    F.cross_entropy(expected, labels).backward()
    largest = gradients(oracle).abs().max()
    assert largest > 1e-3
    check_close(gradients(model) / largest, gradients(oracle) / largest, 1e-5)
    assert all(p.grad.any() for p in model.parameters())


def test_the_last_block_works_for_the_class_token_alone():
    model = toy_vit(depth=3)
    counts = []
    for block in model.encoder.blocks:
        block.mlp_block.register_forward_hook(
            lambda _, inputs, out: counts.append(out.shape[1])
        )
    FastPath(model)(toy_images())
    assert counts == [26, 26, 1]


def test_dropout_falls_on_the_branches_that_the_taught_model_drops():
    model = toy_vit(depth=2, dropout=0.5).train()
    torch.manual_seed(1)
    first = FastPath(model)(toy_images())
    torch.manual_seed(2)
    assert (first - FastPath(model)(toy_images())).abs().max() > 1e-3
    model.eval()
    check_close(FastPath(model).eval()(toy_images()), model(toy_images()), 1e-5)


def test_the_parameters_stay_the_models_own():
    model = toy_vit(depth=1)
    fast = FastPath(model)
    assert [id(p) for p in fast.parameters()] == [id(p) for p in model.parameters()]
    check_same(list(fast.state_dict().values()), list(model.state_dict().values()))


@pytest.mark.parametrize("options", [{}, {"whole": False}])
def test_a_head_alone_and_a_model_in_parts_are_called_as_they_are(options):
    model = nn.Linear(4, 3) if not options else toy_vit(depth=2)
    x = torch.randn(2, 4) if not options else toy_images()
    check_same(FastPath(model, **options)(x), model(x))


def dtypes_of(fast: FastPath, *names: str) -> dict[str, torch.dtype]:
    """What layers of a model give in a forward pass."""
    found, hooks = {}, []
    for name in names:
        layer = fast.model.get_submodule(name)
        note = lambda *all, name=name: found.update({name: all[-1].dtype})  # noqa: E731
        hooks.append(layer.register_forward_hook(note))
    fast(toy_images())
    for hook in hooks:
        hook.remove()
    return found


PRODUCTS = ("patch_embedding.projection", "encoder.blocks.0.mlp_block.mlp.linear_1")
PRODUCTS += ("encoder.blocks.0.msa_block.msa.qkv",)
FULL = ("patch_embedding", "encoder.blocks.0.msa_block.layer_norm", "layer_norm")
FULL += ("encoder.blocks.0.mlp_block",)


@pytest.mark.parametrize("training", [False, True])
def test_half_precision_rounds_the_products_and_no_sum_or_layer_norm(training):
    fast = FastPath(toy_vit(depth=2), BF16).train(training)
    assert set(dtypes_of(fast, *PRODUCTS).values()) == {BF16}
    assert set(dtypes_of(fast, *FULL).values()) == {torch.float32}
    head = BF16 if training else torch.float32
    assert dtypes_of(fast, "head") == {"head": head}
    assert fast(toy_images()).dtype == torch.float32


def test_half_precision_leaves_gradients_in_full():
    model = toy_vit(depth=2)
    FastPath(model, BF16).train()(toy_images()).sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())


def test_what_is_no_vit_or_in_parts_predicts_in_full():
    x = torch.randn(2, 4)
    head = nn.Linear(4, 3)
    check_same(for_prediction(head, BF16)(x), head(x))
    model = toy_vit(depth=1)
    check_same(
        for_prediction(model, BF16, whole=False)(toy_images()),
        model.eval()(toy_images()),
    )


# Prediction: matrices are rounded once


@pytest.mark.parametrize("changes", [{}, {"representation_size": 20}, {"dropout": 0.5}])
def test_prediction_gives_the_bits_of_half_precision_without_a_copy(changes):
    model = toy_vit(depth=2, **changes).train()
    predicted = for_prediction(model, BF16)(toy_images())
    check_same(predicted, FastPath(model, BF16).eval()(toy_images()))
    full = for_prediction(model, torch.float32)(toy_images())
    check_same(full, FastPath(model)(toy_images()))
    assert 0 < (predicted - full).abs().max() < 0.1
    features = for_prediction(model, BF16).forward_features(toy_images())
    assert features.dtype == torch.float32
    check_same(model.head(features), predicted)


def test_the_copy_holds_half_the_matrices_and_nothing_else():
    model = toy_vit(depth=2)
    before = copy.deepcopy(model.state_dict())
    cast = cast_matrices(model, BF16)
    theirs, ours = (dict(m.named_parameters()) for m in (model, cast))
    for name, parameter in ours.items():
        layer = model.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, nn.Linear) and not name.startswith("head"):
            assert parameter.dtype == BF16 and not parameter.requires_grad
            check_same(parameter.data, theirs[name].data.bfloat16())
        else:
            assert parameter is theirs[name], f"{name} is copied"
    assert sum(p.dtype == BF16 for p in ours.values()) == 2 * (1 + 2 * 4)
    check_same(model.state_dict(), before)
    assert all(p.requires_grad and p.dtype == torch.float32 for p in theirs.values())


def test_in_full_precision_there_is_no_copy():
    model = toy_vit(depth=1)
    assert for_prediction(model, torch.float32).model is model


def test_probabilities_of_trained_weights_hardly_change():
    """Of the built-in weights, on clothes."""
    model, _ = load_classifier("built-in")
    images = load_data("built-in", 28)["test"].images[:100]
    x = normalise(images, model.config.mean, model.config.std)  # (100, 1, 28, 28)
    with torch.inference_mode():
        half, full = (
            for_prediction(model, dtype)(x).softmax(dim=1)  # (100, K)
            for dtype in (BF16, torch.float32)
        )
    assert 1e-5 < (half - full).abs().max() < 0.05
    assert (half - full).abs().amax(dim=1).mean() < 0.005


@pytest.mark.parametrize(
    ("dtype", "amx", "explicit"),
    [(BF16, False, True), (BF16, True, False), (torch.float32, False, False)],
)
def test_explicit_attention_is_taken_in_bf16_on_cpus_without_matrix_units(
    dtype, amx, explicit, monkeypatch
):
    monkeypatch.setattr(fast_path, "has_amx", lambda: amx)
    assert takes_explicit_attention(torch.empty(1, dtype=dtype)) == explicit
    assert not takes_explicit_attention(torch.empty(1, dtype=dtype, device="meta"))


# What "auto" stands for


def choose(device=CPU, steps=10**6, **settings) -> tuple[str, str]:
    chosen = choose_computation(TrainingSettings(**settings), device, steps)
    return chosen.precision, chosen.compile


@pytest.mark.parametrize(("half", "precision"), [(True, "bf16"), (False, "fp32")])
@pytest.mark.parametrize("device", [CPU, CUDA])
def test_precision_follows_the_hardware(device, half, precision, monkeypatch):
    monkeypatch.setattr(fast_path, "has_bf16", lambda device: half)
    assert choose(device)[0] == choose_precision("auto", device) == precision
    assert choose(device, precision="fp32")[0] == "fp32"
    assert choose(device, precision="bf16")[0] == "bf16"


def test_long_runs_on_gpus_are_compiled():
    asked = dict(precision="fp32")
    assert choose(CUDA, COMPILED_FROM, **asked)[1] == "yes"
    assert choose(CUDA, COMPILED_FROM - 1, **asked)[1] == "no"
    assert choose(CPU, **asked)[1] == choose(torch.device("mps"), **asked)[1] == "no"
    assert choose(CPU, compile="yes")[1] == "yes"
    assert choose(CUDA, compile="no", **asked)[1] == "no"


def test_choices_are_settings_that_choose_the_same_again():
    chosen = choose_computation(TrainingSettings(), CPU, 10)
    assert "auto" not in (chosen.precision, chosen.compile)
    assert choose_computation(chosen, CUDA, 10**9) == chosen


def test_no_clock_is_asked(monkeypatch):
    import time

    def fail():
        raise AssertionError("a choice must not hang on a stopwatch")

    for clock in ("perf_counter", "monotonic", "time", "process_time"):
        monkeypatch.setattr(time, clock, fail)
    choose()
    assert not hasattr(fast_path, "time")


def test_cpus_have_bf16_with_either_kind_of_unit(monkeypatch):
    for avx512, amx in ((False, False), (True, False), (False, True)):
        monkeypatch.setattr(
            torch.cpu, "_is_avx512_bf16_supported", lambda a=avx512: a, raising=False
        )
        monkeypatch.setattr(fast_path, "has_amx", lambda a=amx: a)
        assert has_bf16(CPU) == (avx512 or amx)
    assert not has_bf16(torch.device("mps"))
