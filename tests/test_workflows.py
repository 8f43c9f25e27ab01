"""The workflows that run elsewhere: to the letter, and in step with what runs here."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text()


def follows_the_schema(path: Path) -> bool:
    """Whether GitHub's own schema, which comes with the linter, takes a workflow."""
    linter = [sys.executable, "-m", "check_jsonschema"]
    schema = ["--builtin-schema", "vendor.github-workflows"]
    return not subprocess.run([*linter, *schema, path], capture_output=True).returncode


def commands(name: str) -> list[str]:
    """All that a workflow runs, with single spaces."""
    jobs = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    return [" ".join(step["run"].split()) for step in steps if "run" in step]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_follow_the_schema(path):
    assert follows_the_schema(path)


@pytest.mark.parametrize(
    "mistake",
    [("runs-on:", "runs-at:"), ("steps:", "step:"), ("timeout-minutes: ", "&x - ")],
    ids=["no runner", "no steps", "no YAML"],
)
def test_the_linter_sees_a_mistake(mistake, tmp_path):
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace(*mistake))
    assert not follows_the_schema(broken)


def test_three_systems_and_every_python_of_the_package_are_tested():
    text = (ROOT / ".github/workflows/tests.yml").read_text()
    matrix = yaml.safe_load(text)["jobs"]["tests"]["strategy"]["matrix"]
    systems = {system.partition("-")[0] for system in matrix["os"]}
    assert systems == {"ubuntu", "macos", "windows"}
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(about["classifiers"]))
    assert matrix["python"] == named and len(named) == 3


def test_what_is_tested_elsewhere_is_what_make_tests_here():
    here = re.search(r"^test:.*\n\tOMP_NUM_THREADS=1 \$\(RUN\) (.*)", MAKEFILE, re.M)
    assert f"python {here[1]}" in commands("tests.yml")
    text = (ROOT / ".github/workflows/tests.yml").read_text()
    assert yaml.safe_load(text)["jobs"]["tests"]["env"]["OMP_NUM_THREADS"] == "1"


def test_what_is_linted_and_built_elsewhere_is_what_make_does_here():
    linted = next(run for run in commands("tests.yml") if "ruff" in run)
    rule = MAKEFILE[MAKEFILE.index("\nlint:") :].partition("\n\n")[0]
    here = [line.split(None, 1)[1] for line in rule.splitlines() if line[:1] == "\t"]
    ruff = [f"ruff {line}" for line in here[:2]]
    assert linted == " ".join([*ruff, f"python {here[2]}"])
    assert commands("site.yml") == ["make site"] and "\nsite:" in MAKEFILE


def test_a_workflow_is_granted_no_more_than_it_needs():
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        for name, job in workflow["jobs"].items():
            assert ("permissions" in job) == (name == "deploy")
