"""Vision Transformer: weights without a name, silent mistakes, Equation 4, a budget."""

import functools
import re
from dataclasses import asdict, is_dataclass

import torch
from torch import Tensor

from going_modular.config import VARIANTS, ViTConfig, count_parameters
from going_modular.teaching.cases.letters import only_letters, read_letters
from going_modular.teaching.exercises import Exercise
from going_modular.vit import ViT

__all__ = ["EXERCISES"]


def read_model(answer):
    """A name, in any spelling, and a side, as ("B/16", 224)."""
    if not isinstance(answer, list | tuple) or len(answer) != 2:
        return answer
    name, side = answer
    found = re.search(r"(Ti|S|B|L|H)\w*?[/_-]?(\d+)$", str(name).strip(), re.I)
    if found:
        name = f"{found[1].capitalize()}/{int(found[2])}"
    return name, side


def which_model(shapes: dict, channels: int = 3) -> tuple[str, int]:
    D, patch_dim = shapes["patch_embedding.projection.weight"]
    (size,) = [name for name, v in VARIANTS.items() if v["embedding_dim"] == D]
    P = round((patch_dim / channels) ** 0.5)
    patches = shapes["patch_embedding.position_embedding"][1] - 1
    return f"{size}/{P}", P * round(patches**0.5)


@functools.cache
def shapes_of(name: str, image_size: int, **changes) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        model = ViT(ViTConfig.from_variant(name, image_size, **changes))
    return {key: tuple(value.shape) for key, value in model.state_dict().items()}


def model_cases() -> list[tuple]:
    return [
        (shapes_of("Ti/16", 224),),
        (shapes_of("B/8", 224),),
        (shapes_of("L/32", 384),),
        (shapes_of("S/16", 160, num_classes=7),),
        (shapes_of("H/14", 518),),
        (shapes_of("B/32", 224, num_classes=21843, representation_size=768),),
    ]


def side_in_patches(shapes: dict) -> tuple[str, int]:
    name, side = which_model(shapes)
    return name, side // int(name.partition("/")[2])


