"""What a model's scores of the test images say: how often it is right, where not."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor

__all__ = ["Findings", "Mistake", "Pair", "Share", "find", "share_of"]

NORMAL_QUANTILE = 1.959964  # of 97.5 %: a 95 % interval leaves out 2.5 % at each end


@dataclass(frozen=True)
class Share:
    """A share that was counted, with its 95 % interval.

    Attributes:
        count, total: So many of so many.
        low, high: Ends of the interval, from 0 to 1.
    """

    count: int
    total: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """From 0 to 1; not a number where nothing was counted."""
        return self.count / self.total if self.total else float("nan")


@dataclass(frozen=True)
class Pair:
    """A class and what it is taken for.

    Attributes:
        true, guess: The classes.
        count, total: So many of the true class's images.
        examples: Their places in the set, the surest guesses first.
    """

    true: int
    guess: int
    count: int
    total: int
    examples: tuple[int, ...]


@dataclass(frozen=True)
class Mistake:
    """An image taken for another class.

    Attributes:
        place: Of the image in the set.
        true, guess: The classes.
        probability: What the model gave its guess.
    """

    place: int
    true: int
    guess: int
    probability: float


@dataclass(frozen=True)
class Findings:
    """All of it.

    Attributes:
        accuracy: Images whose class is the guess.
        commonest: The share of the class with most images: what always naming it
            would get right.
        recalls: For each class the share of its images that are recognised.
        pairs: The most confused pairs, those of most images first.
        mistakes: Those with the highest probabilities, in falling order.
    """

    accuracy: Share
    commonest: Share
    recalls: tuple[Share, ...]
    pairs: tuple[Pair, ...]
    mistakes: tuple[Mistake, ...]

    def worst_first(self) -> list[int]:
        """The classes that have images, by recall; of equals the larger one first."""
        shares = enumerate(self.recalls)
        seen = [(s.value, -s.total, label) for label, s in shares if s.total]
        return [label for *_, label in sorted(seen)]


def share_of(count: int, total: int) -> Share:
    """A share with Wilson's 95 % interval; of nothing it is everything.

    Computed here, since `scipy.stats` takes two seconds to import and one for the
    intervals of 1,000 classes.

    Source: E. B. Wilson (1927), "Probable inference, the law of succession, and
    statistical inference", J. Am. Stat. Assoc. 22.
    """
    if not total:
        return Share(0, 0, 0.0, 1.0)
    z2, p = NORMAL_QUANTILE**2, count / total
    middle = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = (z2 * (p * (1 - p) + z2 / (4 * total)) / total) ** 0.5 / (1 + z2 / total)
    low = middle - half if count else 0.0  # without rounding
    high = middle + half if count < total else 1.0
    return Share(count, total, low, high)


def find(
    logits: Tensor, labels: Tensor, pairs: int = 10, examples: int = 3, worst: int = 24
) -> Findings:
    """Count what is right and what is confused.

    Args:
        logits: (n, K) scores; the greatest is the guess.
        labels: (n,) true classes.
        pairs, examples, worst: Most pairs, images of each, and mistakes to name.
    """
    logits, (n, K) = logits.float(), logits.shape
    guesses, truth = logits.argmax(dim=1), labels
    sure = (logits.amax(dim=1) - logits.logsumexp(dim=1)).exp()  # (n,)
    guesses, truth, sure = (t.numpy() for t in (guesses, truth, sure))
    totals = np.bincount(truth, minlength=K)  # (K,)
    right = np.bincount(truth[guesses == truth], minlength=K)  # (K,)
    wrong = np.flatnonzero(guesses != truth)
    wrong = wrong[np.argsort(-sure[wrong], kind="stable")]  # the surest first

    found, place, counts = np.unique(  # never a K x K table: K may be large
        truth[wrong] * K + guesses[wrong], return_inverse=True, return_counts=True
    )
    shares = counts / totals[found // K]
    order = np.lexsort((found, -shares, -counts))[:pairs]
    return Findings(
        share_of(int(right.sum()), n),
        share_of(int(totals.max()), n),
        tuple(map(share_of, right.tolist(), totals.tolist())),
        tuple(
            Pair(
                *divmod(int(found[i]), K),
                int(counts[i]),
                int(totals[found[i] // K]),
                tuple(wrong[place == i][:examples].tolist()),
            )
            for i in order
        ),
        tuple(
            Mistake(int(i), int(truth[i]), int(guesses[i]), float(sure[i]))
            for i in wrong[:worst]
        ),
    )
