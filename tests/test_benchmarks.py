"""Benchmarks: the formulas they rest on, and that their command lines run."""

import errno
import importlib
import json
import os
import sys

import pytest
import torch
from browser import require_browser
from PIL import Image
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import (
    capturing,
    growth,
    loading,
    measuring,
    needs,
    recipes,
    speed,
    trust,
)
from benchmarks.measuring import (
    forward_call,
    markdown_table,
    multiply_adds,
    peak_memory,
    take_turns,
    train_call,
)
from going_modular.config import ViTConfig
from going_modular.errors import InputError
from going_modular.teaching.toy import toy_config
from going_modular.training.fast_path import FastPath, has_bf16
from going_modular.vit import ViT

CPU = torch.device("cpu")
TOY = toy_config(depth=3)


@pytest.mark.ledger(
    "Figure 12", "multiplications by formula are those that torch counts"
)
@pytest.mark.parametrize(
    "config",
    [
        TOY,
        ViTConfig.from_variant("Ti/16"),
        ViTConfig.from_variant("Ti/32", image_size=(64, 96), representation_size=24),
    ],
    ids=["toy", "Ti/16", "Ti/32"],
)
def test_the_formula_counts_what_torch_counts(config):
    model, images = ViT(config), torch.zeros(2, config.in_channels, *config.image_shape)
    for class_only, called in ((False, model), (True, FastPath(model))):
        with FlopCounterMode(display=False) as counter:
            called(images)
        # torch counts a multiplication and its addition as two.
        work = multiply_adds(config, class_only=class_only)
        assert counter.get_total_flops() == 2 * 2 * work


def test_backward_takes_twice_the_work_of_forward():
    """But for the attention's kernel, and the images, which need no gradient."""
    model = ViT(ViTConfig.from_variant("Ti/16"))
    with FlopCounterMode(display=False) as forward:
        loss = model(torch.zeros(1, 3, 224, 224)).sum()
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    ratio = backward.get_total_flops() / forward.get_total_flops()
    assert ratio == pytest.approx(2, rel=0.03)


@pytest.mark.parametrize(
    "name, epochs, exaflops",
    [("B/32", 7, 55), ("B/16", 7, 224), ("L/32", 7, 196)]
    + [("L/16", 7, 783), ("L/16", 14, 1567), ("H/14", 14, 4262)],
)
def test_the_formula_gives_the_compute_of_table_6(name, epochs, exaflops):
    work = multiply_adds(ViTConfig.from_variant(name))
    images = 303e6  # JFT, section 4.1
    assert 2 * 3 * work * images * epochs / 1e18 == pytest.approx(exaflops, rel=0.025)


def test_a_training_call_trains_and_a_forward_call_does_not():
    torch.manual_seed(0)
    model = ViT(TOY)
    x, labels = torch.randn(4, 3, 40, 40), torch.arange(4)
    before = [p.clone() for p in model.parameters()]
    logits = forward_call(model, x, torch.bfloat16)()
    assert logits.dtype == torch.bfloat16 and not logits.requires_grad
    assert all(map(torch.equal, before, model.parameters()))
    train_call(model, x, labels, torch.float32)()
    assert not torch.equal(before[-2], model.head.weight)
    assert all(p.grad is not None for p in model.parameters())


def test_calls_take_turns_and_each_round_begins_with_another():
    order = []
    calls = {name: lambda name=name: order.append(name) for name in "abc"}
    found = take_turns(calls, 4, 60, CPU)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab" + "abc"
    assert {name: len(times) for name, times in found.items()} == dict(a=4, b=4, c=4)
    assert len(take_turns(calls, 9, 0, CPU)["a"]) == 3


def test_a_time_is_the_mean_of_the_calls_in_a_row(monkeypatch):
    now = 0.0

    def call():
        nonlocal now
        now += 2

    monkeypatch.setattr(measuring.time, "perf_counter", lambda: now)
    assert take_turns({"a": call}, 4, 60, CPU, times=5) == {"a": [2.0] * 4}
    assert now == 5 * 2 * 5  # the first to warm up


