"""The set-up files agree with each other and with the rules they promise."""

import re
import subprocess
import tomllib

import pytest
import rattler
import yaml
from notebook_files import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import going_modular


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def read_pins(lock: str) -> list[tuple[Requirement, list[str]]]:
    """What pip reads of a lock: each requirement, and the hashes that follow it."""
    found = []
    for line in lock.replace("\\\n", " ").splitlines():
        if not line or line.lstrip().startswith("#"):
            continue
        requirement, *hashes = re.split(r"\s+--hash=", line.strip())
        found.append((Requirement(requirement), hashes))
    return found


LOCK = read("requirements.lock")
PINS = read_pins(LOCK)
PROJECT = tomllib.loads(read("pyproject.toml"))["project"]
CITATION = yaml.safe_load(read("CITATION.cff"))
PYTHONS = [
    c.split(" :: ")[-1]
    for c in PROJECT["classifiers"]
    if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", c)
]


def test_every_pin_is_exact_and_names_no_address():
    assert len(PINS) > 50
    assert "://" not in LOCK
    for pin, _ in PINS:
        (specifier,) = pin.specifier
        assert specifier.operator == "==" and pin.url is None


def test_every_pin_names_the_hashes_of_its_files():
    for pin, hashes in PINS:
        assert hashes, pin.name
        assert len(set(hashes)) == len(hashes), pin.name
        for value in hashes:
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", value), pin.name


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    "wanted",
    [*PROJECT["dependencies"], *sum(PROJECT["optional-dependencies"].values(), [])],
)
def test_one_pin_satisfies_the_project_on_each_python(wanted, python):
    requirement = Requirement(wanted)
    here = {"python_full_version": f"{python}.0", "python_version": python}
    versions = [
        next(iter(pin.specifier)).version
        for pin, _ in PINS
        if pin.name == requirement.name
        and (pin.marker is None or pin.marker.evaluate(here))
    ]
    (version,) = versions
    assert requirement.specifier.contains(Version(version))


def test_the_pythons_that_are_named_are_those_allowed():
    assert PYTHONS
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert all(python in allowed for python in PYTHONS)
    assert "3.10" not in allowed
    assert f"({PYTHONS[0].replace('.', ', ')})" in read("Makefile")


def test_env_yml_is_valid_and_takes_the_same_pins():
    environment = yaml.safe_load(read("env.yml"))
    assert environment["name"] == "vit"
    *conda, pip = environment["dependencies"]
    names = {rattler.MatchSpec(spec).name.normalized for spec in conda}
    assert names == {"python", "pip", "make"}
    python = next(spec for spec in conda if spec.startswith("python"))
    assert python.split("=")[-1] in PYTHONS
    # No folder: it has no hash, and pip refuses what has none beside what has.
    assert pip == {"pip": ["-r requirements.lock"]}


def test_no_file_with_download_addresses_is_kept():
    ignored = read(".gitignore").splitlines()
    for name in ("uv.lock", "pylock.toml", ".venv/"):
        assert name in ignored


def test_a_check_out_has_the_same_bytes_on_every_system():
    """Text ends its lines with LF, also on Windows; what is no text is left alone."""
    command = ["git", "ls-files", "--eol"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout
    assert listed
    for line in listed.splitlines():
        about, name = line.split("\t")
        kept, _, attributes = re.split(r"\s+", about.strip(), maxsplit=2)
        if kept == "i/-text":
            assert attributes == "attr/-text", f"{name}: say binary in .gitattributes"
        else:
            assert kept in ("i/lf", "i/none"), name
            assert attributes == "attr/text=auto eol=lf", name


def test_papers_name_the_same_version_title_and_licence():
    assert CITATION["version"] == PROJECT["version"] == going_modular.__version__
    assert CITATION["license"] == PROJECT["license"]
    assert {a["name"] for a in CITATION["authors"]} == {
        a["name"] for a in PROJECT["authors"]
    }
    assert read("README.md").startswith(f"# {CITATION['title']}\n")


def test_citation_has_the_fields_that_readers_of_the_format_need():
    """Citation File Format 1.2.0; `cffconvert --validate` says the same."""
    required = {"cff-version", "message", "title", "authors"}
    assert required <= CITATION.keys()
    assert CITATION["cff-version"] == "1.2.0" and CITATION["type"] == "software"
    (paper,) = CITATION["references"]
    assert {"authors", "title", "type"} <= paper.keys()
    assert paper["url"].endswith("/2010.11929")
    assert paper["authors"][0]["family-names"] == "Dosovitskiy"
    assert len(paper["authors"]) == 12


def test_changelog_begins_with_what_is_to_come_and_then_the_version():
    headings = re.findall(r"^## (.*)$", read("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    version, date = headings[1].split(" - ")
    assert version == PROJECT["version"]
    assert date == str(CITATION["date-released"])
    kinds = re.findall(r"^### (.*)$", read("CHANGELOG.md"), re.MULTILINE)
    known = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert kinds and set(kinds) <= known


def test_continuous_integration_calls_the_readme_command():
    assert re.search(r"^make test$", read(".ci/run"), re.MULTILINE)
    assert "make test" in read("README.md")
