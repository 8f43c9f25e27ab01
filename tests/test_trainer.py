"""A run may be stopped after any step and taken up again without a trace.

Every comparison here is of bits. What goes on is always built anew, from another seed,
and reads its state from a file.
"""

import math
import os
import random
import signal
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from exactness import check_same
from small_runs import all_but_times
from torch import Tensor, nn

from going_modular.checkpoint import load_checkpoint, save_checkpoint
from going_modular.data_setup import Batches, ImageSet
from going_modular.datasets.windows import random_crop_and_flip
from going_modular.engine import RESULT_COLUMNS, Sums, TrainingDiverged, evaluate
from going_modular.engine import train as engine_train
from going_modular.optimization import build_optimizer, build_schedule
from going_modular.processes import alone as processes_module
from going_modular.system.signals import Stopped
from going_modular.teaching.checks import check_close
from going_modular.teaching.toy import toy_config
from going_modular.training import trainer as trainer_module
from going_modular.training.fast_path import FastPath, for_prediction
from going_modular.training.trainer import Trainer
from going_modular.training.watchers import global_step
from going_modular.vit import ViT

K, COUNT = 10, 13  # classes; images, which in batches of 4 leave a last one of 1
SLOW = "SLOW" in os.environ
pytestmark = pytest.mark.usefixtures("as_in_a_terminal")


def toy_set(seed: int = 0) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (COUNT, 3, 40, 40), generator=generator)
    return ImageSet(images.byte(), torch.arange(COUNT) % K, tuple("abcdefghij"))


def crop(images: Tensor, generator: torch.Generator) -> Tensor:
    return random_crop_and_flip(images, 0.5, generator)


class Watcher:
    """Calls a function after each step and another after each epoch."""

    def __init__(self, after_step=None, after_epoch=None):
        nothing = lambda *arguments: None  # noqa: E731
        self.after_step = after_step or nothing
        self.after_epoch = after_epoch or nothing


def stop_after(step: int) -> Watcher:
    """Sends the process a signal once so many steps of the run are done."""

    def after_step(trainer, loss):
        if global_step(trainer) == step:
            signal.raise_signal(signal.SIGTERM)

    return Watcher(after_step)


EVERYTHING = dict(dropout=0.1, augment=crop, average=0.8, accumulate=2, patience=3)
EVERYTHING |= dict(epochs=4, clip_norm=0.5, label_smoothing=0.1)


def build(
    seed: int = 0,
    epochs: int = 3,
    batch_size: int = 4,
    dropout: float = 0.0,
    augment=None,
    decay: str = "cosine",
    momentum: bool = False,
    batches: type = Batches,
    **options,
) -> Trainer:
    """A small run, with start weights and random states of its own for each seed."""
    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    model = ViT(toy_config(depth=1, dropout=dropout))
    nn.init.normal_(model.head.weight)
    data = toy_set()
    train_batches = batches(data, batch_size, shuffle=True, augment=augment, seed=5)
    if momentum:
        optimizer = torch.optim.SGD(model.parameters(), 0.01, 0.9)
    else:
        optimizer = build_optimizer(model, 3e-3, 0.1)
    steps = epochs * len(train_batches)
    schedule = build_schedule(optimizer, steps, steps // 5, decay)
    test_batches = Batches(toy_set(seed=1), 5)
    return Trainer(
        model, optimizer, schedule, train_batches, test_batches, epochs, **options
    )


def stop(path, trainer: Trainer, step: int) -> None:
    """Let a run be stopped after so many steps, its state in a file."""
    trainer.watchers = [stop_after(step)]
    with pytest.raises(Stopped, match="SIGTERM"):
        trainer.train(partial(save_checkpoint, path))
    assert global_step(trainer) == step


def go_on(path, seed: int = 99, **options) -> Trainer:
    """Build everything anew, from another seed, and load the state."""
    trainer = build(seed, **options)
    trainer.load_state_dict(load_checkpoint(path))
    return trainer


def ignore(state: dict) -> None:
    """Saves nothing."""


# Without any option it is the engine's loop


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"clip_norm": None, "label_smoothing": 0.1},
        {"dropout": 0.2, "augment": crop, "clip_norm": 0.1},
        {"precision": torch.bfloat16, "momentum": True, "dropout": 0.1},
        {"batch_size": 13, "decay": "linear"},
    ],
)
def test_without_options_the_bits_are_those_of_engine_train(options):
    ours, oracle = build(**options), build(**options)
    random_state = torch.get_rng_state()
    results = ours.train(ignore)
    after = torch.get_rng_state()
    torch.set_rng_state(random_state)
    expected = engine_train(
        FastPath(oracle.model, options.get("precision", torch.float32)),
        oracle.train_batches,
        oracle.test_batches,
        oracle.optimizer,
        oracle.epochs,
        schedule=oracle.schedule,
        **oracle.step_options,
    )
    check_same(results, expected)
    for part in ("model", "optimizer", "schedule"):
        check_same(getattr(ours, part).state_dict(), getattr(oracle, part).state_dict())
    assert torch.equal(after, torch.get_rng_state())


