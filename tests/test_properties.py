"""What holds for every configuration, tried on random ones.

The same ones are drawn each time. `make test-slow` draws twenty times as many.
"""

import copy
import math
import os
import signal
import tempfile
from collections import Counter
from functools import cache, partial
from pathlib import Path

import pytest
import torch
from exactness import check_same
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from small_runs import OPTIMIZERS, SmallRun, all_but_times, crop
from torch import Tensor, nn

from going_modular.checkpoint import (
    load_checkpoint,
    load_model,
    previous,
    save_checkpoint,
    save_model,
)
from going_modular.config import ViTConfig, count_parameters
from going_modular.data_setup import Batches, ImageSet
from going_modular.datasets.fast_batches import batches_from
from going_modular.engine import train_step
from going_modular.optimization import rate_factor
from going_modular.patch_embedding import patchify, unpatchify
from going_modular.system.signals import Stopped
from going_modular.training.settings import TrainingSettings
from going_modular.training.steps import RunSums, gradients_in_parts
from going_modular.training.trainer import Trainer
from going_modular.training.watchers import global_step
from going_modular.vit import ViT

SLOW = "SLOW" in os.environ


def examples(count: int) -> settings:
    """Settings of a test that tries so many examples."""
    return settings(
        max_examples=count * (20 if SLOW else 1),
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


pytestmark = pytest.mark.usefixtures("as_in_a_terminal")


# Models


@st.composite
def configs(draw) -> ViTConfig:
    """Any small Vision Transformer."""
    patch, *grid = (draw(st.integers(1, 5)) for _ in range(3))
    channels, heads = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    values = st.lists(st.floats(0.1, 1), min_size=1, max_size=1).map(tuple)
    if draw(st.booleans()):
        values = st.tuples(*[st.floats(0.1, 1)] * channels)
    return ViTConfig(
        image_size=(patch * grid[0], patch * grid[1]),
        patch_size=patch,
        in_channels=channels,
        embedding_dim=heads * draw(st.integers(1, 5)),
        depth=draw(st.integers(1, 3)),
        num_heads=heads,
        mlp_size=draw(st.integers(1, 9)),
        num_classes=draw(st.integers(1, 6)),
        dropout=draw(st.sampled_from((0.0, 0.3))),
        gelu=draw(st.sampled_from(("erf", "tanh"))),
        representation_size=draw(st.none() | st.integers(1, 7)),
        mean=draw(values),
        std=draw(values),
    )


def random_vit(config: ViTConfig) -> ViT:
    """A ViT all of whose parameters are random, so that none goes unnoticed."""
    torch.manual_seed(0)
    model = ViT(config).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def random_images(config: ViTConfig, count: int) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    shape = (count, config.in_channels, *config.image_shape)
    return torch.randn(shape, generator=generator)  # (B, C, H, W)


def close(left: Tensor, right: Tensor, tolerance: float = 1e-5) -> bool:
    """Whether two tensors differ by rounding only, next to their largest number."""
    largest = max(1.0, right.abs().max().item())
    return left.shape == right.shape and bool(
        ((left - right).abs() <= tolerance * largest).all()
    )


@examples(60)
@given(configs())
def test_the_formula_counts_the_parameters_of_any_model(config):
    counted = sum(p.numel() for p in ViT(config).parameters())
    assert sum(count_parameters(config).values()) == counted


@examples(60)
@given(configs(), st.integers(1, 4))
def test_any_model_gives_the_shapes_that_its_configuration_names(config, B):
    model, images = random_vit(config), random_images(config, B)
    logits, seen = model(images, return_intermediates=True)
    T, D = config.num_tokens, config.embedding_dim
    rows, columns = config.grid_shape
    expected = {"patches": (B, rows * columns, config.patch_dim), "z0": (B, T, D)}
    for layer in range(1, config.depth + 1):
        expected[f"attention_{layer}"] = (B, config.num_heads, T, T)
        expected[f"z_prime_{layer}"] = expected[f"z_{layer}"] = (B, T, D)
    expected["y"] = (B, D)
    assert {name: tuple(x.shape) for name, x in seen.items()} == expected
    assert logits.shape == (B, config.num_classes)
    assert close(model(images), logits), "both ways to the logits agree"


@examples(40)
@given(configs(), st.integers(2, 6), st.data())
def test_the_logits_of_an_image_do_not_depend_on_its_neighbours(config, B, data):
    model, images = random_vit(config), random_images(config, B)
    chosen = data.draw(st.permutations(range(B)))[: data.draw(st.integers(1, B))]
    assert close(model(images[chosen]), model(images)[chosen])


@examples(60)
@given(configs(), st.integers(1, 3))
def test_patches_hold_each_pixel_once_and_go_back_to_the_image(config, B):
    P, C = config.patch_size, config.in_channels
    images = torch.arange(B * C * math.prod(config.image_shape))
    images = images.reshape(B, C, *config.image_shape)  # (B, C, H, W)
    patches = patchify(images, P)
    assert torch.equal(unpatchify(patches, P, config.grid_shape), images)
    for place in range(config.num_patches):
        row, column = (P * i for i in divmod(place, config.grid_shape[1]))
        square = images[:, :, row : row + P, column : column + P]  # (B, C, P, P)
        flat = [square[:, :, i, j] for i in range(P) for j in range(P)]
        assert torch.equal(patches[:, place], torch.cat(flat, dim=1))


@examples(25)
@given(configs(), st.lists(st.text(), min_size=1, max_size=6))
def test_any_model_comes_back_from_its_file_with_the_same_bits(config, names):
    model = random_vit(config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.safetensors")
        save_model(path, model, tuple(names))
        loaded, loaded_names = load_model(path)
    assert loaded.config == config and loaded_names == tuple(names)
    check_same(loaded.state_dict(), model.state_dict())


# Batches, steps, rates, sums


@examples(150)
@given(
    n=st.integers(1, 60),
    batch_size=st.integers(1, 70),
    first=st.integers(0, 61),
    epoch=st.integers(0, 10**6),
    seed=st.integers(0, 2**63),
    shuffle=st.booleans(),
)
def test_each_image_is_visited_once_an_epoch_wherever_it_begins(
    n, batch_size, first, epoch, seed, shuffle
):
    labels = torch.arange(n)
    images = labels.to(torch.uint8).view(n, 1, 1, 1)  # (n, C, H, W)
    batches = Batches(
        ImageSet(images, labels, ()), batch_size, shuffle, seed=seed, epoch=epoch
    )
    whole = list(batches)
    assert len(whole) == len(batches) == math.ceil(n / batch_size)
    assert all(len(y) == batch_size for _, y in whole[:-1])
    assert sorted(torch.cat([y for _, y in whole]).tolist()) == list(range(n))
    for x, y in whole:
        assert ((x.flatten() + 1) * 127.5).round().long().tolist() == y.tolist()
    batches.augment, batches.transform = crop, lambda x: x.float().expand(-1, 1, 3, 3)
    whole = list(batches)
    check_same(list(batches_from(batches, first)), whole[first:])


@examples(60)
@given(
    config=configs(),
    n=st.integers(1, 12),
    accumulate=st.integers(1, 14),
    label_smoothing=st.sampled_from((0.0, 0.1, 0.5)),
    clip_norm=st.sampled_from((None, 0.1)),
)
def test_parts_of_any_size_add_up_to_the_whole_batch(
    config, n, accumulate, label_smoothing, clip_norm
):
    model, images = random_vit(config), random_images(config, n)
    labels = torch.arange(n) * 7 % config.num_classes
    found = []
    for parts in (1, accumulate):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        loss, right = train_step(
            model, images, labels, optimizer, clip_norm=clip_norm,
            label_smoothing=label_smoothing,
            gradients=partial(gradients_in_parts, parts=parts),
        )  # fmt: skip
        gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
        found.append((right.item(), loss, gradients))
    (right, loss, gradients), (ours, our_loss, our_gradients) = found
    assert ours == right
    assert close(our_loss, loss)
    assert close(our_gradients, gradients)


@examples(150)
@given(st.integers(1, 400), st.data(), st.sampled_from(("cosine", "linear")))
def test_the_rate_rises_in_warm_up_then_falls_to_zero(steps, data, decay):
    warmup = data.draw(st.integers(0, steps - 1))
    rates = [rate_factor(step, steps, warmup, decay) for step in range(steps + 1)]
    assert all(0 <= rate <= 1 for rate in rates)
    rising, falling = rates[:warmup], rates[warmup:]
    assert all(0 < a < b for a, b in zip(rising, rising[1:], strict=False))
    assert all(a > b for a, b in zip(falling, falling[1:], strict=False))
    assert falling[0] == 1 and rates[-1] == 0
    assert warmup == 0 or rising[-1] == 1
    assert rate_factor(steps + 9, steps, warmup, decay) == 0
    constant = [rate_factor(s, steps, warmup, "constant") for s in range(steps + 1)]
    assert constant == rising + [1.0] * len(falling)


@examples(100)
@given(
    st.lists(
        st.tuples(st.floats(0, 1e4, width=32), st.integers(1, 9), st.data()),
        min_size=1,
    ),
    st.integers(0, 9),
)
def test_sums_are_the_plain_means_over_images_also_when_taken_up_again(steps, pause):
    batch_length = 0
    sums, right = RunSums(lambda: batch_length), 0
    for place, (loss, batch_length, data) in enumerate(steps):  # noqa: B007
        if place == pause:
            state, sums = sums.state_dict(), RunSums(sums.batch_length)
            sums.load_state_dict(state)
        correct = data.draw(st.integers(0, batch_length))
        own = data.draw(st.integers(1, batch_length))  # of one process among several
        sums.add(torch.tensor(loss), torch.tensor(correct), own)
        right += correct
    images = sum(count for _, count, _ in steps)
    mean = math.fsum(loss * count for loss, count, _ in steps) / images
    loss, accuracy = sums.means()
    assert math.isclose(loss, mean, rel_tol=1e-12)
    assert accuracy == right / images and sums.steps == len(steps)


numbers = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1, 2)
integers = st.integers(-3, 5) | st.integers()
# Where ranges end, or might: these are always tried.
ENDS = {
    float: (-0.0, 0.0, 1 - 2**-53, 1.0, math.inf, -math.inf, math.nan),
    int: (-1, 0, 1, 100, 101, 2**63 - 1, 2**63, 2**64 - 1, 2**64),
    str: ("",),
}
words = st.text() | st.sampled_from(
    "cosine linear constant crop crop-only none auto fp32 bf16 yes no".split()
)
# Of each setting: what is tried, and which of it the documentation allows.
RANGES = {
    "epochs": (integers, lambda x: x >= 1),
    "batch_size": (integers, lambda x: 1 <= x < 2**63),
    "learning_rate": (numbers, lambda x: 0 < x < math.inf),
    "weight_decay": (numbers, lambda x: 0 <= x < math.inf),
    "warmup": (numbers, lambda x: 0 <= x < 1),
    "decay": (words, lambda x: x in ("cosine", "linear", "constant")),
    "clip_norm": (numbers, lambda x: x > 0),
    "label_smoothing": (numbers, lambda x: 0 <= x < 1),
    "augment": (words, lambda x: x in ("crop", "crop-only", "none")),
    "crop_area": (numbers, lambda x: 0 < x <= 1),
    "randaugment": (integers, lambda x: 0 <= x <= 30),
    "mixup": (numbers, lambda x: 0 <= x < math.inf),
    "cutmix": (numbers, lambda x: 0 <= x < math.inf),
    "repeats": (integers, lambda x: 1 <= x <= 100),
    "seed": (integers, lambda x: 0 <= x < 2**64),
    "precision": (words, lambda x: x in ("auto", "fp32", "bf16")),
    "compile": (words, lambda x: x in ("auto", "yes", "no")),
    "accumulate": (integers, lambda x: 1 <= x <= 100),
    "average": (numbers, lambda x: 0 <= x < 1),
    "patience": (integers, lambda x: x >= 0),
}


@pytest.mark.parametrize("name", RANGES)
def test_a_setting_is_accepted_exactly_where_it_makes_sense(name):
    values, allowed = RANGES[name]

    def check(value):
        if allowed(value):
            assert getattr(TrainingSettings(**{name: value}), name) is value
        else:
            with pytest.raises(ValueError, match=f"^{name} must be "):
                TrainingSettings(**{name: value})

    for value in ENDS[type(getattr(TrainingSettings, name))]:
        check(value)
    examples(60)(given(values)(check))()


def test_every_setting_is_tried():
    assert set(RANGES) == set(TrainingSettings.__dataclass_fields__)


# Checkpoints

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8)
DTYPES += (torch.float16, torch.bool, torch.complex64, torch.int8)


