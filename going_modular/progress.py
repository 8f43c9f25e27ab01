"""What a run shows while it goes on: a bar, a line an epoch, tables."""

import sys
import time

from tqdm import tqdm

__all__ = ["Progress", "print_table"]


class Progress:
    """A bar for the steps of each epoch, and a line of results after each.

    It watches a `Trainer`. The bar also says when the run will end.
    """

    def __init__(self, epochs: int, quiet: bool, done: int = 0):
        self.epochs = epochs
        # None: only on a terminal. A process may have no stderr at all.
        self.disable = True if quiet or sys.stderr is None else None
        self.bar = None
        self.first = done
        self.start = time.monotonic()

    def __enter__(self) -> "Progress":
        print("epoch  train loss  train acc  test loss  test acc")
        return self

    def __exit__(self, *error) -> None:
        if self.bar is not None:
            self.bar.close()

    def after_step(self, trainer, loss) -> None:
        if self.bar is None:
            self.bar = tqdm(
                desc=f"epoch {trainer.epoch + 1}/{self.epochs}",
                total=len(trainer.train_batches.data),
                initial=trainer.sums.seen,
                unit=" images",
                leave=False,
                mininterval=0.2,
                disable=self.disable,
            )
        if self.bar.update(trainer.sums.seen - self.bar.n):  # it was drawn just now
            mean, accuracy = trainer.sums.means()
            left = self.seconds_left(trainer)
            self.bar.set_postfix_str(
                f"loss {mean:.3f}, accuracy {accuracy:.3f}, run ends in {left}",
                refresh=False,
            )

    def seconds_left(self, trainer) -> str:
        """Time to the run's end, as the epochs of this session went."""
        share = trainer.step / len(trainer.train_batches)
        done = trainer.epoch - self.first + share
        left = (self.epochs - trainer.epoch - share) / max(done, 1e-9)
        return tqdm.format_interval((time.monotonic() - self.start) * left)

    def after_epoch(self, trainer) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None
        cells = [f"{trainer.epoch:>5}"]
        columns = zip(trainer.results.values(), (10, 9, 9, 8), strict=True)
        cells += [f"{values[-1]:>{width}.4f}" for values, width in columns]
        print("  ".join(cells), flush=True)


def print_table(**values) -> None:
    """Print names and values as a table of two columns."""
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name.replace('_', ' '):<{width}}  {value}")