def test_epoch_figures_count_each_image_once_with_accumulation_too():
    losses = []
    watch = Watcher(lambda trainer, loss: losses.append(loss.item()))
    results = build(accumulate=3, watchers=[watch]).train(ignore)
    assert len(losses) == 12
    weights = [4, 4, 4, 1]  # of the first epoch
    mean = sum(x * w for x, w in zip(losses[:4], weights, strict=True)) / COUNT
    assert results["train_loss"][0] == mean
    assert all((COUNT * share) % 1 < 1e-9 for share in results["train_acc"])


# In half precision


def dtypes_of_tests(**options) -> set[torch.dtype]:
    """What a layer gives in the tests of a run that trains in bfloat16."""
    found = set()

    def note(layer, inputs, out):
        if not layer.training:
            found.add(out.dtype)

    trainer = build(epochs=2, precision=torch.bfloat16, **options)
    kept = trainer.averaged.module if trainer.averaged else trainer.model
    kept.encoder.blocks[0].mlp_block.mlp.linear_1.register_forward_hook(note)
    trainer.train(ignore)
    return found


@pytest.mark.parametrize("average", [0.0, 0.9])
def test_what_chooses_is_tested_in_full_and_the_rest_in_half(average):
    assert dtypes_of_tests(average=average) == {torch.bfloat16}
    assert dtypes_of_tests(average=average, held_out="val") == {torch.float32}
    assert dtypes_of_tests(average=average, patience=2) == {torch.float32}


def test_each_test_has_the_weights_of_its_hour_and_keeps_no_copy(monkeypatch):
    copies, losses = [], []

    def note(*arguments, **options):
        found = for_prediction(*arguments, **options)
        copies.append(weakref.ref(found))
        losses.append(evaluate(found, trainer.test_batches)[0])
        return found

    monkeypatch.setattr(trainer_module, "for_prediction", note)
    trainer = build(precision=torch.bfloat16)
    results = trainer.train(ignore)
    assert results["test_loss"] == losses and len(set(losses)) == 3
    assert [copy() for copy in copies] == [None] * 3


# Stopping and going on


@pytest.fixture(scope="module")
def uninterrupted() -> dict:
    """What a run with everything on ends with."""
    trainer = build(**EVERYTHING)
    trainer.train(ignore)
    assert trainer.epoch == EVERYTHING["epochs"], "patience leaves it alone"
    return all_but_times(trainer)


@pytest.mark.parametrize("step", range(1, 17))
def test_stopped_after_any_step_it_goes_on_with_the_same_bits(
    step, uninterrupted, tmp_path
):
    path = tmp_path / "checkpoint.pt"
    stop(path, build(**EVERYTHING), step)
    trainer = go_on(path, **EVERYTHING)
    assert global_step(trainer) == step
    trainer.train(ignore)
    check_same(all_but_times(trainer), uninterrupted)


def test_stopped_after_every_step_it_still_ends_the_same(uninterrupted, tmp_path):
    path = tmp_path / "checkpoint.pt"
    stop(path, build(**EVERYTHING), 1)
    for step in range(2, 17):
        stop(path, go_on(path, seed=step, **EVERYTHING), step)
    trainer = go_on(path, **EVERYTHING)
    assert (trainer.epoch, trainer.step) == (3, 4), "the last test is still to come"
    trainer.train(ignore)
    check_same(all_but_times(trainer), uninterrupted)


