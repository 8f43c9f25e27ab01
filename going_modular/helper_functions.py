"""Plots in the project's one style, under one name: call `use_style()` first.

Every function draws and returns its figure; the caller shows or saves it.
"""

from going_modular.explorer.picture import plot_explanation
from going_modular.plots.attention import (
    plot_attention_over_image,
    plot_layers_by_heads,
    plot_maps_of_images,
)
from going_modular.plots.images import (
    plot_channel_histograms,
    plot_classes,
    plot_images,
    plot_patch_grid,
    plot_patch_row,
    plot_windows,
)
from going_modular.plots.inspection import (
    plot_attention_distance,
    plot_deletion_curves,
    plot_figure_7,
    plot_position_similarity,
)
from going_modular.plots.matrices import (
    plot_attention_maps,
    plot_cosine_maps,
    plot_heatmap,
    plot_heatmaps,
)
from going_modular.plots.numbers import (
    plot_bars,
    plot_lines,
    plot_score_scaling,
    plot_shares,
    plot_through_depth,
)
from going_modular.plots.predictions import plot_predictions
from going_modular.plots.results import (
    plot_confusion_matrix,
    plot_loss_curves,
    plot_parts_off,
)
from going_modular.plots.style import (
    COLOURS,
    WIDTH,
    to_picture,
    use_style,
)

__all__ = [
    "COLOURS",
    "WIDTH",
    "plot_attention_distance",
    "plot_attention_maps",
    "plot_attention_over_image",
    "plot_bars",
    "plot_channel_histograms",
    "plot_classes",
    "plot_confusion_matrix",
    "plot_cosine_maps",
    "plot_deletion_curves",
    "plot_explanation",
    "plot_figure_7",
    "plot_heatmap",
    "plot_heatmaps",
    "plot_images",
    "plot_layers_by_heads",
    "plot_lines",
    "plot_loss_curves",
    "plot_maps_of_images",
    "plot_parts_off",
    "plot_patch_grid",
    "plot_patch_row",
    "plot_position_similarity",
    "plot_predictions",
    "plot_score_scaling",
    "plot_shares",
    "plot_through_depth",
    "plot_windows",
    "to_picture",
    "use_style",
]
