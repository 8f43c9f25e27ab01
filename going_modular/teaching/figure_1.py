"""The paper's figure 1, drawn with the patches of a real photo.

Every notebook shows it with the part lit that it builds, and the shapes that go in and
come out.
"""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from torch import Tensor

from going_modular.config import ViTConfig
from going_modular.plots.style import COLOURS, WIDTH, to_picture

__all__ = ["PARTS", "draw_figure_1"]

PARTS = ("image", "embedding", "attention", "mlp", "encoder", "head", "training")
# What boxes are filled with; those of patches, class token and positions are outlined
# in the full colour, which is theirs in every notebook.
FILLS = {
    "patch": "#CFE5F2",
    "class": "#F8DCC8",
    "position": "#C7E8DD",
    "block": "#F2F2F2",
    "layer": "white",
}
DARK, GREY, PALE = "#222222", "#767676", "#B5B5B5"  # lit, and words and lines not lit
SIDE = 3  # patches in a row of the drawing, as in the paper's figure


class Drawing:
    """An axes on which parts are drawn in full colour if lit, and in grey if not."""

    def __init__(self, ax: Axes, lit: set[str]):
        self.ax, self.lit = ax, lit

    def colour(self, part: str, unlit: str = PALE) -> str:
        return DARK if part in self.lit else unlit

    def box(self, part: str, text: str, left, bottom, width, height, fill="layer"):
        """A rounded box with a text in its middle."""
        lit = part in self.lit
        patch = FancyBboxPatch(
            (left, bottom), width, height, boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=FILLS[fill] if lit else "white",
            edgecolor=COLOURS.get(fill, DARK) if lit else PALE,
            linewidth=1.6 if lit else 0.9,
        )  # fmt: skip
        self.ax.add_patch(patch)
        x, y = left + width / 2, bottom + height / 2
        self.text(part, text, x, y)

    def text(self, part: str, text: str, x, y, side="center", **options):
        options = {"fontsize": 9, "color": self.colour(part, GREY)} | options
        self.ax.text(x, y, text, ha=side, va="center", **options)

    def arrow(self, part: str, *points: tuple[float, float]):
        """A line through points, with its head at the last."""
        colour, (*way, end) = self.colour(part), points
        if len(way) > 1:
            self.ax.plot(*zip(*way, strict=True), color=colour, linewidth=1)
        style = {"arrowstyle": "->", "color": colour, "shrinkA": 0, "shrinkB": 0}
        self.ax.annotate("", end, way[-1], arrowprops=style)

    def picture(self, part: str, image, left, bottom, side):
        extent = (left, left + side, bottom, bottom + side)
        alpha = 1 if part in self.lit else 0.35
        self.ax.imshow(image, extent=extent, alpha=alpha, zorder=2)


def draw_figure_1(
    photo: Tensor,
    lit: str | None = None,
    config: ViTConfig | None = None,
    batch_size: int = 2,
    guess: str = "class",
) -> Figure:
    """Draw the whole Vision Transformer, from a photo to its class.

    Args:
        photo: (3, S, S) uint8 or floats from -1 to 1; cut into 3 x 3 patches, as in
            the paper.
        lit: The one of `PARTS` to draw in colour; all where it is None.
        config: A model whose shapes are written beside the parts, for a batch of
            `batch_size`; letters where it is None.
        batch_size: Of these shapes.
        guess: What the head says.

    Raises:
        ValueError: There is no such part.

    Source: ViT paper, figure 1.
    """
    if lit not in (None, *PARTS):
        raise ValueError(f"lit must be one of {', '.join(PARTS)}, not {lit!r}")
    shown = {"attention", "mlp"} if lit == "encoder" else set()
    shown |= {lit} if lit else set(PARTS)
    fig, ax = plt.subplots(figsize=(WIDTH, 5.2))
    drawing = Drawing(ax, shown)
    shapes = shapes_of(config, batch_size)
    draw_image(drawing, to_picture(photo), shapes)
    draw_embedding(drawing, shapes)
    draw_stack(drawing, shapes)
    draw_end(drawing, shapes, guess)
    draw_block(drawing)
    ax.set(xlim=(0, 14), ylim=(-0.35, 10.05), aspect="equal")
    ax.axis("off")
    return fig


def shapes_of(config: ViTConfig | None, batch_size: int) -> dict[str, str]:
    """The shape of each step, in letters or in a model's numbers."""
    if config is None:
        return {
            "x": "(B, C, H, W)",
            "x_p": "(B, N, P²C)",
            "z": "(B, T, D)",
            "y": "(B, D)",
            "logits": "(B, K)",
        }
    B, c = batch_size, config
    sizes = {
        "x": (B, c.in_channels, *c.image_shape),
        "x_p": (B, c.num_patches, c.patch_dim),
        "z": (B, c.num_tokens, c.embedding_dim),
        "y": (B, c.embedding_dim),
        "logits": (B, c.num_classes),
    }
    return {name: str(shape) for name, shape in sizes.items()}


# Where the tokens stand: token i's left edge, and its width.
def token_left(i: int) -> float:
    return 0.45 + 0.86 * i


TOKEN = 0.66


