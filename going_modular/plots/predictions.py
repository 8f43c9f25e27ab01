"""Pictures of what a model sees in photos."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from going_modular.plots.style import COLOURS, WIDTH, to_picture
from going_modular.system.text import printable

__all__ = ["plot_predictions"]

MOST_GUESSES = 10  # more would make the bars of one photo fill a page


def plot_predictions(predictions: Sequence) -> Figure:
    """Show photos as the model saw them, each beside bars of its likeliest classes.

    Args:
        predictions: One or more, as `going_modular.predictions.predict_photos` gives
            them; of each at most the first ten guesses are drawn.
    """
    columns = min(2, len(predictions))
    rows = -(-len(predictions) // columns)
    shown = min(MOST_GUESSES, max(len(p.guesses) for p in predictions))
    width = WIDTH / columns  # inches, of a photo with its bars
    height = max(0.21 * shown, 0.36 * width)
    fig = plt.figure(figsize=(WIDTH, rows * (height + 0.3) + 0.25))
    fig.supxlabel("bars: probability of each class, 0 to 100 %", fontsize=8)
    cells = fig.subfigures(rows, columns, squeeze=False)
    for cell, prediction in zip(cells.flat, predictions, strict=False):
        title = shorten(printable(prediction.path), int(13 * width), keep_end=True)
        text = cell.suptitle(title, x=0.01, ha="left", fontsize=8, parse_math=False)
        text.set(clip_box=cell.bbox, clip_on=True)
        left, right = cell.subplots(1, 2, width_ratios=[1, 1.4])
        left.imshow(to_picture(prediction.image))
        left.axis("off")
        left.set_anchor("NW")
        right.set_ylim(max(shown, 5) - 0.5, -0.5)  # bars of one height, from the top
        draw_guesses(right, prediction.guesses[:shown], int(7 * width))
    return fig


def draw_guesses(ax: Axes, guesses: Sequence, most: int) -> None:
    """Draw bars with the class names over them and the probabilities before them."""
    places = range(len(guesses))
    shares = [100 * guess.probability for guess in guesses]
    ax.barh(places, 100, 0.86, color="#F0F0F0")  # how long a bar can be
    ax.barh(places, shares, 0.86, color=COLOURS["patch"], alpha=0.4)
    for place, guess in zip(places, guesses, strict=True):
        name = shorten(printable(guess.name), most)
        text = ax.text(2, place, name, va="center_baseline", fontsize=8)
        text.set(parse_math=False, clip_on=True)
    ax.set_yticks(places, [f"{share:.1f} %" for share in shares], fontsize=8)
    ax.set(xlim=(0, 100), xticks=())
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)


def shorten(text: str, most: int, keep_end: bool = False) -> str:
    """Cut a text to at most so many characters, with three dots for the rest."""
    if len(text) <= most:
        return text
    return "…" + text[1 - most :] if keep_end else text[: most - 1] + "…"