def test_peak_memory_sees_what_was_freed_again():
    peak_memory(lambda: torch.ones(2**20), CPU)
    peak = peak_memory(lambda: torch.ones(25 * 2**20), CPU)  # 100 MiB
    assert peak is None or 95 < peak < 130


def test_a_markdown_table_has_a_line_under_its_head():
    lines = ["| a   | b |", "| --- | - |", "| c d | e |"]
    assert markdown_table([["a", "b"], ["c d", "e"]]) == "\n".join(lines)


@pytest.mark.parametrize(
    "dimension, value, field",
    [
        ("image size", 448, "image_size"),
        ("depth", 24, "depth"),
        ("width", 384, "embedding_dim"),
    ],
)
def test_growth_changes_one_size(dimension, value, field):
    common = growth.Case(ViTConfig.from_variant("Ti/16"), 8)
    assert common.grow(dimension, 1)[1] == common
    grown_to, case = common.grow(dimension, 2)
    assert case.batch == 8
    assert grown_to == value == getattr(case.config, field)
    if dimension == "width":
        assert case.config == ViTConfig.from_variant("S/16")
    assert common.grow("batch", 0.5) == (4, growth.Case(common.config, 4))


def test_speed_runs_and_writes_its_table(tmp_path, capsys, monkeypatch):
    pytest.importorskip("vit_pytorch", reason="pip install -e .[peers]")
    pytest.importorskip("timm", reason="pip install -e .[peers]")
    pytest.importorskip("transformers", reason="pip install -e .[peers]")
    monkeypatch.setitem(measuring.SIDES, "cpu", (64, 128))
    path = tmp_path / "speed.json"
    small = "--models Ti/16 --image-size 32 --batch 2 --rounds 1 --device cpu"
    small += " --precision fp32 bf16"
    assert speed.main([*small.split(), "--output", str(path)]) == 0
    figures = json.loads(path.read_text())
    assert figures["greatest_difference"]["Ti/16"] < 1e-4
    modes = [(row["precision"], row["mode"]) for row in figures["rows"]]
    assert modes == [
        (precision, mode)
        for precision in ("fp32", "bf16")
        for mode in ("forward", "train")
    ]
    for row in figures["rows"]:
        speeds = row["images_per_second"]
        assert list(speeds) == ["ours", "plain", *speed.PEERS]
        medians = {name: values[0] for name, values in speeds.items()}
        best = medians[row["best_peer"]]
        assert best == max(medians[name] for name in speed.PEERS)
        # One round: its ratio is that of the medians.
        assert row["ours_to_best"][0] == pytest.approx(medians["ours"] / best)
        work = 2 * multiply_adds(ViTConfig.from_variant("Ti/16", 32)) / 1e12
        work *= 3 if row["mode"] == "train" else 1
        # At most the formula's: the model may leave out what decides no logit.
        share = row["tflops"] / (work * medians["ours"])
        assert 0.9 < share < 1 + 1e-9
        if row["precision"] == "fp32" or has_bf16(torch.device("cpu")):
            assert row["machine_tflops"] > 0
        else:
            assert "machine_tflops" not in row  # it would take minutes
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + len(modes)
    assert all(line.startswith("| ") and line.count("|") == 12 for line in lines)


@pytest.mark.parametrize("there", [False, True])
def test_bfloat16_is_measured_where_the_hardware_has_it(there, monkeypatch):
    monkeypatch.setattr(speed, "has_bf16", lambda device: there)
    expected = ["fp32", "bf16"] if there else ["fp32"]
    assert speed.parse(["--device", "cpu"]).precision == expected
    assert speed.parse(["--precision", "bf16"]).precision == ["bf16"]


