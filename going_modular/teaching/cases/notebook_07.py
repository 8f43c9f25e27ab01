"""Training: a schedule, what a step ignores, a loop mended, a batch in parts."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from going_modular.teaching.cases.letters import only_letters, read_letters
from going_modular.teaching.exercises import Exercise

__all__ = ["EXERCISES"]


def seeded_model(seed: int, inputs: int, classes: int) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(inputs, classes)


def random_batch(seed: int, shape: tuple[int, ...], classes: int):
    """Images of a shape whose last axis holds their numbers, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(shape, generator=generator)
    return images, torch.randint(classes, shape[:-1], generator=generator)


def read_weights(answer):
    """A model's parameters in one row; what is no model stays as it is."""
    if not isinstance(answer, nn.Module):
        return answer
    return torch.cat([p.detach().flatten() for p in answer.parameters()])


def read_gradients(answer):
    """The gradients of a model in one row; None where one has none."""
    if not isinstance(answer, nn.Module):
        return answer
    gradients = [p.grad for p in answer.parameters()]
    if any(gradient is None for gradient in gradients):
        return None
    return torch.cat([gradient.flatten() for gradient in gradients])


def training(
    softmax: bool = False, zero: str = "first", decay: bool = True
) -> Callable[..., Tensor]:
    """An answer to 07.3: the right one, or one with mistakes in it."""

    def train_once(model, images, labels, rate):
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        for x, y in zip(images, labels, strict=True):
            scores = model(x).softmax(dim=1) if softmax else model(x)
            if zero == "first":
                optimizer.zero_grad()
            F.cross_entropy(scores, y).backward()
            if zero == "after backward":
                optimizer.zero_grad()
            optimizer.step()
        return read_weights(model)

    return train_once


