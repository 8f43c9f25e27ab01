"""Plots in the project's one style: call `use_style()` first in a notebook.

Every function draws and returns its figure; the caller shows or saves it.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

__all__ = [
    "COLOURS",
    "plot_attention_maps",
    "plot_bars",
    "plot_channel_histograms",
    "plot_classes",
    "plot_confusion_matrix",
    "plot_cosine_maps",
    "plot_heatmap",
    "plot_heatmaps",
    "plot_images",
    "plot_lines",
    "plot_loss_curves",
    "plot_patch_grid",
    "plot_patch_row",
    "plot_score_scaling",
    "plot_shares",
    "plot_through_depth",
    "plot_windows",
    "to_picture",
    "use_style",
]

# Told apart with any colour vision. Query and key are pale: fill and outline them.
COLOURS = {
    "patch": "#0072B2",
    "class": "#D55E00",
    "position": "#009E73",
    "query": "#E69F00",
    "key": "#56B4E9",
    "value": "#CC79A7",
    "scratch": "black",
    "transfer": "#808080",
}
WIDTH = 7  # inches, of every figure


def use_style() -> None:
    """Set matplotlib's defaults to the project's style."""
    plt.rcParams.update(
        {
            "figure.figsize": (WIDTH, 3),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "font.size": 9,
            "axes.titlesize": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "image.cmap": "viridis",
            "image.interpolation": "nearest",
            "legend.frameon": False,
        }
    )


def to_picture(image: Tensor) -> np.ndarray:
    """Turn a (C, H, W) image, bytes or floats -1..1, into (H, W, 3) floats 0..1."""
    image = image.detach().cpu()
    image = image / 255 if not image.is_floating_point() else (image + 1) / 2
    picture = image.clamp(0, 1).permute(1, 2, 0).numpy()  # (H, W, C)
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture


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
            ax.set_title(titles[i], fontsize=7)
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
        parts: One or two `ImageSet`s by name; the pictures come from the first.
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
    left.set_yticks((np.arange(K) + 0.5) * height - 0.5, data.class_names)
    left.set(xticks=[], title=f"eight of each class ({next(iter(parts))})")
    for i, (name, part) in enumerate(parts.items()):
        counts = part.labels.bincount(minlength=K)
        colour = COLOURS[("patch", "class")[i]]
        places = np.arange(K) + 0.4 * i - 0.2
        bars = right.barh(places, counts, 0.4, color=colour, label=name)
        right.bar_label(bars, padding=2, fontsize=7)
    right.set(xlabel="images", yticks=[], ylim=(K - 0.5, -0.5))
    right.set_title("class balance", loc="left")
    right.margins(x=0.1)
    right.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)
    return fig


def plot_windows(image: Tensor, windows: Tensor, views: Tensor) -> Figure:
    """Show windows as outlines on their image, and what is seen through them.

    Args:
        image: (C, H, W).
        windows: (n, 2, 3), as `data_setup.random_windows` gives them; n up to 4.
        views: (n, C, H, W): the windows, stretched to the image's size.
    """
    fig, axes = plt.subplots(1, len(windows) + 1, figsize=(WIDTH, 1.8))
    height, width = image.shape[1:]
    axes[0].imshow(to_picture(image))
    axes[0].set_title("the image", fontsize=8)
    colours = ("#E69F00", "#56B4E9", "black", "#CC79A7")
    outlined = zip(axes[1:], windows, views, colours, strict=False)
    for ax, window, view, colour in outlined:
        (w, _, x), (_, h, y) = window.tolist()
        outline = dict(fill=False, color=colour, linewidth=2)
        corner = (width / 2 * (1 + x - abs(w)), height / 2 * (1 + y - h))
        size = (width * abs(w), height * h)
        axes[0].add_patch(Rectangle(corner, *size, **outline))
        ax.imshow(to_picture(view))
        ax.add_patch(Rectangle((0, 0), 1, 1, transform=ax.transAxes, **outline))
        mirrored = ", mirrored" if w < 0 else ""
        ax.set_title(f"{abs(w) * h:.0%}{mirrored}", fontsize=8)
    for ax in axes:
        ax.axis("off")
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


def plot_patch_row(image: Tensor, patch_size: int, row: int) -> Figure:
    """Show a (C, H, W) image under its patch grid, and one grid row as a strip.

    Args:
        image: (C, H, W) bytes or floats -1..1.
        patch_size: Patch side P, in pixels.
        row: The grid row to outline and to show, from 0; its patches are numbered
            over the whole grid, from 1.
    """
    P, columns = patch_size, image.shape[2] // patch_size
    fig = plt.figure(figsize=(WIDTH, 4.8))
    grid = fig.add_gridspec(2, columns, height_ratios=(7, 1))
    ax = fig.add_subplot(grid[0, :])
    plot_patch_grid(image, P, ax)
    outline = plt.Rectangle(
        (-0.5, row * P - 0.5), columns * P, P,
        fill=False, edgecolor=COLOURS["patch"], linewidth=3, zorder=3,
    )  # fmt: skip
    ax.add_patch(outline)
    for i in range(columns):
        ax = fig.add_subplot(grid[1, i])
        patch = image[:, row * P : (row + 1) * P, i * P : (i + 1) * P]  # (C, P, P)
        ax.imshow(to_picture(patch))
        ax.set_title(row * columns + i + 1, fontsize=8)
        ax.axis("off")
    return fig


def plot_attention_maps(
    images: Sequence[Tensor],
    maps: Tensor,
    columns: int,
    label: str,
    query: tuple[int, int] | None = None,
    greatest: float | None = None,
) -> Figure:
    """Show each image, followed by one map a head, with one colour bar for all.

    Args:
        images: n images, (C, H, W).
        maps: (n, nh, rows, columns) values on the grid of patches.
        columns: Panels in a row.
        label: What the colours are.
        query: Row and column of a patch to mark in every panel, or None.
        greatest: Value at the top of the colour bar; the greatest of all if None.
    """
    maps = maps.detach().cpu()
    greatest = greatest or maps.max().item()
    n, nh, grid_rows, grid_columns = maps.shape
    rows = -(-n * (nh + 1) // columns)
    fig, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, WIDTH / (columns + 0.8) * rows * 1.15)
    )
    for ax in axes.flat:
        ax.set_axis_off()
    for i, ax in zip(range(n * (nh + 1)), axes.flat, strict=False):
        image, head = divmod(i, nh + 1)
        height, width = images[image].shape[1:]
        extent = (0, width, height, 0)
        if head == 0:
            ax.imshow(to_picture(images[image]), extent=extent)
        else:
            values = maps[image, head - 1]
            shown = ax.imshow(values, vmin=0, vmax=greatest, extent=extent)
        if image == 0:
            ax.set_title(f"head {head}" if head else "image", fontsize=8)
        if query is not None:
            step_y, step_x = height / grid_rows, width / grid_columns
            place = (query[1] * step_x, query[0] * step_y)
            ax.add_patch(
                Rectangle(place, step_x, step_y, fill=False, color="white", linewidth=1)
            )
    above = "max" if greatest < maps.max() else "neither"
    fig.colorbar(shown, ax=axes, label=label, extend=above)
    return fig


def plot_cosine_maps(
    image: Tensor, maps: Mapping[str, Tensor], mark: tuple[int, int]
) -> Figure:
    """Show an image, and maps of how its patches' tokens lie to a marked patch's.

    Args:
        image: (C, H, W) image.
        maps: (rows, columns) cosines on the grid of patches, by title.
        mark: Row and column of the patch that all are compared with.
    """
    fig, axes = plt.subplots(1, len(maps) + 1, figsize=(WIDTH, 1.8))
    rows, columns = next(iter(maps.values())).shape
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    axes[0].imshow(to_picture(image), extent=extent)
    for ax, (title, cosines) in zip(axes[1:], maps.items(), strict=True):
        shown = ax.imshow(cosines.detach().cpu(), cmap="RdBu_r", vmin=-1, vmax=1)
        ax.set_title(title, fontsize=8)
    for ax in axes:
        colour = "white" if ax is axes[0] else "black"
        ax.plot(mark[1], mark[0], "s", fillstyle="none", color=colour, markersize=5)
        ax.set_axis_off()
    fig.colorbar(shown, ax=axes, label="cosine with\nthe marked patch")
    return fig


def plot_heatmap(
    matrix: Tensor,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    label: str = "",
    kind: str = "magnitude",
    ax: Axes | None = None,
    numbers: bool = False,
) -> Figure:
    """Show a matrix as colours, with a labelled colour bar.

    Args:
        matrix: (rows, columns) values.
        title: Title of the panel.
        xlabel: What the columns are.
        ylabel: What the rows are.
        label: What the colours are.
        kind: "magnitude" (viridis), "probability" (cividis from 0 to 1) or "signed"
            (red and blue around 0).
        ax: Where to draw.
        numbers: Write each value into its cell.
    """
    ax = ax or plt.subplots()[1]
    values = matrix.detach().cpu().float().numpy()
    greatest = np.abs(values).max() or 1
    style = {
        "magnitude": dict(cmap="viridis"),
        "probability": dict(cmap="cividis", vmin=0, vmax=1),
        "signed": dict(cmap="RdBu_r", vmin=-greatest, vmax=greatest),
    }[kind]
    picture = ax.imshow(values, aspect="auto", **style)
    ax.set(title=title, xlabel=xlabel, ylabel=ylabel)
    for axis in (ax.xaxis, ax.yaxis):
        axis.get_major_locator().set_params(integer=True)
    ax.spines[:].set_visible(False)
    ax.figure.colorbar(picture, ax=ax, label=label)
    if numbers:
        for (row, column), value in np.ndenumerate(values):
            background = picture.cmap(picture.norm(value))
            dark = np.dot(background[:3], (0.299, 0.587, 0.114)) < 0.5
            ax.text(
                column, row, f"{value:.3g}", ha="center", va="center",
                color="white" if dark else "black", fontsize=7,
            )  # fmt: skip
    return ax.figure


def plot_heatmaps(
    matrices: Mapping[str, Tensor], xlabel: str, ylabel: str, label: str
) -> Figure:
    """Show square matrices of signed values side by side, with one colour bar.

    Args:
        matrices: (n, n) values, by the panel's title; values that are not a number
            stay white.
        xlabel: What the columns are; empty for pictures that need no numbered axes.
        ylabel: What the rows are.
        label: What the colours are.
    """
    panels = {title: m.detach().cpu().float().numpy() for title, m in matrices.items()}
    greatest = max(np.nanmax(np.abs(values)) for values in panels.values())
    width = WIDTH - 1.2  # the colour bar takes the rest
    fig, axes = plt.subplots(
        1, len(panels), sharey=True, squeeze=False,
        figsize=(WIDTH, width / len(panels) + (0.6 if xlabel else 0.2)),
    )  # fmt: skip
    for ax, (title, values) in zip(axes.flat, panels.items(), strict=True):
        picture = ax.imshow(values, cmap="RdBu_r", vmin=-greatest, vmax=greatest)
        ax.set(title=title, xlabel=xlabel)
        ax.spines[:].set_visible(False)
        if not xlabel:
            ax.set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel(ylabel)
    fig.colorbar(picture, ax=axes, label=label)
    return fig


def plot_lines(
    x: Tensor,
    lines: Mapping[str, Tensor],
    xlabel: str,
    ylabel: str,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw up to four named curves over x; more than one get a legend.

    Args:
        x: (n,) places.
        lines: (n,) values of each curve, by its name.
        xlabel: What x is.
        ylabel: What the values are.
        title: Title of the panel.
        ax: Where to draw.
    """
    ax = ax or plt.subplots()[1]
    colours = [COLOURS[name] for name in ("patch", "class", "position", "value")]
    styles = zip(colours, ("-", "--", "-.", ":"), strict=True)
    for (name, y), (colour, style) in zip(lines.items(), styles, strict=False):
        ax.plot(x.detach(), y.detach(), style, color=colour, label=name)
    ax.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if len(lines) > 1:
        ax.legend()
    return ax.figure


