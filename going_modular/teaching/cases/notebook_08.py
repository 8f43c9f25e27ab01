"""What makes it learn: an interval, a gap, a test mended, how many seeds."""

import math

import numpy as np
from scipy.stats import t

from going_modular.teaching.exercises import Exercise

__all__ = ["EXERCISES"]


def interval(before, after) -> tuple[float, float]:
    d = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    n = len(d)
    return d.mean(), t.ppf(0.975, n - 1) * d.std(ddof=1) / math.sqrt(n)


def as_it_was(before, after) -> tuple[float, float]:
    d = np.asarray(after) - np.asarray(before)
    return d.mean(), 1.96 * d.std()


def with_normal(before, after) -> tuple[float, float]:
    d = np.asarray(after) - np.asarray(before)
    return d.mean(), 1.96 * d.std(ddof=1) / math.sqrt(len(d))


def with_n(before, after) -> tuple[float, float]:
    d = np.asarray(after) - np.asarray(before)
    n = len(d)
    return d.mean(), t.ppf(0.975, n - 1) * d.std() / math.sqrt(n)


def without_root(before, after) -> tuple[float, float]:
    d = np.asarray(after) - np.asarray(before)
    return d.mean(), t.ppf(0.975, len(d) - 1) * d.std(ddof=1)


def apart(before, after) -> tuple[float, float]:
    b, a = np.asarray(before), np.asarray(after)
    n = len(a)
    error = math.sqrt((a.var(ddof=1) + b.var(ddof=1)) / n)
    return a.mean() - b.mean(), t.ppf(0.975, 2 * n - 2) * error


def one_sided(before, after) -> tuple[float, float]:
    mean, half = interval(before, after)
    n = len(before)
    return mean, half * t.ppf(0.95, n - 1) / t.ppf(0.975, n - 1)


def interval_cases() -> list[tuple]:
    random = np.random.default_rng(0)
    cases = []
    for n in (5, 3, 8):
        before = 80 + 2 * random.standard_normal(n)
        cases.append((before, before + 1 + 0.7 * random.standard_normal(n)))
    return cases


def seeds_needed(deviation: float, smallest: float) -> int:
    n = 2
    while t.ppf(0.975, n - 1) * deviation / math.sqrt(n) > smallest:
        n += 1
    return n


def by_normal(deviation: float, smallest: float) -> int:
    return max(2, math.ceil((1.96 * deviation / smallest) ** 2))


def whole_width(deviation: float, smallest: float) -> int:
    return seeds_needed(2 * deviation, smallest)


def degrees_of_n(deviation: float, smallest: float) -> int:
    n = 2
    while t.ppf(0.975, n) * deviation / math.sqrt(n) > smallest:
        n += 1
    return n


def without_a_root(deviation: float, smallest: float) -> int:
    n = 2
    while t.ppf(0.975, n - 1) * deviation / n > smallest:
        n += 1
    return n


SEEDS_CASES = [(1.0, 0.5), (0.6, 0.5), (0.2, 2.0), (2.0, 0.4), (0.05, 0.5)]

EXERCISES = {
    "1": Exercise(
        answer=0.878,
        tolerance=0.006,
        mistakes={
            "that is the mean of the differences; asked for is the half of its "
            "interval": 3.0,
            "five runs need Student's t, 2.776, in place of 1.96": 0.62,
            "divide the squares by n - 1, not by n": 0.785,
            "take the root of n, too: the standard error is s / sqrt(n)": 1.963,
            "that is the standard error; the interval reaches 2.776 of them": 0.316,
            "that is the whole width; asked for is half of it": 1.756,
            "that is s; divide by the root of n, and go out 2.776 times": 0.707,
        },
        hints=(
            "Write the five differences down first. What is their mean?",
            "The deviations from 3 are -1, 1, 0, 0 and 0.",
            "Variance 2 / 4, divided by 5, the root of it, times 2.776.",
        ),
    ),
    "2": Exercise(
        answer="no weight decay",
        laws=(
            (
                "the name of a setting is asked for, as `losses` spells it",
                lambda name: isinstance(name, str),
            ),
        ),
        mistakes={
            "that has the lowest training loss, but its test loss is low as well": (
                "embeddings from N(0, 1)"
            ),
            "both of its losses are high: look at the difference": "coupled decay 0.1",
            "there is a setting with a larger gap than the whole recipe's": (
                "the whole recipe"
            ),
            "in training its loss is measured against smoothed targets, so the two "
            "cannot be compared": "label smoothing 0.1",
        },
        hints=(
            "What is meant to keep a model from following its training images?",
            "losses has a row for each setting; subtract train_loss from loss.",
            ".idxmax() gives the name of the row with the largest number.",
        ),
    ),
    "3": Exercise(
        answer=interval,
        cases=interval_cases,
        tolerance=1e-4,
        mistakes={
            "all three mistakes are still there": as_it_was,
            "one mistake is left: few runs need Student's t, and not 1.96": with_normal,
            "one mistake is left: the deviation of few numbers is divided by n - 1 "
            "(numpy: ddof=1)": with_n,
            "one mistake is left: a mean of n numbers scatters less than one of them, "
            "by the root of n": without_root,
            "pairs are to be compared: take the differences first": apart,
            "half of 5 % lies on either side, so t is asked at 0.975": one_sided,
        },
        hints=(
            "Compare each line with the table by hand.",
            "d.std() of numpy divides by n. What divides by n - 1?",
            "t.ppf(0.975, n - 1) is Student's t for n numbers.",
        ),
    ),
    "4": Exercise(
        answer=seeds_needed,
        cases=lambda: SEEDS_CASES,
        mistakes={
            "few seeds need Student's t, which depends on n, and not 1.96": by_normal,
            "the half of the interval is to be at most `smallest`": whole_width,
            "with n seeds, t has n - 1 degrees of freedom": degrees_of_n,
            "the standard error is the deviation by the root of n": without_a_root,
            "one too many: the first n that is enough": (
                lambda deviation, smallest: seeds_needed(deviation, smallest) + 1
            ),
        },
        hints=(
            "Begin with n = 2, and count up until the half is small enough.",
            "The half is t.ppf(0.975, n - 1) * deviation / math.sqrt(n).",
        ),
    ),
}