def with_log_twice(model, images, labels, rate) -> Tensor:
    """The log of the softmax is taken, but by hand and of probabilities twice."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    for x, y in zip(images, labels, strict=True):
        optimizer.zero_grad()
        F.nll_loss(model(x).softmax(dim=1), y).backward()
        optimizer.step()
    return read_weights(model)


def training_cases() -> list[tuple]:
    return [
        (seeded_model(1, 4, 3), *random_batch(2, (3, 6, 4), 3), 0.5),
        (seeded_model(3, 5, 7), *random_batch(4, (5, 8, 5), 7), 0.2),
        (seeded_model(5, 3, 2), *random_batch(6, (2, 5, 3), 2), 1.0),
    ]


def in_parts(weight: Callable[[int, int, int], float], keep: bool = True):
    """An answer to 07.4 that weighs the loss of each part.

    Args:
        weight: Of a part, from its length, the batch's length and `size`.
        keep: Whether gradients of earlier parts are kept.
    """

    def gradients_in_parts(model, images, labels, size) -> Tensor:
        model.zero_grad()
        for x, y in zip(images.split(size), labels.split(size), strict=True):
            if not keep:
                model.zero_grad()
            (
                F.cross_entropy(model(x), y) * weight(len(x), len(images), size)
            ).backward()
        return read_gradients(model)

    return gradients_in_parts


def part_cases() -> list[tuple]:
    return [
        (seeded_model(1, 4, 3), *random_batch(2, (10, 4), 3), 4),
        (seeded_model(3, 5, 7), *random_batch(4, (12, 5), 7), 6),
        (seeded_model(5, 3, 2), *random_batch(6, (7, 3), 2), 3),
        (seeded_model(7, 3, 4), *random_batch(8, (5, 3), 4), 8),
    ]


def never_sees_more(answer, model, images, labels, size) -> bool:
    """Whether the model is never given more than `size` images at once."""
    seen = []
    model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    answer(model, images, labels, size)
    return 0 < max(seen) <= size


def computes_gradients(answer, model, images, labels, size) -> bool:
    """Whether every parameter has a gradient afterwards."""
    return read_gradients(answer(model, images, labels, size)) is not None


def clears_old_gradients(answer, model, images, labels, size) -> bool:
    """Whether gradients that were there before are gone."""
    fresh = read_gradients(answer(model, images, labels, size)).clone()
    again = read_gradients(answer(model, images, labels, size))
    return torch.allclose(fresh, again, atol=1e-5)


EXERCISES = {
    "1": Exercise(
        answer=2332,
        mistakes={
            "that is the middle of the run; the fall begins after the warm-up": 2120,
            "count from the beginning of the run, not from the warm-up's end": 1908,
            "at that step the rate is still on its way up": 212,
            "at that step the rate still grows": 211,
            "an epoch's last batch is shorter, but it is a step as well": 2310,
            "every epoch has a short batch of its own, and a step is whole": 2320.5,
            "round up within each epoch: each has a short batch of its own": 2320,
            "every epoch has a short batch of its own": 2321,
            "the first step has the number 0": 2333,
            "one step too early: the first step after the warm-up has the full rate": (
                2331
            ),
            "that is the length of the whole run": 4240,
            "there the warm-up ends, and the rate is at its highest": 424,
            "those are the steps of the fall, from the highest rate to zero": 3816,
        },
        hints=(
            "How many steps are there in an epoch, in the run, and in the warm-up?",
            "Where does the cosine begin, where does it end, and where is it at ½?",
            "½(1 + cos πp) is ½ at p = ½: half of the way from the warm-up's end to "
            "the end of the run.",
        ),
        tolerance=0,
    ),
    "2": Exercise(
        answer="acf",
        read=read_letters,
        laws=(
            only_letters("abcdef", "bd"),
            (
                "one of yours changes how far every weight goes: look at what stands "
                "before the quotient",
                lambda letters: "b" not in letters,
            ),
            (
                "one of yours leaves out a term of the step that is not zero here",
                lambda letters: "d" not in letters,
            ),
            (
                "one of yours turns the step round: a sign goes through the quotient",
                lambda letters: "e" not in letters,
            ),
            (
                "one is missing: what becomes of the quotient when every gradient is "
                "multiplied by the same positive number?",
                lambda letters: {"a", "c"} <= set(letters),
            ),
            (
                "one is missing: what is in .grad before the very first step?",
                lambda letters: letters == "acf",
            ),
        ),
        hints=(
            "In the first step the quotient is g / |g|.",
            "Take the # away from the line that shows all six, and compare with "
            "after_one_step().",
        ),
    ),
    "3": Exercise(
        answer=training(),
        cases=training_cases,
        read=read_weights,
        mistakes={
            "both mistakes are still there": training(softmax=True, zero="never"),
            "one mistake is left: gradients of earlier batches are still in .grad": (
                training(zero="never")
            ),
            "one mistake is left: cross_entropy takes logits, since it contains a "
            "softmax of its own": training(softmax=True),
            "that clears the gradients between backward and step, so that nothing is "
            "learned": training(zero="after backward"),
            "that clears the gradients before they are used, and the softmax is still "
            "there": training(softmax=True, zero="after backward"),
            "nll_loss wants the logarithm of the probabilities": with_log_twice,
        },
        hints=(
            "What does cross_entropy do with the scores before it takes the logarithm?",
            "What does .backward() do with the numbers that are in .grad already?",
            "Hand the logits over as they are, and clear the gradients for each batch.",
        ),
    ),
    "4": Exercise(
        answer=in_parts(lambda part, n, size: part / n),
        cases=part_cases,
        read=read_gradients,
        laws=(
            (
                "a parameter has no gradient afterwards: is there a `.backward()`?",
                computes_gradients,
            ),
            (
                "the model may never be given more than `size` images at once",
                never_sees_more,
            ),
            (
                "a second call gives other gradients: clear the old ones first",
                clears_old_gradients,
            ),
        ),
        mistakes={
            "the parts' means are added up as they are: the sum of means is no mean": (
                in_parts(lambda part, n, size: 1)
            ),
            "a mean over parts gives each the same weight, whatever its length": (
                in_parts(lambda part, n, size: 1 / -(-n // size))
            ),
            "the last part may be shorter than `size`": (
                in_parts(lambda part, n, size: size / n)
            ),
            "divide by the number of images in the batch, not in a full part": (
                in_parts(lambda part, n, size: part / size)
            ),
            "that is the gradient of the sum of all losses, not of their mean": (
                in_parts(lambda part, n, size: part)
            ),
            "only the last part is left: clear the gradients once, before the loop": (
                in_parts(lambda part, n, size: part / n, keep=False)
            ),
            "the gradients of earlier parts are lost": (
                in_parts(lambda part, n, size: 1, keep=False)
            ),
        },
        hints=(
            "Compare with the section Counting fairly: how is a mean over images made "
            "from means over batches?",
            "Each part's mean should count as often as the part has images.",
            "Multiply each loss by len(part) / len(images) before .backward().",
        ),
    ),
}