def test_a_state_from_the_last_step_of_an_epoch_is_tested_before_the_next_epoch(
    uninterrupted, tmp_path
):
    stop(tmp_path / "checkpoint.pt", build(**EVERYTHING), 8)
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    assert (state["epoch"], state["step"], state["sums"]["seen"]) == (1, 4, COUNT)
    assert len(state["results"]["test_acc"]) == 1
    trainer = go_on(tmp_path / "checkpoint.pt", **EVERYTHING)
    steps = []
    watch = Watcher(
        lambda trainer, loss: steps.append(global_step(trainer)),
        lambda trainer: steps.append("epoch"),
    )
    trainer.watchers = [watch]
    trainer.train(ignore)
    assert steps[:2] == ["epoch", 9] and steps[-2:] == [16, "epoch"]
    check_same(all_but_times(trainer), uninterrupted)


def test_a_signal_during_the_test_stops_after_the_epoch(uninterrupted, tmp_path):
    path = tmp_path / "checkpoint.pt"
    interrupt = Watcher(after_epoch=lambda t: signal.raise_signal(signal.SIGINT))
    trainer = build(watchers=[interrupt], **EVERYTHING)
    with pytest.raises(Stopped, match="SIGINT"):
        trainer.train(partial(save_checkpoint, path))
    trainer = go_on(path, **EVERYTHING)
    assert (trainer.epoch, trainer.step) == (1, 0)
    trainer.train(ignore)
    check_same(all_but_times(trainer), uninterrupted)


def test_a_signal_during_the_very_last_test_lets_the_run_end(uninterrupted):
    def interrupt(trainer):
        if trainer.epoch == EVERYTHING["epochs"]:
            signal.raise_signal(signal.SIGINT)

    trainer = build(watchers=[Watcher(after_epoch=interrupt)], **EVERYTHING)
    trainer.train(ignore)
    check_same(all_but_times(trainer), uninterrupted)


def test_a_finished_state_does_nothing_more(uninterrupted, tmp_path):
    trainer = build(**EVERYTHING)
    trainer.train(partial(save_checkpoint, tmp_path / "checkpoint.pt"))
    again = go_on(tmp_path / "checkpoint.pt", **EVERYTHING)
    assert again.done
    check_same(again.train(ignore), trainer.results)
    check_same(all_but_times(again), uninterrupted)


@pytest.mark.parametrize("save_every", [1, 3, 4])
def test_saving_and_watching_change_nothing(save_every, uninterrupted, tmp_path):
    saved, watched = [], []

    def save(state):
        save_checkpoint(tmp_path / "checkpoint.pt", state)
        saved.append((state["epoch"], state["step"]))

    watch = Watcher(lambda trainer, loss: watched.append(loss.item()))
    trainer = build(watchers=[watch], **EVERYTHING)
    trainer.train(save, save_every)
    within = [step for step in range(1, 5) if step % save_every == 0]
    assert saved == [
        place
        for epoch in range(4)
        for place in [*((epoch, step) for step in within), (epoch + 1, 0)]
    ]
    assert len(watched) == 16
    check_same(all_but_times(trainer), uninterrupted)


@pytest.mark.parametrize("step", [2, 4, 7])
def test_every_saved_state_is_one_to_go_on_from(step, uninterrupted, tmp_path):
    """Killed at any moment, a run goes on from what was saved last."""
    path = tmp_path / "checkpoint.pt"
    saved = 0

    def save(state):
        nonlocal saved
        save_checkpoint(path, state)
        saved += 1
        if saved == step:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        build(**EVERYTHING).train(save, save_every=2)
    trainer = go_on(path, **EVERYTHING)
    trainer.train(ignore)
    check_same(all_but_times(trainer), uninterrupted)


