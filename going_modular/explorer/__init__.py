"""The attention explorer: one image, one model, every weight of its attention."""
