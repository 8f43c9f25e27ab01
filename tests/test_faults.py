"""What fails in the middle of a run fails once, clearly, and leaves nothing behind.

Disks, kills and damaged checkpoints are in test_interruptions.py and
test_checkpoint.py.
"""

import os
import signal
import threading
import time
from functools import partial

import numpy as np
import pytest
from exactness import check_same
from small_runs import SmallRun, all_but_times, crop

from going_modular.checkpoint import load_checkpoint, save_checkpoint
from going_modular.data_setup import Batches
from going_modular.datasets import folders as photo_folders
from going_modular.datasets.fast_batches import batches_from, prefetch
from going_modular.datasets.folders import load_folder
from going_modular.errors import InputError
from going_modular.training.trainer import Trainer
from going_modular.training.watchers import global_step

RUN = SmallRun(n=11, batch_size=3, epochs=3, augment=crop, average=0.5)
PLACES = [(0, 0), (0, 1), (1, 0), (1, 2), (2, 3)]  # of a batch: epoch, place


class Lost(Exception):
    """Stands for any error."""


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.fixture(scope="module")
def whole() -> dict:
    """What a run ends with in which nothing fails."""
    trainer = RUN.build()
    trainer.train(lambda state: None)
    return all_but_times(trainer)


def fail_at(trainer: Trainer, place: tuple[int, int], action) -> None:
    """Call `action` in place of making one batch, in the thread that makes them."""
    batches = trainer.train_batches

    class Failing(Batches):
        def __iter__(self):
            for number, batch in enumerate(super().__iter__()):
                if (self.epoch, number) == place:
                    action()
                yield batch

    trainer.train_batches = Failing(**vars(batches))


def throw(error: BaseException) -> None:
    raise error


def go_on(path, whole: dict) -> None:
    """Go on after a fault, from the start where nothing was saved; compare the end."""
    trainer = RUN.build(99 if path.exists() else 0, path)
    trainer.train(partial(save_checkpoint, path), save_every=2)
    check_same(all_but_times(trainer), whole)


# What makes the batches dies


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", [Lost, OSError, MemoryError, SystemExit])
def test_a_batch_that_cannot_be_made_ends_the_run_after_the_steps_before_it(
    kind, place, whole, tmp_path
):
    path = tmp_path / "checkpoint.pt"
    trainer, error = RUN.build(), kind("the photo is gone")
    fail_at(trainer, place, partial(throw, error))
    with pytest.raises(kind) as raised:
        trainer.train(partial(save_checkpoint, path), save_every=2)
    assert raised.value is error and error.__context__ is None
    done = 4 * place[0] + place[1]
    assert global_step(trainer) == done
    assert path.exists() == (done >= 2)
    if path.exists():
        state = load_checkpoint(path)
        assert 4 * state["epoch"] + state["step"] == done // 2 * 2
    go_on(path, whole)


def test_a_batch_of_another_shape_ends_the_run(whole, tmp_path):
    """The error is that of the step, while the thread makes the next one."""
    path = tmp_path / "checkpoint.pt"
    trainer = RUN.build()

    class Spoiled(Batches):
        def __iter__(self):
            for place, (images, labels) in enumerate(super().__iter__()):
                yield (images[:, :, 1:] if place == 2 else images), labels

    trainer.train_batches = Spoiled(**vars(trainer.train_batches))
    with pytest.raises(ValueError, match=r"expected images of shape \(B, 1, 8, 8\)"):
        trainer.train(partial(save_checkpoint, path), save_every=2)
    assert global_step(trainer) == 2
    go_on(path, whole)


# What trains dies while the thread is busy


@pytest.fixture(autouse=True)
def made_ahead(monkeypatch):
    """Batches are made by a thread, as on a GPU."""
    monkeypatch.setattr(
        Trainer,
        "upcoming_batches",
        lambda self: prefetch(batches_from(self.train_batches, self.step)),
    )


class Busy:
    """A thread that is in the middle of a batch, and may be let go on."""

    def __init__(self, error: Exception | None = None):
        self.begun, self.let_go, self.error = (
            threading.Event(),
            threading.Event(),
            error,
        )

    def work(self) -> None:
        self.begun.set()
        assert self.let_go.wait(60)
        if self.error is not None:
            raise self.error

    def fail(self, *args, **kwargs) -> None:
        """Fail while it is: it ends a moment later."""
        assert self.begun.wait(60)
        threading.Timer(0.05, self.let_go.set).start()
        raise Lost("in the step")


def spoil_model(trainer: Trainer, busy: Busy) -> None:
    trainer.model.head.register_forward_hook(busy.fail)


def spoil_gradient(trainer: Trainer, busy: Busy) -> None:
    trainer.model.head.bias.register_hook(busy.fail)


def spoil_optimizer(trainer: Trainer, busy: Busy) -> None:
    trainer.optimizer.step = busy.fail


