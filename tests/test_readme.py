"""What README and the pages around it tell the reader to type does what they say."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from notebook_files import NOTEBOOKS, ROOT

import explain
import predict
import train
import train_transferlearning
from going_modular.config import count_parameters

FILES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks/README.md",
]
PAGES = {file.relative_to(ROOT).as_posix(): file for file in FILES}
TEXTS = {name: file.read_text(encoding="utf-8") for name, file in PAGES.items()}
README = TEXTS["README.md"]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SMALL = "--embedding-dim 8 --depth 1 --num-heads 2 --mlp-size 8 --patch-size 14"
PHOTO_RUN = "runs/photos-full"


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def inline_code(text: str) -> list[str]:
    """What stands between single backticks outside blocks."""
    return re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def commands(block: str) -> list[str]:
    return [line.split("  #")[0].strip() for line in block.splitlines()]


SHELL = [
    pytest.param(block, id=f"{name}, block {number}")
    for name, text in TEXTS.items()
    for number, block in enumerate(blocks(text, "bash"), start=1)
    if "jupytext" not in block  # that one has a test of its own
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A folder as the reader has it: notebooks, photos, and a finished run."""
    folder = tmp_path_factory.mktemp("prepared")
    from PIL import Image

    for name, colour in (("red", (200, 9, 9)), ("blue", (9, 9, 200))):
        (folder / "path/to/photos" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (80, 70), colour).save(
                folder / "path/to/photos" / name / f"{i}.jpg"
            )
    for name in ("photo.jpg", "other.jpg"):
        Image.new("RGB", (80, 40), (9, 200, 9)).save(folder / name)
    (folder / "notebooks").mkdir()
    for path in NOTEBOOKS:
        shutil.copy(path, folder / "notebooks")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        flags = "--data path/to/photos --epochs 1"
        assert train_transferlearning.main(flags.split()) == 0
    assert (folder / PHOTO_RUN).is_dir()  # the name that README gives it
    return folder


@pytest.fixture
def reader(prepared, tmp_path, monkeypatch) -> Path:
    """A copy of that folder, where the reader stands."""
    folder = tmp_path / "reader"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    return folder


def run_command(command: str) -> None:
    """Do what a line says; as written, but for a small model and few steps."""
    program, *words = shlex.split(command)
    if program == "make":
        for word in words:
            assert "=" in word or is_target(word), command
    elif program == "source":
        assert words == [".venv/bin/activate"] and "VENV := .venv\n" in MAKEFILE
    elif program == "jupytext":
        subprocess.run([sys.executable, "-m", "jupytext", *words], check=True)
    else:
        assert program == "python", f"no test knows how to run: {command}"
        script, *flags = words
        if script == "-m":
            module = importlib.import_module(
                "going_modular.command_line.folder_report"
                if flags[0] == "going_modular.datasets.folders"
                else flags[0]
            )
            assert module.main(flags[1:]) == 0, command
            return
        assert run_script(script, flags) == 0, command


def run_script(script: str, flags: list[str]) -> int:
    if script == "train.py":
        given = {"--data", "--smoke", "--resume"} & set(flags)
        return train.main(flags if given else [*flags, *SMALL.split()])
    if script == "train_transferlearning.py":
        few = ["--epochs", "1", "--shots", "2"]
        return train_transferlearning.main([*flags, *few])
    return {"predict.py": predict, "explain.py": explain}[script].main(flags)


