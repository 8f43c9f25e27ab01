"""A checkpoint's contents, held against what the run itself would save.

The file may come from anywhere. What it holds goes straight into the memory of an
optimiser, so every tensor must have the shape, the kind and the layout of its own.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from going_modular.config import ViTConfig
from going_modular.variants.building import holds_as_many

__all__ = ["check_model_size", "check_state"]

# What optimisers keep for a parameter; "step" is a number, the others are like it.
MOMENTS = {"step", "exp_avg", "exp_avg_sq", "momentum_buffer"}


def check_state(state: Mapping, trainer) -> None:
    """Refuse a state that this trainer would not have saved.

    Args:
        state: What is to be loaded.
        trainer: A `Trainer`, made for the run that goes on.

    Raises:
        ValueError: Says what is wrong with which part.
    """
    names = {*trainer.parts(), "epoch", "step", "results", "seconds", "waited", "rate"}
    names |= {"to_beat", "random_state", "device_random_state"}
    require(set(state) == names, "its parts")
    for name, part in trainer.parts().items():
        if isinstance(part, torch.optim.Optimizer):
            check_optimizer(state[name], part)
        else:
            check_like(state[name], part.state_dict(), name)
    epoch, step, sums = state["epoch"], state["step"], state["sums"]
    steps = len(trainer.train_batches)
    require(is_count(epoch) and epoch <= trainer.epochs, "epoch")
    require(is_count(step) and step <= steps, "step")
    require(sums["steps"] == step and 0 <= sums["correct"] <= sums["seen"], "sums")
    for name in ("seconds", "waited", "rate"):
        require(is_number(state[name]) and state[name] >= 0, name)
    require(is_number(state["to_beat"]) and state["to_beat"] <= 1, "to_beat")
    results = state["results"]
    require(list(results) == list(trainer.results), "results")
    for values in results.values():
        require(isinstance(values, list) and len(values) == epoch, "results")
        require(all(map(is_number, values)), "results")
    check_like(state["random_state"], torch.get_rng_state(), "random_state")
    own = trainer.device_random_state()
    for kind, tensor in state["device_random_state"].items():
        require(isinstance(tensor, Tensor) and isinstance(kind, str), "random state")
        check_like(tensor, own.get(kind, tensor), "device_random_state")


def require(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"{what} is not what this run would have saved")


def is_number(value) -> bool:
    """Whether it is a finite number."""
    kinds = isinstance(value, int | float) and not isinstance(value, bool)
    return kinds and math.isfinite(value)


def is_count(value) -> bool:
    return type(value) is int and value >= 0


def check_like(given, expected, name: str) -> None:
    """Refuse what has not the form of the expected: keys, shapes, kinds of numbers."""
    if isinstance(expected, Tensor):
        require(isinstance(given, Tensor), name)
        require(given.layout == torch.strided and given.is_contiguous(), name)
        require(given.shape == expected.shape and given.dtype == expected.dtype, name)
    elif isinstance(expected, Mapping):
        require(isinstance(given, Mapping) and set(given) == set(expected), name)
        for key in expected:
            check_like(given[key], expected[key], f"{name} {key}")
    elif isinstance(expected, list | tuple):
        same = type(given) is type(expected) and len(given) == len(expected)
        require(same, name)
        for pair in zip(given, expected, strict=True):
            check_like(*pair, name)
    elif type(expected) is float:
        require(is_number(given), name)
    else:
        require(type(given) is type(expected), name)


def check_optimizer(state: Mapping, optimizer: torch.optim.Optimizer) -> None:
    """Refuse a state whose tensors are not as their parameters.

    Another length would make the optimiser's fused step write where it must not.
    """
    own = optimizer.state_dict()["param_groups"]
    groups = state["param_groups"]
    require(isinstance(groups, list) and len(groups) == len(own), "the optimiser")
    for group, expected in zip(groups, own, strict=True):
        require(set(group) == set(expected), "the optimiser's settings")
        require(is_number(group["lr"]), "the optimiser's rate")
        for key in expected.keys() - {"lr", "fused"}:  # shared parameters unfuse it
            same = type(group[key]) is type(expected[key])
            require(same and group[key] == expected[key], f"the optimiser's {key}")
        require(group["fused"] in (None, True, False), "the optimiser's fused")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for place, kept in state["state"].items():
        require(is_count(place) and place < len(parameters), "the optimiser's state")
        require(set(kept) <= MOMENTS, "the optimiser's state")
        like = parameters[place].detach()
        for name, value in kept.items():
            if name == "step":
                like_step = torch.zeros((), dtype=torch.float32)
                check_like(value, like_step, "the optimiser's step")
            elif value is not None or name != "momentum_buffer":  # of SGD's first step
                check_like(value, like, f"the optimiser's {name}")
    complete = {len(kept) for kept in state["state"].values()}
    require(len(complete) <= 1, "the optimiser's state")


def check_model_size(checkpoint: Mapping, config: ViTConfig) -> None:
    """Refuse, before a model is built, sizes for which the checkpoint has no weights.

    Raises:
        ValueError: The settings say another number of parameters.
    """
    weights = checkpoint["trainer"]["model"]
    tensors = {k: w for k, w in weights.items() if isinstance(w, Tensor)}
    require(holds_as_many(tensors, config), "the size of the model")