def spoil_watcher(trainer: Trainer, busy: Busy) -> None:
    watcher = type("", (), {"after_step": busy.fail, "after_epoch": busy.fail})
    trainer.watchers = [watcher()]


@pytest.mark.parametrize("also", [None, OSError("in the thread")])
@pytest.mark.parametrize(
    "spoil", [spoil_model, spoil_gradient, spoil_optimizer, spoil_watcher]
)
def test_an_error_in_the_step_comes_up_though_the_thread_is_busy(spoil, also):
    """Also if the thread fails as well: the first error is the one that is told."""
    trainer, busy = RUN.build(), Busy(also)
    fail_at(trainer, (0, 1), busy.work)
    spoil(trainer, busy)
    with pytest.raises(Lost, match="in the step"):
        trainer.train(lambda state: None)
    assert busy.let_go.is_set(), "the thread was waited for"


def test_an_error_in_saving_comes_up_though_the_thread_is_busy(whole, tmp_path):
    path = tmp_path / "checkpoint.pt"
    trainer, busy = RUN.build(), Busy()
    fail_at(trainer, (1, 2), busy.work)

    def save(state):
        if global_step(trainer) == 6:
            busy.fail()
        save_checkpoint(path, state)

    with pytest.raises(Lost):
        trainer.train(save, save_every=2)
    go_on(path, whole)


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_second_ctrl_c_ends_a_run_that_waits_for_its_data(whole, tmp_path):
    """The batch is finished; nothing is done with it."""
    path = tmp_path / "checkpoint.pt"
    trainer, busy = RUN.build(), Busy()
    fail_at(trainer, (0, 3), busy.work)

    def interrupt():
        assert busy.begun.wait(60)
        while global_step(trainer) < 3:
            time.sleep(0.01)
        for _ in range(2):
            time.sleep(0.2)
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.2)
        busy.let_go.set()

    main = threading.main_thread().ident
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    helper = threading.Thread(target=interrupt)
    try:
        helper.start()
        with pytest.raises(KeyboardInterrupt):
            trainer.train(partial(save_checkpoint, path), save_every=2)
    finally:
        signal.signal(signal.SIGINT, usual)
        helper.join()
    assert global_step(trainer) == 3
    go_on(path, whole)


# Photos and their cache


def test_a_worker_that_dies_ends_the_reading_and_leaves_no_half_cache(
    photos, tmp_path, monkeypatch
):
    """Not as an unreadable photo does: that is no fault of the photo."""
    read = photo_folders.read_photo

    def die(path, size, tell):
        if path.name == "3.png":
            raise MemoryError
        return read(path, size, tell)

    with monkeypatch.context() as patch:
        patch.setattr(photo_folders, "read_photo", die)
        with pytest.raises(MemoryError):
            load_folder(photos, 8, skip_bad=True, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    check_loaded(load_folder(photos, 8, cache=tmp_path / "cache"), photos)


def check_loaded(sets, photos) -> None:
    """Assert that these are the photos, as they are without a cache."""
    for ours, theirs in zip(sets, load_folder(photos, 8), strict=True):
        check_same((ours.images, ours.labels), (theirs.images, theirs.labels))


DAMAGES = {
    "array gone": lambda array, notes: array.unlink(),
    "notes gone": lambda array, notes: notes.unlink(),
    "both gone": lambda array, notes: (array.unlink(), notes.unlink()),
    "array short": lambda array, notes: array.write_bytes(array.read_bytes()[:-1]),
    "array of other bytes": lambda array, notes: array.write_bytes(b"photo" * 500),
    "notes empty": lambda array, notes: notes.write_text(""),
    "notes cut off": lambda array, notes: notes.write_text("{"),
    "notes no text": lambda array, notes: notes.write_bytes(b"\xff\xfe"),
    "notes a list": lambda array, notes: notes.write_text("[1, 2]"),
    "notes of others": lambda array, notes: notes.write_text('{"999": "no photo"}'),
    "array empty": lambda array, notes: array.write_bytes(b""),
    "array of others": lambda array, notes: np.save(array, np.load(array)[1:]),
    "array of floats": lambda array, notes: np.save(array, np.load(array) / 2),
    "array a folder": lambda array, notes: (array.unlink(), array.mkdir()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_gives_the_photos_or_one_line(damage, photos, tmp_path):
    cache = tmp_path / "cache"
    load_folder(photos, 8, cache=cache)
    (array,), (notes,) = cache.glob("*.npy"), cache.glob("*.json")
    DAMAGES[damage](array, notes)
    try:
        sets = load_folder(photos, 8, cache=cache)
    except InputError as error:
        assert "gone" not in damage
        (line,) = str(error).splitlines()
        assert line.startswith(f"cannot use the cache {cache} (")
        assert "choose another --cache, or none" in line
        return
    assert "gone" in damage
    check_loaded(sets, photos)
