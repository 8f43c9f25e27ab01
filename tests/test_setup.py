"""The set-up files agree with each other and with the rules they promise."""

import re
import tomllib

import pytest
import rattler
import yaml
from notebook_files import ROOT
from packaging.requirements import Requirement
from packaging.version import Version

PINS = {
    requirement.name: requirement
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if line and not line.lstrip().startswith("#")
    for requirement in [Requirement(line)]
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_pin_is_exact_and_names_no_address():
    assert len(PINS) > 50
    for pin in PINS.values():
        (specifier,) = pin.specifier
        assert specifier.operator == "==" and pin.url is None


@pytest.mark.parametrize(
    "wanted",
    [*PROJECT["dependencies"], *sum(PROJECT["optional-dependencies"].values(), [])],
)
def test_pins_satisfy_the_project(wanted):
    requirement = Requirement(wanted)
    (specifier,) = PINS[requirement.name].specifier
    assert requirement.specifier.contains(Version(specifier.version))


def test_env_yml_is_valid_and_takes_the_same_pins():
    environment = yaml.safe_load((ROOT / "env.yml").read_text())
    assert environment["name"] == "vit"
    *conda, pip = environment["dependencies"]
    names = {rattler.MatchSpec(spec).name.normalized for spec in conda}
    assert names == {"python", "pip", "make"}
    python = next(spec for spec in conda if spec.startswith("python"))
    assert Version(python.split("=")[-1]) >= Version("3.11")
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}


def test_no_file_with_download_addresses_is_kept():
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    for name in ("uv.lock", "pylock.toml", ".venv/"):
        assert name in ignored


def test_continuous_integration_calls_the_readme_command():
    assert re.search(r"^make test$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert "make test" in (ROOT / "README.md").read_text()