def equation_4(z: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    y = z[:, 0]
    mean = y.mean(dim=1, keepdim=True)
    variance = y.var(dim=1, keepdim=True, correction=0)
    return (y - mean) / (variance + 1e-6).sqrt() * gain + bias


def token_cases() -> list[tuple]:
    """Few numbers in a token, nearly equal ones, and gains and biases of many sizes."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    return [
        (draw(2, 3, 8), draw(8), draw(8)),
        (7 * draw(3, 5, 9) + 2, draw(9), draw(9)),
        (0.001 * draw(3, 2, 7), draw(7), draw(7)),
        (draw(1, 4, 12), draw(12), draw(12)),
    ]


def with_changes(take=0, dim=1, correction=0, inside=True, gain=True, bias=True):
    """Equation 4 as somebody gets it wrong in one place or more."""

    def wrong(z, g, b):
        y = z[:, take] if isinstance(take, int) else take(z)
        axes = dict(dim=dim, keepdim=True) if dim is not None else {}
        variance = y.var(correction=correction, **axes)
        root = (variance + 1e-6).sqrt() if inside else variance.sqrt() + 1e-6
        y = (y - y.mean(**axes)) / root
        return y * (g if gain else 1) + (b if bias else 0)

    return wrong


def as_it_was(z, gain, bias):
    y = z[0]
    return (y - y.mean()) / (y.std() + 1e-6) * gain + bias


def changed_fields(config) -> set[str]:
    defaults = asdict(ViTConfig())
    return {name for name, value in asdict(config).items() if value != defaults[name]}


def work(c: ViTConfig) -> int:
    """Multiply-adds for one image."""
    T, D = c.num_tokens, c.embedding_dim
    block = 4 * T * D * D + 2 * T * T * D + 2 * T * D * c.mlp_size
    return c.num_patches * c.patch_dim * D + c.depth * block + D * c.num_classes


def size(c: ViTConfig) -> int:
    return sum(count_parameters(c).values())


EXERCISES = {
    "1": Exercise(
        answer=which_model,
        read=read_model,
        cases=model_cases,
        laws=(
            (
                "give two things: a name and the side of the images in pixels",
                lambda f, shapes: len(f(shapes)) == 2 and isinstance(f(shapes)[0], str),
            ),
            (
                "the size of the model is not right everywhere: three of our five have "
                "the same depth, but which number differs in all of them?",
                lambda f, shapes: (
                    read_model(f(shapes))[0].partition("/")[0]
                    == which_model(shapes)[0].partition("/")[0]
                ),
            ),
            (
                "the patch side is not right everywhere: a row of E has P * P * C "
                "weights",
                lambda f, shapes: (
                    read_model(f(shapes))[0].partition("/")[2]
                    == which_model(shapes)[0].partition("/")[2]
                ),
            ),
        ),
        mistakes={
            "the side is asked for in pixels, not in patches": (
                lambda shapes: side_in_patches(shapes)
            ),
            "not all images have 224 pixels: how many positions are there?": (
                lambda shapes: (which_model(shapes)[0], 224)
            ),
            "that is how many patches there are, and not the side of an image": (
                lambda shapes: (
                    which_model(shapes)[0],
                    shapes["patch_embedding.position_embedding"][1] - 1,
                )
            ),
        },
        hints=(
            "Print the shapes of a model that you know. Which of them hold D, which P, "
            "and which the number of tokens?",
            "`patch_embedding.projection.weight` has the shape (D, P * P * 3).",
            "`patch_embedding.position_embedding` is (1, N + 1, D), and the N patches "
            "stand in a square.",
        ),
        tolerance=0,
    ),
    "2": Exercise(
        answer="bdf",
        read=read_letters,
        laws=(
            only_letters("abcdef", "ac"),
            (
                "those are the ones that pass unnoticed: which are found?",
                lambda letters: letters != "ace",
            ),
            (
                "one of yours is learned by heart all the same: run try_all()",
                lambda letters: set(letters) <= set("bdf"),
            ),
            (
                "one is missing: run try_all() and look for losses above 0.1",
                lambda letters: letters == "bdf",
            ),
        ),
        hints=(
            "Ask of each: can the loss still become small? And does a gradient reach "
            "the weights?",
            "Softmax gives shares between 0 and 1. What is the smallest loss that such "
            "numbers can give when they are taken for logits?",
            "Take the # away from the line that calls try_all().",
        ),
    ),
    "3": Exercise(
        answer=equation_4,
        cases=token_cases,
        laws=(
            (
                "the answer should have one row for each image and D columns: which "
                "axis of z holds the tokens?",
                lambda f, z, g, b: torch.as_tensor(f(z, g, b)).shape == z[:, 0].shape,
            ),
            (
                "only the class token may count: changing the other tokens changes "
                "your answer",
                lambda f, z, g, b: torch.allclose(
                    f(torch.cat([z[:, :1], z[:, 1:] * 3 + 1], dim=1), g, b), f(z, g, b)
                ),
            ),
            (
                "an image must not depend on the other images of its batch",
                lambda f, z, g, b: torch.allclose(
                    f(z[:1], g, b), f(z, g, b)[:1], atol=1e-5
                ),
            ),
        ),
        mistakes={
            "variance divides by D here, and torch's default divides by D - 1": (
                with_changes(correction=1)
            ),
            "two mistakes are left: in what the variance divides by, and in where "
            "1e-6 is added": with_changes(correction=1, inside=False),
            "one mistake is left: 1e-6 is added to the variance, inside the root": (
                with_changes(inside=False)
            ),
            "the root is missing: divide by the deviation, not by the variance": (
                lambda z, g, b: (
                    (z[:, 0] - z[:, 0].mean(1, keepdim=True))
                    / (z[:, 0].var(1, keepdim=True, correction=0) + 1e-6)
                    * g
                    + b
                )
            ),
            "the 1e-6 is missing, and a token of nearly equal numbers shows it": (
                lambda z, g, b: (
                    (z[:, 0] - z[:, 0].mean(1, keepdim=True))
                    / z[:, 0].std(1, keepdim=True, correction=0)
                    * g
                    + b
                )
            ),
            "the gain and the bias are missing": (with_changes(gain=False, bias=False)),
            "the gain is missing": with_changes(gain=False),
            "the bias is missing": with_changes(bias=False),
            "all four mistakes are still there": as_it_was,
            "mean and variance are an image's own, over its D numbers": (
                with_changes(dim=None)
            ),
        },
        hints=(
            "What is z[0] when z has the shape (B, T, D)? Print its shape.",
            "How many means are there for a batch of B images? `keepdim=True` lets "
            "them line up.",
            "Look up `correction` in torch.var, and where LayerNorm's formula has its "
            "epsilon.",
        ),
        tolerance=1e-4,
    ),
    "4": Exercise(
        answer=None,
        laws=(
            (
                "hand over a ViTConfig: changed = ViTConfig(...)",
                lambda c: is_dataclass(c) and type(c).__name__ == "ViTConfig",
            ),
            ("nothing is changed yet", lambda c: len(changed_fields(c)) > 0),
            (
                "change one field and leave all others at their defaults",
                lambda c: len(changed_fields(c)) == 1,
            ),
            (
                "this changes the number of parameters by 3 % or more: what can be "
                "made less without making a matrix smaller?",
                lambda c: abs(size(c) / size(ViTConfig()) - 1) < 0.03,
            ),
            (
                "the work is not yet less than half: on what does it depend beside "
                "the weights?",
                lambda c: work(c) < work(ViTConfig()) / 2,
            ),
        ),
        hints=(
            "A linear layer does one multiply-add for each weight and each token.",
            "Which fields decide how many tokens there are?",
        ),
    ),
}