@st.composite
def tensors(draw) -> Tensor:
    """Any bits, in any type and shape, also one that strides over its memory."""
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    dtype = draw(st.sampled_from(DTYPES))
    if dtype == torch.bool:
        return torch.rand(shape) < 0.5
    size = math.prod(shape) * dtype.itemsize
    data = draw(st.binary(min_size=size, max_size=size))
    x = torch.frombuffer(bytearray(data), dtype=dtype) if size else torch.empty(0)
    x = x.to(dtype).reshape(shape)
    return x.T if x.ndim == 2 and draw(st.booleans()) else x


keys = st.text(max_size=5) | st.integers()
values = st.none() | st.booleans() | st.integers(-(2**100), 2**100) | st.floats()
values |= st.text() | tensors()
nested = st.recursive(
    values,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
    ),
    max_leaves=12,
)
states = st.dictionaries(keys, nested, max_size=4)


@examples(200)
@given(st.lists(states, min_size=1, max_size=3))
def test_any_state_comes_back_from_a_checkpoint_and_so_does_the_one_before(saved):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint.pt")
        for state in saved:
            save_checkpoint(path, copy.deepcopy(state))
        check_same(load_checkpoint(path), saved[-1])
        if len(saved) > 1:
            check_same(load_checkpoint(previous(path)), saved[-2])