def plot_bars(
    panels: Mapping[str, Mapping[str, float]], xlabels: Sequence[str], form: str = "%.3g"
) -> Figure:
    """Draw named numbers as horizontal bars, in panels that share the names.

    Args:
        panels: For each panel, by its title, the number of each name.
        xlabels: What the numbers of each panel are, with their unit.
        form: How a number is written beside its bar.
    """
    rows = len(next(iter(panels.values())))
    fig, axes = plt.subplots(
        1, len(panels), sharey=True, squeeze=False, figsize=(WIDTH, 0.8 + 0.26 * rows)
    )
    columns = zip(axes.flat, panels.items(), xlabels, strict=True)
    for ax, (title, numbers), xlabel in columns:
        bars = ax.barh(list(numbers), list(numbers.values()), color=COLOURS["patch"])
        ax.bar_label(bars, fmt=form, padding=3, fontsize=8)
        greatest = max(numbers.values()) or 1
        ax.set(title=title, xlabel=xlabel, xlim=(0, 1.25 * greatest))
    axes[0, 0].invert_yaxis()
    return fig


def plot_shares(counts: Mapping[str, Mapping[str, int]]) -> Figure:
    """Draw, one bar a model, the share of its parameters that sits in each part.

    Args:
        counts: For each model what `going_modular.config.count_parameters` gives.
    """
    colours = {
        "patch embedding": COLOURS["patch"], "class token": COLOURS["class"],
        "positions": COLOURS["position"], "attention": COLOURS["query"],
        "MLP": "#DDDDDD", "LayerNorm": "black", "pre-training layer": "#808080",
        "head": "white",
    }  # fmt: skip
    fig, ax = plt.subplots(figsize=(WIDTH, 0.8 + 0.5 * len(counts)))
    left = np.zeros(len(counts))
    for part, colour in colours.items():
        if not any(c[part] for c in counts.values()):
            continue
        shares = [100 * c[part] / sum(c.values()) for c in counts.values()]
        bars = ax.barh(list(counts), shares, left=left, color=colour, label=part,
                       edgecolor="black", linewidth=0.5)  # fmt: skip
        left += shares
        if part in ("attention", "MLP"):
            ax.bar_label(bars, fmt="%.0f %%", label_type="center")
    ax.set(xlabel="share of the parameters (%)", ylabel="model", xlim=(0, 100))
    ax.invert_yaxis()
    fig.legend(loc="outside upper center", ncols=7, fontsize=7.5, columnspacing=1)
    return fig


