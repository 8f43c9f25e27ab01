"""What training needs: the counts, against PyTorch's own."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import counting, needs
from going_modular.config import ViTConfig
from going_modular.teaching.toy import toy_config
from going_modular.training.fast_path import FastPath
from going_modular.training.memory import activation_bytes, model_bytes
from going_modular.vit import ViT

TOY = toy_config(depth=3)
PRECISIONS = [torch.float32, torch.bfloat16]
CONFIGS = {
    "toy": TOY,
    "one block": replace(TOY, depth=1),
    "grey": replace(TOY, in_channels=1, num_classes=7, mlp_size=60),
    "Ti/16": ViTConfig.from_variant("Ti/16"),
}
configs = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


@configs
@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_activations_are_what_autograd_saves(config, dtype):
    saved = counting.saved_per_image(ViT(config), dtype)
    assert activation_bytes(config, dtype) == saved


@configs
def test_the_models_part_is_what_a_step_leaves_and_autograd_copies(config):
    model = ViT(config)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, config.in_channels, *config.image_shape)).sum().backward()
    optimizer.step()
    held = [t for p in model.parameters() for t in (p, p.grad)]
    for state in optimizer.state.values():
        held += [state["exp_avg"], state["exp_avg_sq"]]
    held = sum(t.nbytes for t in held)
    assert model_bytes(config, torch.float32) == held
    # What does not grow with the batch are the copies, and the loss's one number.
    two = counting.saved_bytes(model, 2, torch.bfloat16)
    copies = two - 2 * activation_bytes(config, torch.bfloat16) - 4
    assert model_bytes(config, torch.bfloat16) == held + copies


def test_a_steps_operations_are_those_that_torch_counts():
    """But for the attention's kernel, and the images, which need no gradient."""
    config = CONFIGS["Ti/16"]
    model = ViT(config)
    with FlopCounterMode(display=False) as counter:
        FastPath(model)(torch.zeros(2, 3, 224, 224)).sum().backward()
    counted = counting.step_flops(config)
    assert 2 * counted == pytest.approx(counter.get_total_flops(), rel=0.03)


def test_a_row_is_the_sum_and_the_quotient_of_its_counts(tmp_path):
    flags = "--models L/16 --batch 3 5 --devices 4 --tflops 50 --epochs 2 --check none"
    output = tmp_path / "needs.json"
    assert needs.main([*flags.split(), "--json", str(output)]) == 0
    (row,) = json.loads(output.read_text())["rows"]
    model, image = row["model_bytes"], row["activation_bytes"]
    assert row["one_device_bytes"] == {"3": model + 3 * image, "5": model + 5 * image}
    assert row["fsdp_bytes"]["5"] == pytest.approx(model / 4 + 5 * image)
    seconds = row["step_flops"] * 2 * 1_281_167 / 50e12
    assert row["hours"] == pytest.approx({"1": seconds / 3600, "4": seconds / 14400})


def test_the_command_holds_a_real_step_against_its_count(tmp_path):
    output = tmp_path / "needs.json"
    flags = "--models Ti/16 --check Ti/16 --image-size 128 --check-batch 8 --json"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.needs", *flags.split(), str(output)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    step = json.loads(output.read_text())["check"]["step"]
    if sys.platform == "linux":
        assert step["measured"] == pytest.approx(step["counted"], rel=0.15)
        assert "unknown" not in done.stdout
    assert done.stdout.count("\n|") == 2 + 5


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--models", "X/16"], "unknown variant 'X/16'"),
        (["--tflops", "0"], "--tflops must be positive, not 0"),
        (["--batch", "32", "0"], "--batch must be positive, not 0"),
        (["--check-batch", "0"], "--check-batch must be positive, not 0"),
        (["--json", "no/such/x.json"], "--json: no folder no/such"),
    ],
)
def test_unusable_flags_are_one_line(flags, message, capsys):
    assert needs.main(flags) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(message) and shown.count("\n") == 1
