"""Draw the picture at the head of README.

python tools/make_figures.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from going_modular.data_setup import load_photo, normalise
from going_modular.helper_functions import (
    COLOURS,
    plot_patch_grid,
    to_picture,
    use_style,
)
from going_modular.patch_embedding import patchify, unpatchify
from going_modular.plots.style import save_figure

OUTPUT = Path(__file__).parents[1] / "images/overview.png"
PATCH = 16
SHOWN = range(73, 81)  # patches of the row that holds the cat's eyes


def draw_patches(ax: Axes, patches: torch.Tensor) -> None:
    """Show (n, P*P*C) patches side by side, as they stand in the sequence."""
    for i, patch in enumerate(patches):
        picture = to_picture(unpatchify(patch[None, None], PATCH, (1, 1))[0])
        ax.imshow(picture, extent=(i + 1.1, i + 1.9, 0.1, 0.9))
    ax.text(0.95, 0.5, "...", ha="right", va="center")
    ax.text(len(patches) + 1.1, 0.5, "...", va="center")


def draw_tokens(ax: Axes, count: int) -> None:
    """Show a box for the class token and each patch's token, numbered."""
    for i in range(count + 1):
        colour = COLOURS["patch"] if i else COLOURS["class"]
        ax.add_patch(Rectangle((i + 0.1, 0), 0.8, 0.62, color=colour))
        ax.add_patch(Rectangle((i + 0.1, 0.68), 0.8, 0.3, color=COLOURS["position"]))
        name = f"$x_p^{{{SHOWN[i - 1] + 1}}}E$" if i else "class"
        ax.text(
            i + 0.5, 0.31, name, ha="center", va="center", color="white", fontsize=8
        )
        number = SHOWN[i - 1] + 1 if i else 0
        ax.text(
            i + 0.5, 0.83, number, ha="center", va="center", color="white", fontsize=7
        )


def main() -> None:
    use_style()
    photo = load_photo("chelsea")
    patches = patchify(normalise(photo)[None], PATCH)[0, list(SHOWN)]
    fig = plt.figure(figsize=(7, 2.9))
    left, right = fig.subfigures(1, 2, width_ratios=(1, 1.7))
    ax = left.subplots()
    plot_patch_grid(photo, PATCH, ax)
    ax.set(title="196 patches of 16 x 16 pixels", xlabel="", ylabel="")
    ax.axis("off")
    rows = right.subplots(2, 1)
    titles = (
        "the patches in a row",
        "what the encoder reads (Equation 1): a class token in front,\n"
        "each patch times the matrix E, a position (green) added to each",
    )
    for ax, title in zip(rows, titles, strict=True):
        ax.set_title(title, fontsize=9)
    draw_patches(rows[0], patches)
    draw_tokens(rows[1], len(SHOWN))
    for ax in rows:
        ax.set(xlim=(0, len(SHOWN) + 1.5), ylim=(-0.05, 1.05), aspect="equal")
        ax.axis("off")
    save_figure(fig, OUTPUT, dpi=150)
    print(OUTPUT.name)


if __name__ == "__main__":
    main()