def plot_loss_curves(results: pd.DataFrame | Mapping[str, Sequence[float]]) -> Figure:
    """Draw loss and accuracy of each epoch, in training and on the test images.

    Args:
        results: One row an epoch with train_loss, train_acc, test_loss and test_acc
            (accuracies from 0 to 1): a DataFrame, or a dictionary of lists.

    Raises:
        ValueError: A column is missing, or there is no epoch.
    """
    if not isinstance(results, pd.DataFrame | Mapping):
        kind = type(results).__name__
        raise ValueError(f"these are no training results, but a {kind}")
    results = pd.DataFrame(results)
    needed = ["train_loss", "train_acc", "test_loss", "test_acc"]
    missing = [column for column in needed if column not in results]
    if missing or results.empty:
        problem = f"no column {', '.join(missing)}" if missing else "no epoch"
        raise ValueError(f"these are no training results: {problem}")
    epochs = np.arange(1, len(results) + 1)
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3))
    for ax, quantity, name in zip(axes, ("loss", "acc"), ("Loss", "Accuracy"), strict=True):
        scale = 100 if quantity == "acc" else 1
        for part, style in (("train", "--"), ("test", "-")):
            curve = results[f"{part}_{quantity}"] * scale
            ax.plot(epochs, curve, style, color=COLOURS["scratch"], label=part,
                    marker="o" if len(epochs) == 1 else None)  # fmt: skip
        unit = "percent of images" if quantity == "acc" else "cross-entropy"
        ax.set(title=name, xlabel="epoch", ylabel=unit)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
    return fig