def random_options(number: int) -> dict:
    """One of very many ways to train."""
    draw = random.Random(number)
    return dict(
        epochs=draw.randint(1, 4),
        batch_size=draw.choice((1, 3, 4, 5, 13, 20)),
        dropout=draw.choice((0.0, 0.1, 0.5)),
        augment=draw.choice((None, crop)),
        decay=draw.choice(("cosine", "linear", "constant")),
        momentum=draw.random() < 0.5,
        average=draw.choice((0.0, 0.3, 0.9)),
        accumulate=draw.randint(1, 3),
        patience=draw.randint(0, 2),
        clip_norm=draw.choice((None, 0.1, 1.0)),
        label_smoothing=draw.choice((0.0, 0.1)),
        precision=draw.choice((torch.float32, torch.bfloat16)),
    )


@pytest.mark.parametrize("number", range(200 if SLOW else 8))
def test_any_run_stopped_anywhere_ends_the_same(number, tmp_path):
    options = random_options(number)
    whole = build(**options)
    whole.train(ignore)
    last = global_step(whole)
    path = tmp_path / "checkpoint.pt"
    draw = random.Random(number)
    stops = sorted(draw.sample(range(1, last + 1), min(last, draw.randint(1, 3))))
    trainer = build(**options)
    for step in stops:
        stop(path, trainer, step)
        trainer = go_on(path, seed=step, **options)
    trainer.train(ignore)
    check_same(all_but_times(trainer), all_but_times(whole))


# What could make a run go on differently without anybody noticing


def test_the_same_seed_gives_the_same_bits_and_another_one_does_not(uninterrupted):
    trainer = build(**EVERYTHING)
    trainer.train(ignore)
    check_same(all_but_times(trainer), uninterrupted)
    other = build(seed=1, **EVERYTHING)
    other.train(ignore)
    assert other.results != uninterrupted["results"]


def test_training_asks_neither_python_nor_numpy_for_random_numbers():
    """Their states are not in a checkpoint."""
    trainer = build(**EVERYTHING)
    before = random.getstate(), np.random.get_state()[1].tolist()
    trainer.train(ignore)
    assert before == (random.getstate(), np.random.get_state()[1].tolist())


def test_testing_moves_no_random_state_and_no_weight():
    trainer = build(**EVERYTHING)
    trainer.train(ignore)
    before = all_but_times(trainer)
    evaluate(trainer.tested, trainer.test_batches)
    check_same(all_but_times(trainer), before)


def test_what_the_options_add_is_part_of_the_bits(uninterrupted):
    """Otherwise the tests above could not see that it was forgotten."""
    off = dict(dropout=0.0, augment=None, average=0.0, accumulate=1, patience=1)
    off |= dict(clip_norm=None, label_smoothing=0.0)
    for name, value in off.items():
        trainer = build(**{**EVERYTHING, name: value})
        trainer.train(ignore)
        if name == "patience":
            assert trainer.epoch < EVERYTHING["epochs"]
        else:
            assert trainer.results != uninterrupted["results"], name


def test_sums_come_back_in_full_precision(tmp_path):
    """One in single precision would round the epoch's mean."""
    path = tmp_path / "checkpoint.pt"
    trainer = build(**EVERYTHING)
    stop(path, trainer, 3)
    sums = trainer.sums
    sums.loss = 1 + 2**-40  # which float32 cannot hold
    save_checkpoint(path, trainer.state_dict())
    again = go_on(path, **EVERYTHING).sums
    check_same(again.state_dict(), sums.state_dict())
    assert again.loss == 1 + 2**-40
    assert again.seen == 12 and again.steps == 3


def test_time_adds_up_over_the_sessions(tmp_path):
    path = tmp_path / "checkpoint.pt"
    stop(path, build(**EVERYTHING), 3)
    before = load_checkpoint(path)
    assert 0 < before["waited"] < before["seconds"] < 60
    trainer = go_on(path, **EVERYTHING)
    assert trainer.seconds == before["seconds"]
    assert trainer.waited == before["waited"]
    trainer.train(ignore)
    assert before["seconds"] < trainer.seconds < 60
    assert before["waited"] < trainer.waited


