"""What became of every tensor of a weights file."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Entry", "Report"]


class Entry(NamedTuple):
    """What became of one tensor, and why."""

    key: str
    action: str
    detail: str = ""


class Report(list):
    """What became of every tensor of a source: a list of `Entry`."""

    def note(self, key: str, action: str, detail: str = "") -> None:
        self.append(Entry(key, action, detail))

    def change(self, key: str, action: str, detail: str) -> None:
        """Put another word in place of the one on this key."""
        places = [i for i, entry in enumerate(self) if entry.key == key]
        for i in places:
            before = f"{self[i].detail}; " if self[i].action == "extended" else ""
            self[i] = Entry(key, action, before + detail)

    def rename(self, names: Mapping[str, str]) -> None:
        self[:] = [e._replace(key=names.get(e.key, e.key)) for e in self]

    def summary(self) -> str:
        """How many tensors met with what, and a line for each that needs a word."""
        counts = Counter(entry.action for entry in self)
        lines = [", ".join(f"{count} {action}" for action, count in counts.items())]
        plain = ("taken", "joined", "transposed", "folded")
        lines += [f"{k} {a}: {d}" for k, a, d in self if a not in plain]
        return "\n".join(lines)

    def __str__(self) -> str:
        width = max((len(entry.key) for entry in self), default=0)
        return "\n".join(f"{k:<{width}}  {a:<10}  {d}".rstrip() for k, a, d in self)