def test_contenders_that_compute_something_else_are_refused():
    pytest.importorskip("timm", reason="pip install -e .[peers]")
    contenders = speed.build_contenders(TOY, ["timm"])
    x = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    assert speed.greatest_difference(contenders, x) < 1e-5
    nn.init.normal_(contenders["timm"].pos_embed)
    with pytest.raises(RuntimeError, match="timm's logits differ from ours by"):
        speed.greatest_difference(contenders, x)


def test_growth_runs_and_draws(tmp_path, capsys):
    table, picture = tmp_path / "growth.json", tmp_path / "growth.png"
    small = "--image-size 32 --batch 2 --rounds 1 --device cpu --output"
    assert growth.main([*small.split(), str(picture), "--json", str(table)]) == 0
    rows = json.loads(table.read_text())["rows"]
    assert len(rows) == 4 * len(growth.FACTORS)
    with FlopCounterMode(display=False) as counter:
        ViT(ViTConfig.from_variant("Ti/16", 32))(torch.zeros(1, 3, 32, 32))
    assert 2 * rows[2]["multiply_adds"] == counter.get_total_flops()
    for row in rows:
        # What is expected follows from the common model and the formula alone.
        ratio = rows[2]["multiply_adds"] / row["multiply_adds"]
        common = rows[2]["images_per_second"][0]
        assert row["expected"] == pytest.approx(common * ratio)
    assert len(capsys.readouterr().out.splitlines()) == 2 + len(rows)
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize(
    "benchmark, flags, message",
    [
        (speed, ["--models", "X/16"], "unknown variant 'X/16'"),
        (speed, ["--image-size", "33"], "image_size 33 is not a multiple"),
        (speed, ["--batch", "0"], "--batch must be positive, not 0"),
        (speed, ["--output", "no/such/x.json"], "--output: no folder no/such"),
        (growth, ["--model", "Ti/0"], "patch_size must be a positive integer"),
        (growth, ["--output", "no/such/x.png"], "--output: no folder no/such"),
        (growth, ["--rounds", "-1"], "--rounds must be positive, not -1"),
        (needs, ["--check-batch", "0"], "--check-batch must be positive, not 0"),
        (needs, ["--batch", "8", "0"], "--batch must be positive, not 0"),
        (needs, ["--json", "."], "--json: . is a folder, name a file in it"),
        (capturing, ["--rounds", "0"], "--rounds must be positive, not 0"),
        (capturing, ["--json", "no/such/x.json"], "--json: no folder no/such"),
        (loading, ["--rounds", "0"], "--rounds must be positive, not 0"),
        (trust, ["--steps", "0"], "--steps must be positive, not 0"),
        (trust, ["--output", "no/such/x.png"], "--output: no folder no/such"),
        (trust, ["--output", "x.foo"], "--output must end in .png, .pdf, .svg: x.foo"),
        (growth, ["--output", "x"], "--output must end in .png, .pdf, .svg: x"),
        (recipes, ["--json", "/dev/full"], "--json: /dev/full is none of ours"),
        (recipes, ["--json", "no/such/x.json"], "--json: no folder no/such"),
        (recipes, ["--epochs", "0"], "epochs must be a positive integer, not 0"),
    ],
)
def test_unusable_flags_are_one_line(benchmark, flags, message, capsys):
    assert benchmark.main(flags) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(message) and shown.count("\n") == 1


def test_a_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "vit_pytorch", None)
    with pytest.raises(InputError, match=r"vit-pytorch is missing: pip install -e"):
        speed.build_contenders(TOY, ["vit-pytorch"])


def test_capturing_runs_and_writes(tmp_path, capsys):
    path = tmp_path / "capturing.json"
    case = "built-in, batch 256"
    flags = ["--case", case, "--rounds", "1", "--json", str(path)]
    assert capturing.main(flags) == 0
    found = json.loads(path.read_text())[case]
    assert found["rounds"] == 1
    seconds = {way: times[0] for way, times in found["seconds"].items()}
    for other in ("explicit", "fused"):
        ratio = seconds["capture"] / seconds[other]
        assert found[f"capture_to_{other}"] == pytest.approx([ratio] * 3)
    assert capsys.readouterr().out.splitlines()[-1].startswith(case)


