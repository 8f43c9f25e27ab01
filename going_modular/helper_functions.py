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
)
from going_modular.plots.inspection import (
    plot_attention_distance,
    plot_deletion_curves,
    plot_figure_7,
    plot_position_similarity,
)
from going_modular.plots.matrices import (
    plot_cosine_maps,
    plot_heatmap,
    plot_heatmaps,
)
from going_modular.plots.numbers import (
    plot_score_scaling,
)
from going_modular.plots.predictions import plot_predictions
from going_modular.plots.results import (
    plot_confusion_matrix,
    plot_loss_curves,
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
    "plot_attention_over_image",
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
    "plot_loss_curves",
    "plot_maps_of_images",
    "plot_patch_grid",
    "plot_position_similarity",
    "plot_predictions",
    "plot_score_scaling",
    "to_picture",
    "use_style",
]