def plot_confusion_matrix(
    labels: Tensor, predictions: Tensor, class_names: Sequence[str]
) -> Figure:
    """Show which share of each class's images was taken for which class.

    Args:
        labels: (n,) true classes.
        predictions: (n,) predicted classes.
        class_names: One name a class.
    """
    K = len(class_names)
    counts = np.zeros((K, K))
    np.add.at(counts, (labels.cpu().numpy(), predictions.cpu().numpy()), 1)
    shares = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
    fig, ax = plt.subplots(figsize=(WIDTH, WIDTH * 0.8))
    picture = ax.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    ticks = range(K)
    ax.set_xticks(ticks, class_names, rotation=45, ha="right")
    ax.set_yticks(ticks, class_names)
    ax.set(xlabel="predicted class", ylabel="true class")
    fig.colorbar(picture, ax=ax, label="share of the true class's images")
    if K <= 20:
        for (row, column), share in np.ndenumerate(shares):
            if counts[row, column]:
                ax.text(
                    column, row, f"{100 * share:.0f}", ha="center", va="center",
                    color="black" if share > 0.5 else "white", fontsize=7,
                )  # fmt: skip
    return fig


def plot_through_depth(runs: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw quantities measured at each block, one panel a quantity, one line a run.

    Args:
        runs: For each run, by its name, the quantities by theirs. A list may begin
            at block 0, the input, or at block 1; all end at the last block.
    """
    quantities = list(next(iter(runs.values())))
    depth = max(len(v) for run in runs.values() for v in run.values()) - 1
    fig, axes = plt.subplots(1, len(quantities), figsize=(WIDTH, 3), squeeze=False)
    for ax, quantity in zip(axes.flat, quantities, strict=True):
        for (name, run), style in zip(runs.items(), ("-", "--", ":"), strict=False):
            values = run[quantity]
            blocks = range(depth + 1 - len(values), depth + 1)
            ax.semilogy(blocks, values, style, color="black", label=name)
        ax.set(ylabel=quantity, xlabel="block", xlim=(0, depth))
        ax.xaxis.get_major_locator().set_params(integer=True)
    lines, names = axes.flat[0].get_legend_handles_labels()
    fig.legend(lines, names, loc="outside upper center", ncols=len(runs))
    return fig


def plot_score_scaling(
    widths: Sequence[int], variances: Sequence[float], scores: Tensor, width: int
) -> Figure:
    """Show what division by the root of the head width does to scores and weights.

    Args:
        widths: Head widths.
        variances: Variance of unscaled dot products at each of them.
        scores: (T,) unscaled scores of one query.
        width: The head width of that query.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.8))
    scaled = [v / w for v, w in zip(variances, widths, strict=True)]
    root = r"$q \cdot k / \sqrt{D_h}$"
    left.loglog(widths, variances, "o--", color="#808080", label=r"$q \cdot k$")
    left.loglog(widths, scaled, "o-", color="black", label=root)
    left.set(xlabel="head width $D_h$", ylabel="variance of the scores")
    left.set_xticks(widths, widths)
    left.minorticks_off()
    left.legend()
    for values, style, colour in (
        (scores, "o--", "#808080"),
        (scores / width**0.5, "o-", "black"),
    ):
        weights = values.softmax(dim=0).sort(descending=True).values[:20]
        right.semilogy(range(1, 21), weights, style, color=colour, markersize=3)
    right.set(
        xlabel=f"token, sorted by weight (20 of {len(scores)})",
        ylabel="attention weight",
        xticks=(1, 5, 10, 15, 20),
    )
    return fig
