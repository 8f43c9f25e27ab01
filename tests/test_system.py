"""Locks, threads and files, as the operating system has them."""

import errno
import os
import signal
import time

import filelock
import pytest

from going_modular.system import cores, files
from going_modular.system.cores import usable_cores
from going_modular.system.files import LOCK, holding


def test_a_held_folder_is_refused_and_free_again_without_a_trace(tmp_path):
    with holding(tmp_path):
        with pytest.raises(filelock.Timeout), holding(tmp_path):
            pass
    assert list(tmp_path.iterdir()) == []
    with holding(tmp_path, wait=True):
        pass


def test_an_error_inside_lets_go_of_the_folder_and_comes_out(tmp_path):
    error = OSError("of the work itself")
    with pytest.raises(OSError) as raised, holding(tmp_path):
        raise error
    assert raised.value is error
    with holding(tmp_path):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_process_holds_nothing_though_its_child_lives_on(tmp_path):
    """The file that it leaves does not keep the next one out."""
    child = os.fork()
    if child == 0:
        with holding(tmp_path):
            if os.fork() == 0:
                time.sleep(2)
                os._exit(0)
            time.sleep(0.2)
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    with holding(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK, errno.EROFS])
def test_where_files_cannot_be_locked_work_goes_on(number, tmp_path, monkeypatch):
    def refuse(self):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.FileLock, "_acquire", refuse)
    with holding(tmp_path), holding(tmp_path):
        pass


@pytest.mark.parametrize(
    ("limit", "count"),
    [
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("5000 100000\n", 1),
        ("1600000 100000\n", 8),
        ("strange", 8),
        (None, 8),
    ],
)
@pytest.mark.parametrize("python", ["3.11", "3.13", "elsewhere"])
def test_cores_are_those_that_the_process_may_use(
    python, limit, count, tmp_path, monkeypatch
):
    if limit is not None:
        (tmp_path / "cpu.max").write_text(limit, encoding="utf-8")
    monkeypatch.setattr(cores, "LIMIT", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "cpu_count", lambda: 8 if python == "elsewhere" else 64)
    for name, since in (("sched_getaffinity", "3.11"), ("process_cpu_count", "3.13")):
        monkeypatch.delattr(os, name, raising=False)
        if python == since:
            value = set(range(8)) if name == "sched_getaffinity" else 8
            monkeypatch.setattr(os, name, lambda *_, v=value: v, raising=False)
    assert usable_cores() == count
