"""The benchmark of threads that wait: which process runs with what beside it."""

import json
import subprocess

import pytest

from benchmarks import calm

# Stands for the steps: says what its environment says.
ECHO = "import os; print([0.0, float(os.environ.get('GOMP_SPINCOUNT', -1)), 9e9])"


def test_each_way_is_a_process_of_its_own_alone_and_beside_another(
    monkeypatch, tmp_path, capsys
):
    beside, popen = [], subprocess.Popen

    def note(command, **options):
        process = popen(command, **options)
        if command[-1] == calm.BUSY:
            beside.append(process)
        return process

    monkeypatch.setattr(calm, "STEPS", ECHO)
    monkeypatch.setattr(calm.subprocess, "Popen", note)
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    file = tmp_path / "calm.json"
    assert calm.main(["--rounds", "2", "--json", str(file)]) == 0
    assert len(beside) == 2 * len(calm.WAYS) * len(calm.MODELS)
    assert all(process.poll() is not None for process in beside), "none is left"
    steps = json.loads(file.read_text())["steps"]
    for data in calm.MODELS:
        turns = [found[f"{data}, alone"] for found in steps.values()]
        assert turns == [[n] * 2 for n in (300000, 10000, 3000, 1000, 0)]
    assert "300000 (300000 to 300000)" in capsys.readouterr().out


@pytest.mark.parametrize("data", calm.MODELS)
def test_the_steps_are_timed_one_by_one(data, capsys):
    calm.print_steps(data, "0")
    times = json.loads(capsys.readouterr().out)
    assert len(times) == 2 and all(milliseconds > 0 for milliseconds in times)
