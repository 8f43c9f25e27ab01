"""The fastest way to compute is chosen by measuring, and measuring changes nothing."""

import pytest
import torch
from torch import nn

from going_modular.processes.alone import Processes
from going_modular.teaching.toy import toy_config, toy_images
from going_modular.training import fast_path as acceleration
from going_modular.training.fast_path import choose_computation, seconds_per_step
from going_modular.training.settings import TrainingSettings
from going_modular.vit import ViT


@pytest.fixture
def model() -> ViT:
    torch.manual_seed(0)
    model = ViT(toy_config(depth=1, dropout=0.1))
    nn.init.normal_(model.head.weight)
    return model


@pytest.fixture
def measured(monkeypatch):
    """Put seconds in place of measurements; gives what was asked for."""
    asked, told = [], {}

    def seconds(model, images, precisions, accumulate=1):
        compiled = model._compiled_call_impl is not None
        asked.append((tuple(precisions), compiled))
        return [told[p, compiled] for p in precisions]

    monkeypatch.setattr(acceleration, "seconds_per_step", seconds)
    return asked, told


FP32, BF16 = torch.float32, torch.bfloat16


def choose(model, steps=10, **settings):
    return choose_computation(TrainingSettings(**settings), model, toy_images(), steps)


def test_measuring_changes_no_weight_no_gradient_and_no_random_state(model):
    before = {name: w.clone() for name, w in model.state_dict().items()}
    state = torch.get_rng_state()
    least = seconds_per_step(model.train(), toy_images(), [FP32, BF16])
    assert len(least) == 2 and all(0 < seconds < 60 for seconds in least)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(w, before[name]) for name, w in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_gradients_that_are_no_numbers_do_not_reach_the_weights(model):
    seconds_per_step(model.train(), toy_images() * torch.inf, [FP32])
    assert all(w.isfinite().all() for w in model.state_dict().values())


@pytest.mark.parametrize(
    ("seconds", "chosen"), [(0.5, "bf16"), (0.9, "fp32"), (2.0, "fp32")]
)
def test_bf16_is_taken_where_it_is_clearly_faster(
    model, measured, monkeypatch, seconds, chosen
):
    monkeypatch.setattr(acceleration, "has_bf16", lambda device: True)
    measured[1].update({(FP32, False): 1.0, (BF16, False): seconds})
    settings = choose(model)
    assert (settings.precision, settings.compile) == (chosen, "no")
    assert settings.dtype == {"fp32": FP32, "bf16": BF16}[chosen]


def test_hardware_without_bf16_is_not_asked_to_imitate_it(model, measured, monkeypatch):
    monkeypatch.setattr(acceleration, "has_bf16", lambda device: False)
    measured[1].update({(FP32, False): 1.0})
    assert choose(model).precision == "fp32"
    assert measured[0] == [((FP32,), False)]


def test_what_the_user_chose_is_not_measured(model, measured):
    settings = choose(model, precision="bf16", compile="no")
    assert (settings.precision, settings.compile) == ("bf16", "no")
    assert measured[0] == [] and model._compiled_call_impl is None
    assert choose(model, precision="fp32", compile="yes").compile == "yes"
    assert measured[0] == [] and model._compiled_call_impl is not None


@pytest.mark.parametrize(
    ("steps", "compiled", "chosen"),
    [(100, 0.1, "no"), (10_000, 0.1, "yes"), (10_000, 0.95, "no")],
)
def test_only_long_runs_are_compiled_and_only_where_it_pays(
    model, measured, steps, compiled, chosen
):
    measured[1].update({(FP32, False): 1.0, (FP32, True): compiled})
    assert choose(model, steps, precision="fp32").compile == chosen
    assert (model._compiled_call_impl is not None) == (chosen == "yes")
    assert any(was for _, was in measured[0]) == (steps > 1000)


def test_choices_are_settings_that_choose_the_same_again(model, measured):
    settings = choose(model, precision="fp32", compile="no")
    again = choose_computation(settings, model, toy_images(), 10**9)
    assert again == settings and measured[0] == []


@pytest.mark.parametrize(
    ("device", "has_bf16", "precision"),
    [("cuda", True, "bf16"), ("cuda", False, "fp32"), ("cpu", True, "fp32")],
)
def test_nothing_is_measured_where_the_model_is_shared_out(
    device, has_bf16, precision, model, measured, monkeypatch
):
    monkeypatch.setattr(acceleration, "has_bf16", lambda device: has_bf16)

    class Sharded(Processes):
        count, sharded = 2, True

    def choose(**settings):
        asked = TrainingSettings(**settings)
        processes = Sharded(device)
        chosen = choose_computation(asked, model, toy_images(), 10**9, processes)
        return chosen.precision, chosen.compile

    assert choose() == (precision, "no")
    assert choose(precision="fp32") == ("fp32", "no")
    assert model._compiled_call_impl is None
    assert choose(precision="bf16", compile="yes") == ("bf16", "yes")
    assert model._compiled_call_impl is not None
    assert measured[0] == []


@pytest.mark.parametrize("compiled", ["yes", "no"])
def test_another_process_takes_the_firsts_choice_and_measures_nothing(
    model, measured, compiled
):
    firsts = TrainingSettings(precision="bf16", compile=compiled)

    class Second(Processes):
        rank, count = 1, 2

        def agree(self, choice):
            return firsts

    settings = TrainingSettings()
    chosen = choose_computation(settings, model, toy_images(), 10, Second())
    assert chosen == firsts and measured[0] == []
    assert (model._compiled_call_impl is not None) == (compiled == "yes")


def test_a_run_is_not_compiled_where_no_compiler_is(model, monkeypatch, capsys):
    from torch._dynamo.exc import TorchDynamoException

    def seconds(model, images, precisions, accumulate=1):
        if model._compiled_call_impl is not None:
            raise TorchDynamoException("raised:\nNo C++ compiler")
        return [1.0]

    monkeypatch.setattr(acceleration, "seconds_per_step", seconds)
    assert choose(model, 10_000, precision="fp32").compile == "no"
    assert model._compiled_call_impl is None
    assert capsys.readouterr().out == "not compiled: raised: No C++ compiler\n"
