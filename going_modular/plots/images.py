"""Pictures of images and of their patches."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from going_modular.plots.style import WIDTH, to_picture
from going_modular.system.text import printable

__all__ = [
    "plot_channel_histograms",
    "plot_classes",
    "plot_images",
    "plot_patch_grid",
]


def plot_images(
    images: Sequence[Tensor] | Tensor, titles: Sequence[str] = (), columns: int = 8
) -> Figure:
    """Show (C, H, W) images in rows, with a title above each."""
    rows = -(-len(images) // columns)
    widths = [image.shape[2] / image.shape[1] for image in images[:columns]]
    widths += [1] * (columns - len(widths))  # relative to the row's height
    height = WIDTH / sum(widths) * rows * (1.35 if titles else 1)
    fig, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, height), width_ratios=widths, squeeze=False
    )
    for ax in axes.flat:
        ax.axis("off")
    for i, (ax, image) in enumerate(zip(axes.flat, images, strict=False)):
        ax.imshow(to_picture(image))
        if i < len(titles):
            size = 9 if columns <= 5 else 7
            ax.set_title(titles[i], fontsize=size, parse_math=False)  # of any kind
    return fig


def plot_channel_histograms(views: Mapping[str, Tensor]) -> Figure:
    """Show how often each value occurs in the channels of RGB images.

    Args:
        views: A title for each (3, H, W) image.
    """
    fig, axes = plt.subplots(1, len(views), figsize=(WIDTH, 2.6), sharey=True)
    channels = (("red", "-"), ("green", "--"), ("blue", ":"))
    for ax, (title, image) in zip(axes, views.items(), strict=True):
        bins = np.linspace(image.min().item(), image.max().item(), 33)
        for plane, (name, style) in zip(image, channels, strict=True):
            counts, edges = np.histogram(plane.cpu().numpy(), bins)
            ax.stairs(counts / 1000, edges, color=name, linestyle=style, label=name)
        ax.set(title=title, xlabel="pixel value")
    axes[0].set_ylabel("thousands of pixels")
    axes[0].legend()
    return fig


def plot_classes(parts: Mapping) -> Figure:
    """Show eight images of each class beside bars of how many each class has.

    Args:
        parts: One or two of `ImageSet`, by name; the pictures come from the first.
    """
    data = next(iter(parts.values()))
    K, _, height, width = len(data.class_names), *data.images.shape[1:]
    sheet = data.images.new_zeros(data.images.shape[1], K * height, 8 * width)
    for label in range(K):
        for column, image in enumerate(data.images[data.labels == label][:8]):
            x, y = column * width, label * height
            sheet[:, y : y + height, x : x + width] = image
    size = (WIDTH, max(2, 0.4 * K))
    fig, (left, right) = plt.subplots(1, 2, figsize=size, width_ratios=[1, 1.2])
    left.imshow(to_picture(sheet), aspect="auto")
    places = (np.arange(K) + 0.5) * height - 0.5
    left.set_yticks(places, map(printable, data.class_names), parse_math=False)
    left.set(xticks=[], title=f"eight of each class ({next(iter(parts))})")
    for i, (name, part) in enumerate(parts.items()):
        counts = part.labels.bincount(minlength=K)
        colour = ("#808080", "black")[i]
        places = np.arange(K) + 0.4 * i - 0.2
        bars = right.barh(places, counts, 0.4, color=colour, label=name)
        right.bar_label(bars, padding=2, fontsize=8)
    right.set(xlabel="images", yticks=[], ylim=(K - 0.5, -0.5))
    right.set_title("class balance", loc="left")
    right.margins(x=0.1)
    right.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)
    return fig


def plot_patch_grid(image: Tensor, patch_size: int, ax: Axes | None = None) -> Figure:
    """Show a (C, H, W) image with the borders of its patches drawn over it."""
    ax = ax or plt.subplots(figsize=(4, 4))[1]
    height, width = image.shape[1:]
    ax.imshow(to_picture(image))
    for y in range(0, height + 1, patch_size):
        ax.axhline(y - 0.5, color="white", linewidth=0.8)
    for x in range(0, width + 1, patch_size):
        ax.axvline(x - 0.5, color="white", linewidth=0.8)
    ax.set(xlabel="pixel column", ylabel="pixel row")
    return ax.figure