def draw_image(drawing: Drawing, picture, shapes: dict[str, str]) -> None:
    """The photo, cut into patches that stand in a row."""
    step = picture.shape[0] // SIDE
    for i in range(SIDE * SIDE):
        row, column = divmod(i, SIDE)
        patch = picture[row * step : (row + 1) * step, column * step :][:, :step]
        left, bottom = 10.2 + 0.86 * column, 1.66 - 0.86 * row
        drawing.picture("image", patch, left, bottom, 0.8)
        drawing.picture("embedding", patch, token_left(i + 1), 0.75, TOKEN)
        centre = token_left(i + 1) + TOKEN / 2
        drawing.arrow("embedding", (centre, 1.48), (centre, 1.95))
    drawing.arrow("image", (10.1, 1.08), (9.35, 1.08))
    drawing.text("image", f"image x  {shapes['x']}", 11.45, -0.35)
    drawing.text("embedding", f"patches $x_p$  {shapes['x_p']}", 5, 0.4)


def draw_embedding(drawing: Drawing, shapes: dict[str, str]) -> None:
    """Equation 1: projection, class token in front, positions added."""
    left = token_left(1) - 0.1
    drawing.box(
        "embedding", "linear projection E", left, 1.95, 9.1 - left, 0.55, "patch"
    )
    for i in range(SIDE * SIDE + 1):
        x, kind = token_left(i), "patch" if i else "class"
        centre = x + TOKEN / 2
        if i:
            drawing.arrow("embedding", (centre, 2.5), (centre, 2.85))
        drawing.box("embedding", "" if i else "*", x, 2.85, TOKEN, 0.55, kind)
        drawing.box("embedding", str(i), x, 3.4, TOKEN, 0.5, "position")
        drawing.arrow("embedding", (centre, 3.9), (centre, 4.35))
    drawing.text("embedding", "class\ntoken", 0.58, 2.3)
    drawing.text("embedding", f"+ positions\n$z_0$  {shapes['z']}", 9.3, 3.4, "left")


def draw_stack(drawing: Drawing, shapes: dict[str, str]) -> None:
    """The encoder from outside: as many tokens come out as go in."""
    right = token_left(SIDE * SIDE) + TOKEN
    text = "Transformer encoder: L such blocks"
    drawing.box("encoder", text, 0.3, 4.35, right - 0.15, 1.15, "block")
    for i in range(SIDE * SIDE + 1):
        centre = token_left(i) + TOKEN / 2
        part = "encoder" if i else "head"
        drawing.arrow(part, (centre, 5.5), (centre, 5.95 if i else 6.5))
        if i:
            x, fill = token_left(i), "patch"
            drawing.box("encoder", "", x, 5.95, TOKEN, 0.5, fill)
    drawing.text("encoder", f"$z_L$  {shapes['z']}", 5.2, 6.75)


def draw_end(drawing: Drawing, shapes: dict[str, str], guess: str) -> None:
    """Equation 4, the head, and in training the loss."""
    centre = token_left(0) + TOKEN / 2
    drawing.box("head", "LN", 0.3, 6.5, 1, 0.55, "class")
    drawing.arrow("head", (centre, 7.05), (centre, 7.5))
    drawing.text("head", f"y  {shapes['y']}", 1.0, 7.28, "left")
    drawing.box("head", "head", 0.3, 7.5, 1.3, 0.55, "class")
    drawing.arrow("head", (1.6, 7.78), (2.35, 7.78))
    drawing.text("head", f"“{guess}”\nlogits {shapes['logits']}", 2.45, 7.78, "left")
    drawing.arrow("training", (centre, 8.05), (centre, 8.75))
    drawing.box("training", "loss", 0.3, 8.75, 1.3, 0.55, "layer")
    drawing.arrow("training", (2.35, 9.03), (1.6, 9.03))
    drawing.text("training", "true class", 2.45, 9.03, "left")


def draw_block(drawing: Drawing) -> None:
    """One block from inside: Equation 2 below, Equation 3 above."""
    left, x, width = 9.75, 11.15, 1.5
    middle = x + width / 2
    frame = FancyBboxPatch(
        (left, 4.35), 4.1, 5.6, boxstyle="round,pad=0,rounding_size=0.12",
        facecolor="none", edgecolor=drawing.colour("encoder"), linewidth=1,
    )  # fmt: skip
    drawing.ax.add_patch(frame)
    drawing.text("encoder", "one block", 10.0, 9.7, "left")
    for top in ((5.5, 9.95), (4.35, 4.35)):
        ends = ([9.1, left], top)
        drawing.ax.plot(*ends, ":", color=drawing.colour("encoder"), linewidth=1)
    rows = (("attention", "MSA", 4.75, "Eq. 2"), ("mlp", "MLP", 7.2, "Eq. 3"))
    for part, name, base, equation in rows:
        drawing.arrow(part, (middle, base - 0.32), (middle, base))
        drawing.box(part, "LN", x, base, width, 0.5, "layer")
        drawing.arrow(part, (middle, base + 0.5), (middle, base + 0.8))
        drawing.box(part, name, x, base + 0.8, width, 0.5, "block")
        drawing.arrow(part, (middle, base + 1.3), (middle, base + 1.6))
        drawing.text(part, "+", middle, base + 1.78, fontsize=13)
        way = [(middle, base - 0.16), (10.55, base - 0.16), (10.55, base + 1.78)]
        drawing.arrow(part, *way, (middle - 0.2, base + 1.78))
        drawing.text(part, equation, 13.3, base + 1.05)
    drawing.arrow("mlp", (middle, 9.15), (middle, 9.55))
    drawing.text("attention", "residual", 10.42, 5.7, rotation=90)
    drawing.text("mlp", "residual", 10.42, 8.15, rotation=90)