@cache
def written() -> tuple[bytes, dict, bytes, dict]:
    """A checkpoint and the one before it, as bytes and as what they hold."""
    trainer = SmallRun().build()
    kept, found = [], []
    trainer.train(lambda state: kept.append(copy.deepcopy(state)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint.pt")
        for state in kept[-2:]:
            save_checkpoint(path, state)
        for file, state in ((path, kept[-1]), (previous(path), kept[-2])):
            found += [file.read_bytes(), state]
    return tuple(found)


@st.composite
def damages(draw) -> bytes:
    """What is left of the newest checkpoint."""
    content = written()[0]
    size = len(content)
    start = draw(st.integers(0, size - 1))
    end = min(size, start + draw(st.sampled_from((1, 2, 64, 512, 4096))))
    instead = {
        "changed": st.just(bytes(255 - byte for byte in content[start:end])),
        "another byte": st.binary(min_size=1, max_size=1),
        "zeros": st.just(bytes(end - start)),
        "removed": st.just(b""),
        "inserted": st.binary(min_size=1, max_size=9),
        "doubled": st.just(content[start:end] * 2),
    }
    how = draw(st.sampled_from(["cut off", "of another place", *instead]))
    if how == "cut off":
        return content[:start]
    if how == "of another place":
        other = draw(st.integers(0, size - (end - start)))
        return content[:start] + content[other:][: end - start] + content[end:]
    if how == "inserted":
        end = start
    elif how == "another byte":
        end = start + 1
    return content[:start] + draw(instead[how]) + content[end:]


@examples(400)
@given(damages())
@example(b"")
def test_no_damage_changes_what_is_gone_on_from_unnoticed(damaged):
    _, newest, before, state_before = written()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint.pt")
        path.write_bytes(damaged)
        previous(path).write_bytes(before)
        state = load_checkpoint(path)
        taken = not previous(path).exists()
        check_same(state, state_before if taken else newest)


# Runs that are stopped and go on


@st.composite
def runs(draw) -> SmallRun:
    batch_size = draw(st.integers(1, 9))
    return SmallRun(
        n=draw(st.integers(1, 14)),
        batch_size=batch_size,
        epochs=draw(st.integers(1, 3)),
        optimizer=draw(st.sampled_from(list(OPTIMIZERS))),
        augment=draw(st.sampled_from((None, crop))),
        decay=draw(st.sampled_from(("cosine", "linear", "constant"))),
        dropout=draw(st.sampled_from((0.0, 0.1, 0.5))),
        accumulate=draw(st.integers(1, batch_size)),
        average=draw(st.sampled_from((0.0, 0.5, 0.9999))),
        patience=draw(st.integers(0, 2)),
        clip_norm=draw(st.sampled_from((None, 0.1, 1.0))),
        label_smoothing=draw(st.sampled_from((0.0, 0.1))),
        precision=draw(st.sampled_from((torch.float32, torch.bfloat16))),
    )


class Killed(BaseException):
    """As by `kill -9`: nothing is saved any more."""


class Ender:
    """Stops or kills a run after one of its steps; notes each step's loss."""

    def __init__(self, losses: dict[int, float], at: int = 0, kill: bool = False):
        self.losses, self.at, self.kill = losses, at, kill

    def after_step(self, trainer: Trainer, loss: Tensor) -> None:
        step = global_step(trainer)
        self.losses[step] = loss.item()
        if step == self.at and self.kill:
            raise Killed
        if step == self.at:
            signal.raise_signal(signal.SIGINT)

    def after_epoch(self, trainer: Trainer) -> None:
        pass


@examples(150)
@given(
    run=runs(),
    ends=st.lists(st.tuples(st.integers(1, 42), st.booleans()), max_size=4),
    save_every=st.integers(0, 5),
)
def test_any_run_that_is_stopped_or_killed_anywhere_ends_with_the_same_bits(
    run, ends, save_every
):
    whole, losses, again = run.build(), {}, {}
    whole.watchers = [Ender(losses)]
    whole.train(lambda state: None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "checkpoint.pt")
        save = partial(save_checkpoint, path)
        # Built from the run's own seed only as long as there is no checkpoint.
        for number, (step, kill) in enumerate(ends, 1):
            trainer = run.build(number if path.exists() else 0, path)
            trainer.watchers = [Ender(again, 1 + (step - 1) % run.steps, kill)]
            try:
                trainer.train(save, save_every)
            except Stopped:
                assert not kill and not trainer.done
            except Killed:
                assert kill
        trainer = run.build(99 if path.exists() else 0, path)
        trainer.watchers = [Ender(again)]
        trainer.train(save, save_every)
    check_same(dict(sorted(again.items())), losses)
    check_same(all_but_times(trainer), all_but_times(whole))
    counts = [len(part) for part in torch.arange(run.n).split(run.batch_size)]
    for epoch, mean in enumerate(whole.results["train_loss"]):
        steps = (losses[epoch * len(counts) + i + 1] for i in range(len(counts)))
        total = math.fsum(x * count for x, count in zip(steps, counts, strict=True))
        assert math.isclose(mean, total / run.n, rel_tol=1e-12)


@examples(40)
@given(runs(), st.integers(2, 4))
def test_any_run_has_nearly_the_same_curve_in_parts_as_whole(run, parts):
    """Without what makes small differences large: dropout draws for each part."""
    run.dropout, run.optimizer = 0.0, "sgd"
    run.options |= dict(precision=torch.float32, patience=0)
    found = []
    for accumulate in (1, parts):
        run.options["accumulate"] = accumulate
        found.append(run.build().train(lambda state: None))
    for column in ("train_loss", "test_loss"):
        assert found[1][column] == pytest.approx(found[0][column], rel=1e-4)


@examples(30)
@given(runs())
def test_a_run_saves_after_each_epoch_and_each_so_many_steps(run):
    saves = Counter()

    def save(state):
        saves[state["epoch"], state["step"]] += 1

    run.options["patience"] = 0
    run.build().train(save, save_every=2)
    steps = math.ceil(run.n / run.batch_size)
    within = {(e, s) for e in range(run.epochs) for s in range(2, steps + 1, 2)}
    assert saves == Counter(within | {(e + 1, 0) for e in range(run.epochs)})
