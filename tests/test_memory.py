"""Memory is estimated before it is taken; what would not fit does not begin."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from notebook_files import ROOT
from PIL import Image

import train
import train_transferlearning
from benchmarks.counting import saved_per_image
from going_modular.checkpoint import save_model
from going_modular.config import ViTConfig, count_parameters
from going_modular.data_setup import ImageSet
from going_modular.datasets import decoding
from going_modular.errors import InputError
from going_modular.processes.alone import ALONE
from going_modular.system import memory as system_memory
from going_modular.teaching.toy import toy_config
from going_modular.training import memory_check
from going_modular.training.fast_path import choose_precision
from going_modular.training.memory import (
    TEST_BYTES,
    Workload,
    activation_bytes,
    forward_bytes,
    memory_needs,
    stem_bytes,
)
from going_modular.training.memory import (
    evaluation_batch_size as images_at_once,
)
from going_modular.training.memory_check import check_memory, parameters_of
from going_modular.training.settings import TrainingSettings
from going_modular.variants.conv_stem import ViTWithConvStem
from going_modular.vit import ViT

CPU = torch.device("cpu")
GB = 10**9
PRECISIONS = [torch.float32, torch.bfloat16]
precisions = pytest.mark.parametrize("dtype", PRECISIONS, ids=str)


# What is counted, against what autograd saves.


@precisions
@pytest.mark.parametrize("explicit", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_activations_are_counted_to_the_byte_whatever_the_path(
    dtype, explicit, dropout
):
    config = toy_config(depth=3, dropout=dropout)
    saved = saved_per_image(ViT(config), dtype, explicit)
    assert activation_bytes(config, dtype, explicit) == saved


@precisions
def test_a_stem_is_counted_to_the_byte(dtype):
    config = toy_config(depth=2, image_size=32, patch_size=8)
    saved = saved_per_image(ViTWithConvStem(config), dtype)
    assert activation_bytes(config, dtype) + stem_bytes(config, dtype, "conv") == saved


# The estimate, against the peak of real runs.

# Runs each command in a process of its own, and prints what it took and was thought to
# take. They are forked, so that the libraries are read only once. The first estimate of
# a run is made before photos are read; the last is what the run says.
RUNNER = """
import json, os, re, sys
import train, train_transferlearning
from going_modular.training import memory_check

def run(name, command):
    count, found = memory_check.memory_needs, []
    def noted(*arguments):
        found.append(count(*arguments))
        return found[-1]
    memory_check.memory_needs = noted
    script, *flags = command.split()
    assert globals()[script].main([*flags, "--output", name.replace(" ", "-")]) == 0
    status = open("/proc/self/status").read()
    peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", status)[1])
    figures = {"held": found[-1].held, "total": found[-1].total, "peak": peak}
    with open(name + ".json", "w") as file:
        json.dump(figures, file)

for name, command in json.loads(sys.argv[1]).items():
    child = os.fork()
    if not child:
        run(name, command)
        os._exit(0)
    os.waitpid(child, 0)
