"""What README tells the reader to type does what it says."""

import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from notebook_files import NOTEBOOKS, ROOT

import explain
import predict
import train
import train_transferlearning
from going_modular.config import ViTConfig, count_parameters
from going_modular.vit import ViT

README = (ROOT / "README.md").read_text()
SMALL = "--embedding-dim 8 --depth 1 --num-heads 2 --mlp-size 8 --patch-size 14"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


LINES = "".join(blocks("bash")).splitlines()
COMMANDS = [line.split("  #")[0].strip() for line in LINES]
TRAIN_COMMANDS = [c for c in COMMANDS if "train.py" in c]
OTHER_COMMANDS = [
    c for c in COMMANDS if re.search("transferlearning|predict|explain", c)
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder as README's reader has it: photos, and a finished run."""
    folder = tmp_path_factory.mktemp("reader")
    from PIL import Image

    for name, colour in (("red", (200, 9, 9)), ("blue", (9, 9, 200))):
        (folder / "path/to/photos" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (80, 70), colour).save(
                folder / "path/to/photos" / name / f"{i}.jpg"
            )
    Image.new("RGB", (80, 40), (9, 200, 9)).save(folder / "photo.jpg")
    return folder


def test_the_run_that_is_shown_has_the_default_models_parameters():
    plan, _ = train.make_plan(train.parse([]))
    config = replace(plan.model, in_channels=1, num_classes=10)
    count = sum(count_parameters(config).values())
    assert f"parameters     {count:,}\n" in README


@pytest.mark.parametrize("command", TRAIN_COMMANDS)
def test_training_commands_run_as_written_on_a_small_model(
    command, workspace, monkeypatch
):
    """As written, but for a model small enough for a test."""
    monkeypatch.chdir(workspace)
    _, script, *flags = shlex.split(command)
    assert script == "train.py"
    small = [] if "--data" in flags or "--smoke" in flags else SMALL.split()
    assert train.main([*flags, *small]) == 0


@pytest.mark.parametrize("command", OTHER_COMMANDS)
def test_other_commands_run_as_written(command, workspace, monkeypatch):
    """As written, but for few steps."""
    monkeypatch.chdir(workspace)
    _, script, *flags = shlex.split(command)
    if script == "predict.py":
        assert predict.main(flags) == 0
        assert (workspace / "guesses.png").exists()
        return
    if script == "explain.py":
        assert explain.main(flags) == 0
        return
    assert script == "train_transferlearning.py"
    assert train_transferlearning.main([*flags, "--epochs", "1", "--shots", "2"]) == 0


def test_every_make_command_is_a_target():
    targets = [t for c in COMMANDS if c.startswith("make ") for t in c.split()[1:]]
    assert {"lab", "test", "train", "export", "lint"} <= set(targets)
    makefile = (ROOT / "Makefile").read_text()
    for target in targets:
        assert re.search(rf"^{target}: \$\(READY\)", makefile, re.MULTILINE), target


def test_python_snippets_run_in_a_fresh_interpreter(workspace):
    """One script of all snippets; the paths in them stand for the reader's own."""
    run = workspace / "run"
    flags = f"--data digits --epochs 1 --output {run} {SMALL} --patch-size 4"
    assert train.main(shlex.split(flags)) == 0
    script = "\n".join(blocks("python"))
    script = script.replace("pickle file path", str(run / "results.pkl"))
    script = script.replace("model.safetensors path", str(run / "model.safetensors"))
    done = subprocess.run(
        [sys.executable, "-c", f"import matplotlib; matplotlib.use('Agg')\n{script}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "torch.Size([2, 12, 197, 197])" in done.stdout


def test_every_local_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", README)
    local = [link for link in links if not link.startswith("http")]
    assert len(local) > 8
    for link in local:
        assert (ROOT / link).exists(), link


def test_every_notebook_is_in_the_map():
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        assert f"(notebooks/{path.name})" in README


def test_table_1_states_the_counts_of_the_built_models():
    import torch

    for variant in ("B/16", "L/16", "H/14"):
        with torch.device("meta"):
            model = ViT(ViTConfig.from_variant(variant))
        count = sum(p.numel() for p in model.parameters())
        assert re.search(rf'`"{variant}"`.*\| {count:,} \|', README), variant


def test_pictures_have_alt_text():
    pictures = re.findall(r"!\[([^]]*)\]\(([^)]+)\)", README)
    assert pictures
    for alt, link in pictures:
        assert len(alt) > 30 and not link.startswith("http")
        assert (ROOT / Path(link)).exists()