def test_waiting_is_the_time_until_a_batch_comes_and_not_that_of_the_step(monkeypatch):
    now = 0.0

    def pass_time(seconds):
        nonlocal now
        now += seconds

    def batches():
        for seconds in (3, 4):
            pass_time(seconds)
            yield seconds
        pass_time(5)  # to find that there are no more

    monkeypatch.setattr(trainer_module.time, "perf_counter", lambda: now)
    trainer = build()
    for seconds in trainer.timed_batches(batches()):
        pass_time(100 * seconds)
    assert trainer.waited == 3 + 4 + 5


# A running average of the weights


@pytest.mark.parametrize("average", [0.9, 0.3])
def test_averaged_weights_are_those_of_a_loop(average):
    taken = []

    def take(trainer, loss):
        state = trainer.model.state_dict()
        taken.append({name: w.numpy().copy() for name, w in state.items()})

    trainer = build(average=average, watchers=[Watcher(take)])
    trainer.train(ignore)
    expected = taken[0]  # the first step begins the average
    for weights in taken[1:]:
        for name, w in weights.items():
            expected[name] = average * expected[name] + (1 - average) * w
    assert len(taken) == 12
    for name, ours in trainer.averaged.module.state_dict().items():
        check_close(ours, expected[name], tolerance=3e-6)
    moved = max(
        (ours - theirs).abs().max()
        for ours, theirs in zip(
            trainer.tested.parameters(), trainer.model.parameters(), strict=True
        )
    )
    assert moved > 1e-5, "the average is another model"


def test_the_average_is_tested_and_the_model_trains_as_without_it():
    plain, averaged = build(), build(average=0.9)
    plain.train(ignore)
    averaged.train(ignore)
    check_same(averaged.model.state_dict(), plain.model.state_dict())
    for column in ("train_loss", "train_acc"):
        check_same(averaged.results[column], plain.results[column])
    assert averaged.results["test_loss"] != plain.results["test_loss"]
    last = tuple(averaged.results[c][-1] for c in ("test_loss", "test_acc"))
    assert last == evaluate(averaged.tested, averaged.test_batches)
    assert plain.tested.model is plain.model
    assert averaged.tested.model is averaged.averaged.module


# Patience


def script(monkeypatch, accuracies: list[float], done: int = 0) -> None:
    """Let the tests of a run give these accuracies."""
    rest = iter(accuracies[done:])
    monkeypatch.setattr(
        processes_module, "evaluate", lambda model, batches: (1.0, next(rest))
    )