"""
SIZES = "--embedding-dim 64 --num-heads 4 --mlp-size 256 --depth 6 --patch-size 4"
ONE_STEP = "--epochs 1 --image-size 64 --precision fp32 --quiet --data photos"
RUNS = {
    "a step": f"train {ONE_STEP} {SIZES} --batch-size 40",
    "in parts": f"train {ONE_STEP} {SIZES} --batch-size 40 --accumulate 4",
    "a head": f"train_transferlearning {ONE_STEP} --weights weights.safetensors "
    "--mode linear",
}


@pytest.fixture(scope="module")
def peaks(tmp_path_factory):
    """What each of `RUNS` took, and was thought to take."""
    folder = tmp_path_factory.mktemp("peaks")
    rng = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(26):
            pixels = rng.integers(256, size=(64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{i}.png")
    config = ViTConfig(64, 16, 3, 768, 3, 12, 3072, num_classes=2)
    save_model(folder / "weights.safetensors", ViT(config), ("cats", "dogs"))
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, json.dumps(RUNS)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    files = {name: folder / f"{name}.json" for name in RUNS}
    assert all(file.exists() for file in files.values()), done.stderr
    return {name: json.loads(file.read_text()) for name, file in files.items()}


@pytest.mark.skipif(sys.platform != "linux", reason="reads a peak that Linux notes")
@pytest.mark.parametrize("name", RUNS)
def test_a_run_takes_what_was_estimated(peaks, name):
    run = peaks[name]
    assert 0.7 < run["peak"] / run["total"] < 1.3
    # Most of it are Python and the libraries, which are not estimated but measured.
    grown = (run["peak"] - run["held"]) / (run["total"] - run["held"])
    assert 0.5 < grown < 1.5


@pytest.mark.skipif(sys.platform != "linux", reason="reads a peak that Linux notes")
def test_a_batch_in_parts_takes_less_by_what_was_estimated(peaks):
    less, more = peaks["in parts"], peaks["a step"]
    saved = (more["peak"] - less["peak"]) / (more["total"] - less["total"])
    assert 0.6 < saved < 1.4


def test_evaluation_takes_little_of_any_model_and_large_batches_of_small_ones():
    for name in ("Ti/16", "B/16", "H/14"):
        config = ViTConfig.from_variant(name)
        taken = images_at_once(config, CPU) * forward_bytes(config, torch.float32)
        assert taken <= TEST_BYTES["cpu"], name
    assert images_at_once(toy_config(), CPU) == 500
    huge = ViTConfig.from_variant("H/14", image_size=1400)
    assert images_at_once(huge, CPU) == 1
    assert images_at_once(config, torch.device("cuda")) > images_at_once(config, CPU)


# What there is.


def write(folder, **numbers):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in numbers.items():
        (folder / name.replace("__", ".")).write_text(str(text))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 50 GB free of which this process has taken 1, and no cgroups."""
    free = SimpleNamespace(available=50 * GB)
    taken = SimpleNamespace(rss=1 * GB, vms=2 * GB)
    process = SimpleNamespace(memory_info=lambda: taken)
    monkeypatch.setattr(system_memory.psutil, "virtual_memory", lambda: free)
    monkeypatch.setattr(system_memory.psutil, "Process", lambda: process)
    monkeypatch.setattr(system_memory, "CGROUPS", tmp_path)
    monkeypatch.setattr(system_memory, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(system_memory.LIMIT, "most", None)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    return tmp_path


def test_what_is_there_is_what_is_free_and_what_was_taken(machine):
    assert system_memory.memory_for_process() == 51 * GB


def test_a_containers_limit_counts_and_what_it_holds_of_files_is_free(machine):
    (machine / "own").write_text("0::/box/inner\n")
    write(machine / "box/inner", memory__max="max", memory__current=3 * GB)
    write(machine / "box", memory__max=8 * GB, memory__current=6 * GB)
    stat = f"anon {3 * GB}\ninactive_file {GB}\nactive_file {GB}\n"
    write(machine / "box", memory__stat=stat)
    assert system_memory.memory_for_process() == (8 - 6 + 2 + 1) * GB


def test_limits_of_older_systems_count(machine):
    (machine / "own").write_text("5:cpu:/\n4:memory,x:/box\n0::/\n")
    write(machine / "memory/box", memory__limit_in_bytes=4 * GB)
    write(machine / "memory/box", memory__usage_in_bytes=3 * GB)
    write(machine / "memory/box", memory__stat=f"total_inactive_file {GB // 2}\n")
    unlimited = 9223372036854771712
    write(machine / "memory", memory__limit_in_bytes=unlimited)
    write(machine / "memory", memory__usage_in_bytes=0, memory__stat="")
    assert system_memory.memory_for_process() == 2.5 * GB


def test_a_container_that_sees_only_its_own_root_is_limited_too(machine):
    (machine / "own").write_text("0::/docker/4f2a\n")
    write(machine, memory__max=3 * GB, memory__current=GB, memory__stat="")
    assert system_memory.memory_for_process() == 3 * GB


def test_processes_that_train_together_share_what_is_free(machine, monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "5")
    assert system_memory.memory_for_process() == 11 * GB


def test_ulimit_counts(machine, monkeypatch):
    if system_memory.resource is None:
        pytest.skip("there is none on Windows")
    most = lambda _: (5 * GB, 5 * GB)  # noqa: E731
    monkeypatch.setattr(system_memory.resource, "getrlimit", most)
    assert system_memory.memory_for_process() == (5 - 2 + 1) * GB


def test_the_users_word_counts_before_the_machines(machine, monkeypatch):
    train.parse(["--memory", "7.5"])
    assert system_memory.memory_for_process() == 7.5 * GB
    for value in ("0", "-1", "nan", "much"):
        with pytest.raises(SystemExit):
            train.parse(["--memory", value])
    monkeypatch.setattr(system_memory.LIMIT, "most", None)


# What would not fit does not begin.


@pytest.fixture
def of_three_gigabytes(monkeypatch):
    """As if this process had taken half a gigabyte, and could have three."""
    monkeypatch.setattr(memory_check, "memory_used", lambda device: GB // 2)
    monkeypatch.setattr(memory_check, "memory_for_process", lambda device: 3 * GB)


IN_PARTS = "--data digits --image-size 8 --variant B/1 --batch-size 500"
LARGE = {
    "cut into parts": (train, IN_PARTS),
    "smaller images": (
        train,
        "--data cifar10 --image-size 2048 --patch-size 16 --batch-size 1",
    ),
    "a smaller model": (train, "--data digits --variant H/4 --batch-size 1"),
    "a smaller model in parts": (
        train,
        "--data digits --image-size 8 --variant H/1 --batch-size 500",
    ),
    "fine-tuning": (
        train_transferlearning,
        "--data digits --weights built-in --image-size 280 --batch-size 500",
    ),
    "a head": (
        train_transferlearning,
        "--data digits --image-size 1400 --mode linear",
    ),
}


def begin(script, flags: list[str]) -> str:
    """Check a run as its script does before anything is read; its row in the table."""
    args = script.parse(flags)
    plan, _ = script.make_plan(args)
    if script is train:
        return script.check_plan(plan, {}, args, ALONE)
    found = script.read_pretrained(plan.weights)
    config = script.fitted_config(plan, found, 10)
    return script.check_plan(plan, found, config, {}, args, ALONE)


@pytest.mark.parametrize("name", LARGE)
def test_the_line_names_what_fits(name, of_three_gigabytes):
    script, flags = LARGE[name]
    with pytest.raises(InputError) as caught:
        begin(script, flags.split())
    line = str(caught.value)
    assert "\n" not in line and "there are 3.0 GB" in line
    needed = float(re.search(r"needs about ([\d.]+) GB", line)[1])
    assert needed > 3.5
    tried = re.findall(r"(?:add|or) ((?:--[\w-]+ \S+ )+)\(", line)
    assert tried, line
    for flag in tried:
        row = begin(script, [*flags.split(), *flag.split()])
        found = re.fullmatch(r"about ([\d.]+) (GB|MB) of 3.0 GB free", row)
        assert float(found[1]) * (1e9 if found[2] == "GB" else 1e6) <= 3.05 * GB
    begun_at = int(re.search(r"or --memory (\d+) to begin all the same$", line)[1])
    assert needed <= begun_at <= needed + 1.1


def test_the_fewest_parts_that_suffice_are_named(of_three_gigabytes):
    with pytest.raises(InputError) as caught:
        begin(train, IN_PARTS.split())
    parts = int(re.search(r"add --accumulate (\d+)", str(caught.value))[1])
    assert parts >= 4
    plan, _ = train.make_plan(train.parse(IN_PARTS.split()))
    numbers = sum(count_parameters(plan.model).values())
    precision = choose_precision("auto", CPU)
    settings = replace(plan.training, accumulate=parts // 2, precision=precision)
    needs = memory_needs(Workload(plan.model, numbers, settings, 2, CPU), GB // 2)
    assert not memory_check.fits(needs, 3 * GB)


def test_a_script_ends_with_one_line_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(system_memory.LIMIT, "most", None)
    monkeypatch.chdir(tmp_path)
    flags = "--data digits --variant H/4 --batch-size 1797 --memory 2 --output run"
    try:
        assert train.main(flags.split()) == 2
        assert (
            train_transferlearning.main(
                "--image-size 1400 --memory 2 --output run".split()
            )
            == 2
        )
    finally:
        system_memory.LIMIT.most = None
    shown = capsys.readouterr().err.splitlines()
    assert len(shown) == 2 and not (tmp_path / "run").exists()
    for line, name in zip(
        shown, ("train.py", "train_transferlearning.py"), strict=True
    ):
        assert line.startswith(f"{name}: the run needs about "), line


def workload(**changes) -> Workload:
    settings = TrainingSettings(precision="fp32")
    numbers = sum(count_parameters(toy_config()).values())
    return replace(Workload(toy_config(), numbers, settings, 2, CPU), **changes)


def test_an_estimate_that_may_be_wrong_refuses_nothing(monkeypatch):
    work = workload()
    needs = memory_needs(work, GB)
    grown = needs.total - GB
    monkeypatch.setattr(memory_check, "memory_used", lambda device: GB)
    there = GB + int(0.9 * grown)
    monkeypatch.setattr(memory_check, "memory_for_process", lambda device: there)
    assert check_memory(work).startswith("about 1.2 GB of")
    there = GB + int(0.8 * grown)
    with pytest.raises(InputError, match="no smaller setting fits; --memory 2 begins"):
        check_memory(work)


def test_photos_in_a_file_of_the_cache_never_keep_a_run_from_fitting():
    images = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(10**7, 3, 40, 40)
    labels = torch.zeros(1, dtype=torch.long).expand(10**7)
    sets = {"train": ImageSet(images, labels, ("a", "b"))}
    in_file = memory_needs(workload(sets=sets, on_disk=True), GB)
    assert in_file.mapped == 10**7 * 3 * 40 * 40
    assert memory_check.fits(in_file, 2 * GB)


def test_a_model_is_counted_without_being_built():
    config = ViTConfig.from_variant("H/14", image_size=28)
    assert parameters_of(lambda: ViT(config)) == sum(count_parameters(config).values())
    small = replace(workload(), stem=True, parameters=10**6)
    changed = small.with_config(toy_config(depth=8))
    block = 12 * 44**2 + 4 * 44 + 5 * 44 + 4 * 44
    assert changed.parameters == 10**6 + block


def test_each_copy_of_the_weights_counts():
    plain = memory_needs(workload(), 0).model
    averaged = TrainingSettings(precision="fp32", average=0.99)
    numbers = workload().parameters
    assert plain == 3 * 4 * numbers
    assert memory_needs(workload(training=averaged), 0).model == plain + 4 * numbers
    tiny = ImageSet(torch.empty(2, 3, 40, 40), torch.zeros(2), ("a",))
    assert memory_needs(workload(sets={"val": tiny}), 0).model == plain + 4 * numbers
    assert memory_needs(workload(moments=1), 0).model == plain - 4 * numbers
    shared = workload(processes=4, sharded=True)
    assert memory_needs(shared, 0).model == plain // 4


# Photos are counted before they are decoded.


def test_photos_that_would_not_fit_are_not_decoded(monkeypatch):
    monkeypatch.setattr(decoding, "memory_used", lambda: GB)
    monkeypatch.setattr(decoding, "memory_for_process", lambda: 2 * GB)
    with pytest.raises(InputError) as caught:
        decoding.check_memory(10_000, 224)
    line = str(caught.value)
    assert "10,000 images of 224 px need 1.5 GB" in line and "1.0 GB are free" in line
    assert "add --cache FOLDER" in line
    side = int(re.search(r"--image-size of (\d+) or less", line)[1])
    decoding.check_memory(10_000, side)
    with pytest.raises(InputError):
        decoding.check_memory(10_000, side + 1)