def is_target(name: str) -> bool:
    return bool(re.search(rf"^{re.escape(name)}: \$\(READY\)", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("block", SHELL)
def test_commands_run_as_written(block, reader):
    for command in commands(block):
        run_command(command)
    if "train.py --data path/to/photos" in block:
        assert (reader / "runs/photos").is_dir()  # the name that README gives it


def test_readme_trains_fine_tunes_predicts_explains_and_tests():
    typed = " ".join(" ".join(commands(b)) for b in blocks(README, "bash"))
    for word in ("train.py", "train_transferlearning.py", "predict.py", "explain.py"):
        assert f"python {word}" in typed
    for word in ("lab", "test", "export", "lint"):
        assert re.search(rf"make [a-z ]*\b{word}\b", typed), word


def test_notebooks_keep_their_cells_on_the_way_to_text_and_back(reader):
    """The two lines of jupytext lose neither cells nor marks nor outputs."""
    (block,) = [b for b in blocks(README, "bash") if "jupytext" in b]
    for command in commands(block):
        run_command(command)
    path = reader / "notebooks/02_patch_embedding.ipynb"
    assert path.with_suffix(".py").exists()
    before = nbformat.read(ROOT / "notebooks" / path.name, as_version=4)
    after = nbformat.read(path, as_version=4)
    assert [c.source for c in after.cells] == [c.source for c in before.cells]
    assert [c.get("outputs") for c in after.cells] == [
        c.get("outputs") for c in before.cells
    ]


def test_windows_gets_the_set_up_that_make_does():
    (block,) = blocks(README, "powershell")
    venv, activate, pins, package, lab = commands(block)
    assert venv.endswith("-m venv .venv") and "-m venv $(VENV)" in MAKEFILE
    assert activate == r".venv\Scripts\Activate.ps1"
    set_up = re.sub(r" --(quiet|disable-pip-version-check)", "", MAKEFILE)
    assert f"-m {pins}\n" in set_up
    assert package.replace("--no-deps ", "--no-deps --no-build-isolation ") in set_up
    assert lab.removeprefix("jupyter lab") in re.search(r"jupyterlab(.*)", MAKEFILE)[1]


def test_every_make_command_in_the_text_is_a_target():
    for name, text in TEXTS.items():
        for code in inline_code(text):
            for target in re.findall(r"^make ([a-z-]+)", code):
                assert is_target(target), f"{name}: {code}"


@pytest.mark.parametrize("name", PAGES)
def test_benchmarks_in_the_text_take_the_flags_that_it_names(name, reader, monkeypatch):
    (reader / "images").mkdir()
    monkeypatch.setattr("benchmarks.explorer.find_browser", lambda: "a browser")
    for code in inline_code(TEXTS[name]):
        module, *flags = shlex.split(code.removeprefix("python -m "))
        if code.startswith("python -m benchmarks."):
            importlib.import_module(module).parse(flags)


def test_every_benchmark_is_in_the_table_of_benchmarks():
    scripts = [
        path.stem
        for path in sorted((ROOT / "benchmarks").glob("*.py"))
        if "__main__" in path.read_text(encoding="utf-8")
    ]
    assert len(scripts) > 5
    table = TEXTS["benchmarks/README.md"].split("\n## ")[0]
    for script in scripts:
        assert f"`python -m benchmarks.{script}" in table, script


def test_every_flag_in_the_text_is_a_flag(capsys):
    parsers = [train, train_transferlearning, predict, explain]
    names = re.findall(r"python -m (benchmarks\.\w+)", TEXTS["benchmarks/README.md"])
    parsers += [importlib.import_module(name) for name in sorted(set(names))]
    for module in parsers:
        with pytest.raises(SystemExit):
            module.parse(["--help"])
    known = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    for name, text in TEXTS.items():
        for code in inline_code(text):
            if re.match(r"(python |train\.py )?.*--[a-z]", code):
                used = set(re.findall(r"(?<!\S)--[a-z-]+", code))
                assert used <= known, f"{name}: {code}"


@pytest.mark.parametrize("name", [n for n in PAGES if blocks(TEXTS[n], "python")])
def test_python_snippets_run_in_a_fresh_interpreter(name, prepared, reader):
    """One script of a page's snippets; the paths stand for the reader's own."""
    run = prepared / PHOTO_RUN
    script = "\n".join(blocks(TEXTS[name], "python"))
    script = script.replace("pickle file path", str(run / "results.pkl"))
    script = script.replace("model.safetensors path", str(run / "model.safetensors"))
    done = subprocess.run(
        [sys.executable, "-c", f"import matplotlib; matplotlib.use('Agg')\n{script}"],
        cwd=reader,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    if name == "README.md":
        assert "torch.Size([2, 12, 197, 197])" in done.stdout


def test_readme_keeps_the_snippet_that_is_known():
    snippet = "\n".join(blocks(README, "python"))
    for line in (
        "from functions import helper_functions",
        "    results = pd.read_pickle(f)",
        "helper_functions.plot_loss_curves(results)",
    ):
        assert line in snippet.splitlines()


def test_the_run_that_is_shown_has_the_parameters_of_its_model():
    plan, _ = train.make_plan(train.parse(["--smoke"]))
    config = replace(plan.model, in_channels=1, num_classes=10)
    count = sum(count_parameters(config).values())
    assert f"parameters     {count:,}\n" in TEXTS["docs/training.md"]


def anchors(text: str) -> set[str]:
    """The names that headings get as targets of links."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("name", PAGES)
def test_every_local_link_leads_somewhere(name):
    links = re.findall(r"\]\(([^)]+)\)", TEXTS[name])
    for link in [link for link in links if not link.startswith("http")]:
        target, _, anchor = link.partition("#")
        path = (PAGES[name].parent / target).resolve() if target else PAGES[name]
        assert path.exists() and path.is_relative_to(ROOT), link
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), link


def test_readme_leads_to_every_page():
    """Each page is linked from README, and notebooks link to the pages they name."""
    for name in PAGES:
        assert name == "README.md" or f"({name})" in README, name
    for path in NOTEBOOKS:
        text = path.read_text(encoding="utf-8")
        for link in re.findall(r"\]\((\.\./[^)#]+\.md)", text):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_every_notebook_is_in_the_map():
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        assert f"(notebooks/{path.name})" in README


@pytest.mark.parametrize("name", PAGES)
def test_pictures_have_alt_text(name):
    for alt, link in re.findall(r"!\[([^]]*)\]\(([^)]+)\)", TEXTS[name]):
        assert len(alt) > 30 and not link.startswith("http")
        assert (PAGES[name].parent / link).exists()


def test_readme_is_short_and_shows_one_picture():
    assert len(README.split()) <= 1300
    assert README.count("![") == 1
    first_screen = README.split("## ")[0]
    assert "![" in first_screen
