"""Two recipes take turns; their accuracy is noted against seconds of training."""

import json

import pandas as pd
import torch

import train
from benchmarks import recipes
from benchmarks.recipe_contenders import CommonRecipe, PaperRecipe
from going_modular.engine import train as train_epochs

CPU = torch.device("cpu")


def digits_plan():
    flags = "--data digits --epochs 2 --precision fp32 --compile no"
    options = train.parse(flags.split())
    plan, sets = train.load_images(train.make_plan(options)[0], options)
    return plan, lambda: train.make_batches(plan.training, sets, CPU)


def test_recipes_in_turns_end_as_each_would_alone(tmp_path):
    plan, batches = digits_plan()
    kinds = {"paper": PaperRecipe, "common": CommonRecipe}
    runs = {name: kind(plan, **batches()) for name, kind in kinds.items()}
    together = recipes.take_turns(runs, 2)
    run = [*"--data digits --epochs 2 --precision fp32 --compile no --quiet".split()]
    assert train.main([*run, "--output", str(tmp_path / "run")]) == 0
    alone = pd.read_pickle(tmp_path / "run" / "results.pkl")
    assert together["paper"]["test_acc"] == list(alone["test_acc"])
    common = CommonRecipe(plan, **batches())
    results = train_epochs(
        common.model, **batches(), optimizer=common.optimizer, epochs=2, clip_norm=None
    )
    assert together["common"]["test_acc"] == results["test_acc"]
    for curve in together.values():
        assert 0 < curve["seconds"][0] < curve["seconds"][1]


def test_recipes_take_turns_epoch_by_epoch_and_tests_are_not_timed(monkeypatch):
    clock, order = [0.0], []
    monkeypatch.setattr(recipes.time, "perf_counter", lambda: clock[0])

    class Recipe:
        def __init__(self, name, takes):
            self.name, self.takes, self.seconds = name, takes, 1.0

        def train_epoch(self):
            order.append(self.name)
            clock[0] += self.takes

        def test(self):
            clock[0] += 100
            return 0.5

    curves = recipes.take_turns({"a": Recipe("a", 2), "b": Recipe("b", 3)}, 3)
    assert "".join(order) == "ababab"
    assert curves["a"] == {"seconds": [3, 5, 7], "test_acc": [0.5] * 3}
    assert curves["b"]["seconds"] == [4, 7, 10]


def test_a_mark_is_reached_once_and_for_good():
    curve = {"seconds": [1, 2, 3, 4], "test_acc": [0.7, 0.85, 0.84, 0.871]}
    reached = recipes.seconds_to(curve)
    assert list(reached.values()) == [2, 2, 4, 4, None]
    assert list(reached) == ["80 %", "85 %", "86 %", "87 %", "88 %"]


def test_recipes_run_and_draw_accuracy_against_seconds(tmp_path, monkeypatch):
    drawn, plot = [], recipes.plot_curves
    monkeypatch.setattr(
        recipes, "plot_curves", lambda *given: drawn.append(plot(*given)) or drawn[0]
    )
    picture, table = tmp_path / "recipes.png", tmp_path / "recipes.json"
    flags = ["--data", "digits", "--epochs", "2", "--output", str(picture)]
    assert recipes.main([*flags, "--json", str(table)]) == 0
    figures = json.loads(table.read_text())
    (ax,) = drawn[0].axes
    assert "seconds" in ax.get_xlabel() and ax.get_title() and ax.get_legend()
    for line in ax.lines:
        curve = figures[line.get_label()]
        assert list(line.get_xdata()) == curve["seconds"]
        assert list(line.get_ydata()) == [100 * a for a in curve["test_acc"]]
        assert list(curve["seconds_to"]) == [f"{mark} %" for mark in recipes.MARKS]
    assert picture.stat().st_size > 10_000
