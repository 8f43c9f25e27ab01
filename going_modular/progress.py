"""What a run shows while it goes on: a bar, a line an epoch, tables."""

from tqdm import tqdm

__all__ = ["Progress", "print_table"]


class Progress:
    """A bar for the steps of each epoch, and a line of results after each."""

    def __init__(self, epochs: int, images: int, quiet: bool, done: int = 0):
        self.epochs = epochs
        self.images = images
        self.disable = True if quiet else None  # None: only on a terminal
        self.bar = None
        self.done = done

    def __enter__(self) -> "Progress":
        print("epoch  train loss  train acc  test loss  test acc")
        return self

    def __exit__(self, *error) -> None:
        if self.bar is not None:
            self.bar.close()

    def end_step(self, loss: float, accuracy: float, seen: int) -> None:
        if self.bar is None:
            self.bar = tqdm(
                desc=f"epoch {self.done + 1}/{self.epochs}",
                total=self.images,
                unit=" images",
                leave=False,
                disable=self.disable,
            )
        self.bar.set_postfix_str(
            f"loss {loss:.3f}, accuracy {accuracy:.3f}", refresh=False
        )
        self.bar.update(seen - self.bar.n)

    def end_epoch(self, results: dict[str, list[float]]) -> None:
        self.bar.close()
        self.bar = None
        self.done = len(results["train_loss"])
        row = [results[column][-1] for column in results]
        cells = [f"{self.done:>5}"]
        for value, width in zip(row, (10, 9, 9, 8), strict=True):
            cells.append(f"{value:>{width}.4f}")
        print("  ".join(cells), flush=True)


def print_table(**values) -> None:
    """Print names and values as a table of two columns."""
    width = max(map(len, values))
    for name, value in values.items():
        print(f"{name.replace('_', ' '):<{width}}  {value}")