@pytest.mark.skipif("SLOW" not in os.environ, reason="a quarter of a minute")
def test_loading_runs_and_writes(tmp_path, capsys):
    path = tmp_path / "loading.json"
    assert loading.main(["--rounds", "1", "--json", str(path)]) == 0
    figures = json.loads(path.read_text())
    assert figures["file_mb"] == pytest.approx(86_567_656 * 4 / 2**20, rel=0.001)
    assert 0.9 < figures["memory_ratio"] < 2
    assert json.loads(capsys.readouterr().out) == figures


def test_trust_runs_and_draws(tmp_path, capsys):
    table, picture = tmp_path / "trust.json", tmp_path / "trust.png"
    small = "--seeds 3 --images 4 --steps 2 --output"
    assert trust.main([*small.split(), str(picture), "--json", str(table)]) == 0
    figures = json.loads(table.read_text())
    said = capsys.readouterr().out
    for title in trust.AREAS:
        for removal, maps in figures[title].items():
            assert removal in trust.REMOVALS and "attention, last layer" in maps
            for (value,) in maps.values():
                assert -1 < value < 1
                assert f"{value:.3f} ({value:.3f} to {value:.3f})" in said
    assert picture.stat().st_size > 10_000


@pytest.mark.skipif("SLOW" not in os.environ, reason="a quarter of a minute")
def test_the_explorers_benchmark_runs_and_writes(tmp_path):
    require_browser()
    from benchmarks import explorer

    path = tmp_path / "explorer.json"
    assert explorer.main(["--json", str(path)]) == 0
    figures = json.loads(path.read_text())
    assert 8e6 < figures["bytes"] < 9e6
    assert 0 < figures["redraw, rollout"]["median_ms"] < 1000
    assert figures["frames"]["count"] > 10


BENCHMARKS = ("capturing", "explorer", "growth", "loading", "needs", "photos")
BENCHMARKS += ("recipes", "speed", "trust")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_says_what_it_does(name, capsys):
    benchmark = importlib.import_module(f"benchmarks.{name}")
    with pytest.raises(SystemExit) as stop:
        benchmark.main(["--help"])
    assert stop.value.code == 0
    assert benchmark.__doc__.split("\n")[0][:30] in capsys.readouterr().out


def test_a_table_that_cannot_be_written_is_shown_all_the_same(
    tmp_path, monkeypatch, capsys
):
    """The disk has become full meanwhile."""

    def fail(path, figures):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(needs, "write_json", fail)
    path = tmp_path / "needs.json"
    flags = ["--check", "none", "--models", "Ti/16", "--json", str(path)]
    assert needs.main(flags) == 2
    said = capsys.readouterr()
    assert "| Ti/16 " in said.out
    assert "No space left on device" in said.err and said.err.count("\n") == 1


def test_a_benchmark_that_is_stopped_says_so(tmp_path, monkeypatch, capsys):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(needs, "row", interrupt)
    assert needs.main(["--check", "none", "--json", str(tmp_path / "x.json")]) == 130
    assert capsys.readouterr().err.strip() == "stopped; nothing is written"


def test_only_files_of_benchmarks_are_written_again(tmp_path, capsys):
    path, picture = tmp_path / "x.json", tmp_path / "x.png"
    flags = ["--check", "none", "--models", "Ti/16", "--json", str(path)]
    for mine in ("my notes", "[1]", '{"a": 1}'):
        path.write_text(mine)
        assert needs.main(flags) == 2
        line = capsys.readouterr().err
        assert line == f"--json: {path} is none of ours, name another file\n"
        assert path.read_text() == mine
    path.unlink()
    for _ in range(2):  # the second time it is a benchmark's own
        assert needs.main(flags) == 0
    Image.new("RGB", (3, 3)).save(picture)
    assert trust.main(["--output", str(picture), "--json", str(path)]) == 2
    assert "x.png is none of ours" in capsys.readouterr().err