RISING = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
HILL = [0.1, 0.3, 0.2, 0.2, 0.4, 0.1]
LEVEL = [0.2, 0.2, 0.2, 0.2, 0.2, 0.2]
FALLING = [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


@pytest.mark.parametrize(
    ("accuracies", "patience", "epochs"),
    [
        (RISING, 1, 6),
        (HILL, 0, 6),  # no early stop
        (HILL, 1, 3),
        (HILL, 2, 4),
        (HILL, 3, 6),  # 0.4 came in time
        (LEVEL, 1, 2),  # as good is not better
        (LEVEL, 4, 5),
        (FALLING, 3, 4),
        (FALLING, 6, 6),
    ],
)
def test_patience_stops_when_it_is_out_and_not_before(
    accuracies, patience, epochs, monkeypatch
):
    script(monkeypatch, accuracies)
    trainer = build(epochs=6, patience=patience)
    results = trainer.train(ignore)
    assert results["test_acc"] == accuracies[:epochs]
    assert trainer.epoch == epochs and trainer.done
    assert all(len(results[column]) == epochs for column in RESULT_COLUMNS)


@pytest.mark.parametrize("step", [1, 4, 9, 12, 15, 16])
def test_an_early_stop_survives_going_on(step, monkeypatch, tmp_path):
    options = dict(epochs=6, patience=2)
    path = tmp_path / "checkpoint.pt"
    script(monkeypatch, HILL)
    stop(path, build(**options), step)
    script(monkeypatch, HILL, done=(step - 1) // 4)
    trainer = go_on(path, **options)
    trainer.train(partial(save_checkpoint, path))
    assert trainer.results["test_acc"] == HILL[:4]
    again = go_on(path, **options)
    assert again.done and again.train(ignore)["test_acc"] == HILL[:4]


@pytest.mark.parametrize("average", [0.0, 0.9])
@pytest.mark.parametrize(
    ("accuracies", "best"), [(RISING, 6), (HILL, 5), (LEVEL, 1), (FALLING, 1)]
)
def test_validation_keeps_the_weights_of_the_best_epoch(
    accuracies, best, average, monkeypatch
):
    class Watcher:
        """Keeps what was tested after each epoch."""

        def __init__(self):
            self.states = []

        def after_step(self, trainer, loss):
            pass

        def after_epoch(self, trainer):
            tested = trainer.tested.model.state_dict()
            self.states.append({name: w.clone() for name, w in tested.items()})

    script(monkeypatch, accuracies)
    watcher = Watcher()
    options = dict(epochs=6, held_out="val", average=average)
    trainer = build(**options, watchers=[watcher])
    trainer.train(ignore)
    assert trainer.best_epoch == best
    check_same(dict(trainer.weights_to_keep()), watcher.states[best - 1])
    others = [s["head.weight"] for s in watcher.states]
    kept = trainer.weights_to_keep()["head.weight"]
    assert [torch.equal(kept, other) for other in others].count(True) == 1


def test_without_validation_the_last_weights_are_kept(monkeypatch):
    script(monkeypatch, FALLING)
    trainer = build(epochs=6)
    trainer.train(ignore)
    assert trainer.best is None
    check_same(trainer.weights_to_keep(), trainer.model.state_dict())


@pytest.mark.parametrize("step", [1, 4, 9, 12, 15, 20, 23])
def test_the_best_weights_survive_going_on(step, monkeypatch, tmp_path):
    options = dict(epochs=6, held_out="val")
    script(monkeypatch, HILL)
    whole = build(**options)
    whole.train(ignore)
    path = tmp_path / "checkpoint.pt"
    script(monkeypatch, HILL)
    stop(path, build(**options), step)
    script(monkeypatch, HILL, done=(step - 1) // 4)
    trainer = go_on(path, **options)
    trainer.train(partial(save_checkpoint, path))
    check_same(trainer.weights_to_keep(), whole.weights_to_keep())


# A loss that is no number


class Spoiled(Batches):
    """Batches of which one, (epoch, place), holds images that are no numbers."""

    at = (0, 0)

    def __iter__(self):
        for place, (images, labels) in enumerate(super().__iter__()):
            if (self.epoch, place) == self.at:
                images = images * math.nan
            yield images, labels


def is_finite(state) -> bool:
    """Whether every number of a nested state is finite."""
    if isinstance(state, Tensor):
        return not state.is_floating_point() or bool(state.isfinite().all())
    if isinstance(state, dict):
        return all(map(is_finite, state.values()))
    if isinstance(state, list | tuple):
        return all(map(is_finite, state))
    return not isinstance(state, float) or math.isfinite(state)


@pytest.mark.parametrize(
    ("save_every", "check_every", "average"),
    [(0, 50, 0.0), (1, 50, 0.9), (2, 3, 0.0), (2, 1, 0.9)],
)
@pytest.mark.parametrize(("epoch", "step"), [(1, 1), (2, 2), (2, 4), (3, 3)])
def test_a_loss_that_is_no_number_is_named_and_no_checkpoint_holds_it(
    epoch, step, save_every, check_every, average, monkeypatch, tmp_path
):
    monkeypatch.setattr(Sums, "LOOK_EVERY", check_every)
    monkeypatch.setattr(Spoiled, "at", (epoch - 1, step - 1))
    saved = []

    def save(state):
        assert is_finite(state)
        saved.append((state["epoch"], state["step"]))
        save_checkpoint(tmp_path / "checkpoint.pt", state)

    options = dict(batches=Spoiled, average=average)
    place = f"epoch {epoch}: loss became nan at step {step} of the epoch"
    with pytest.raises(TrainingDiverged, match=f"^{place}: lower the learning rate"):
        build(**options).train(save, save_every)

    within = [s for s in range(1, step) if save_every and s % save_every == 0]
    expected = (epoch - 1, within[-1] if within else 0)
    assert saved == [] if expected == (0, 0) else saved[-1] == expected
    monkeypatch.setattr(Spoiled, "at", None)
    whole = build(**options)
    whole.train(ignore)
    if saved:  # what was saved before is good to go on from
        trainer = go_on(tmp_path / "checkpoint.pt", **options)
        trainer.train(ignore)
        check_same(all_but_times(trainer), all_but_times(whole))


def test_a_stop_right_after_a_loss_that_is_no_number_saves_nothing(monkeypatch):
    monkeypatch.setattr(Spoiled, "at", (0, 1))
    trainer = build(batches=Spoiled, watchers=[stop_after(2)])
    saved = []
    with pytest.raises(TrainingDiverged, match="epoch 1: loss became nan at step 2"):
        trainer.train(saved.append)
    assert saved == []


def test_a_resumed_run_still_names_the_step_of_the_epoch(monkeypatch, tmp_path):
    path = tmp_path / "checkpoint.pt"
    monkeypatch.setattr(Spoiled, "at", (1, 3))
    stop(path, build(batches=Spoiled), 6)
    trainer = go_on(path, batches=Spoiled)
    with pytest.raises(TrainingDiverged, match="epoch 2: loss became nan at step 4"):
        trainer.train(ignore)


def test_an_infinite_loss_and_one_only_in_the_test_are_named(monkeypatch):
    trainer = build()

    def spoil(trainer, loss):
        if global_step(trainer) == 5:
            trainer.model.head.bias.data[0] = -math.inf

    trainer.watchers = [Watcher(spoil)]
    with pytest.raises(TrainingDiverged, match="epoch 2: loss became (inf|nan) at"):
        trainer.train(ignore)
    monkeypatch.setattr(processes_module, "evaluate", lambda *_: (math.nan, 0.5))
    with pytest.raises(TrainingDiverged, match="epoch 1: test loss became nan"):
        build().train(ignore)


def test_weights_that_are_no_numbers_are_not_saved_though_the_loss_was_one():
    trainer = build()

    def spoil(gradient):
        return gradient * math.nan if global_step(trainer) == 5 else gradient

    trainer.model.head.bias.register_hook(spoil)
    saved = []

    def save(state):
        assert is_finite(state)
        saved.append((state["epoch"], state["step"]))

    with pytest.raises(TrainingDiverged, match="epoch 2"):
        trainer.train(save, save_every=1)
    assert saved[-1] == (1, 1)


class Generators:
    """Stand in for `torch.cuda`: one generator for each device."""

    def __init__(self, *states: int):
        self.states = [torch.tensor([state]) for state in states]

    def get_rng_state(self, device: torch.device) -> Tensor:
        return self.states[device.index]

    def set_rng_state(self, state: Tensor, device: torch.device) -> None:
        self.states[device.index] = state


def test_a_run_on_a_gpu_keeps_that_gpus_random_state(monkeypatch, tmp_path):
    """It may go on with another number, and where there are fewer; or on a CPU."""
    gpus = Generators(5, 6)
    monkeypatch.setattr(torch, "get_device_module", lambda kind: gpus)
    trainer = build()
    trainer.device = torch.device("cuda:1")
    save_checkpoint(tmp_path / "checkpoint.pt", trainer.state_dict())
    state = load_checkpoint(tmp_path / "checkpoint.pt")
    gpus.states = [torch.tensor([0])]
    trainer.load_state_dict(state | {"device_random_state": {}})  # one of a CPU's run
    trainer.device = torch.device("cuda:0")
    trainer.load_state_dict(state)
    assert [s.item() for s in gpus.states] == [6]
    build().load_state_dict(state)
    assert [s.item() for s in gpus.states] == [6]
    assert build().state_dict()["device_random_state"] == {}


def test_batches_are_made_ahead_where_the_step_leaves_the_cpu_free(monkeypatch):
    trainer = build()
    monkeypatch.setattr(trainer_module, "prefetch", lambda batches: "ahead")
    assert trainer.upcoming_batches() != "ahead"
    trainer.device = torch.device("cuda")
    assert trainer.upcoming_batches() == "ahead"
