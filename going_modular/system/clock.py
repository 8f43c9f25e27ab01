"""Where the time of a run went."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Clock"]


class Clock:
    """Counts the time from the moment it is made, by what it was spent on.

    Attributes:
        spent: Seconds by what they were spent on, in the order in which it began.
        images: How many images that was for, where they were counted.
    """

    def __init__(self, first: str, now: Callable[[], float] = time.perf_counter):
        """Begin to count.

        Args:
            first: What time is spent on while nothing else is said.
            now: The time in seconds.
        """
        self.now, self.names = now, [first]
        self.start = self.since = now()
        self.spent: dict[str, float] = {}
        self.images: Counter[str] = Counter()

    @contextmanager
    def counting(self, name: str) -> Iterator[None]:
        """Count this context's time as spent on something.

        What is counted within it, too, counts as that alone: no second counts twice.
        """
        depth = len(self.names)
        self.book()
        self.names.append(name)
        self.spent.setdefault(name, 0.0)
        try:
            yield
        finally:
            self.book()
            del self.names[depth:]  # and what was left open within it

    def book(self) -> None:
        """Add the time since the last change to what goes on now."""
        now, name = self.now(), self.names[-1]
        self.spent[name] = self.spent.get(name, 0.0) + now - self.since
        self.since = now

    def total(self) -> float:
        """Seconds since the clock was made."""
        self.book()
        return self.since - self.start

    def rate(self, name: str) -> float:
        """Images a second, over all the time that was spent on something."""
        self.book()
        return self.images[name] / max(self.spent[name], 1e-9)

    def summary(self) -> list[str]:
        """The whole time and its parts, rounded so that they add up.

        Of less than ten seconds the tenths are told, too.
        """
        total, parts, before = self.total(), [], 0.0
        digits = 0 if total >= 10 else 1
        for name, seconds in self.spent.items():
            part = round(before + seconds, digits) - round(before, digits)
            before += seconds
            parts += [f"{part:,.{digits}f} {name}"] * (round(part, digits) > 0)
        first, *others = parts or [""]
        return [f"{total:,.{digits}f} s" + f": {first}" * bool(first), *others]
