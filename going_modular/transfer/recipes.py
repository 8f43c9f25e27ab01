"""How fine-tuning is done where no flag says otherwise.

"paper" is Table 4: momentum, a cosine, no weight decay, gradients clipped at 1, smaller
batches than the paper's 512 since there are fewer images. Its rates suit models that
were pre-trained with labels and seen for thousands of steps.

"auto" is for any weights and few photos. It begins with the best head that the frozen
model can have, so that training does not first destroy what the model knows for the
sake of a head that knows nothing (Kumar et al., arXiv 2202.10054), goes on with AdamW
and rates that fall towards the image (`layer_decay`), and tries a few rates on photos
held out (`rate_search`).
"""

__all__ = ["MODES", "RATES", "RECIPES", "recipe_settings", "suited_epochs"]

MODES = ("full", "linear")
RECIPES = ("auto", "paper")
TABLE_4 = dict(weight_decay=0.0, label_smoothing=0.0, clip_norm=1.0, augment="none")
# A head on frozen features bears higher rates than the model. A little weight decay
# keeps it from growing too sure of the few images that it sees: for 400 photos of
# clothes its loss on others was 1.0 to 1.3 at the rates below, without decay 1.0 to 19.
HEAD = dict(epochs=100, batch_size=25, learning_rate=0.1)
LINEAR = {"paper": TABLE_4 | HEAD, "auto": TABLE_4 | HEAD | dict(weight_decay=0.003)}
FULL = {
    "paper": TABLE_4 | dict(epochs=30, batch_size=25, learning_rate=0.03),
    "auto": TABLE_4
    | dict(epochs=30, batch_size=25, learning_rate=1e-3)
    | dict(weight_decay=0.05, label_smoothing=0.1),
}
# What is tried; in "paper" those of Table 4. Of "auto" the small model that comes with
# this project does best on digits with 3e-3, a ViT-S/14 of DINOv2 on photos with 3e-4
# (one seed each).
RATES = {
    "head": (0.01, 0.03, 0.1, 0.3, 1.0),
    "paper": (0.003, 0.01, 0.03, 0.06),
    "auto": (1e-4, 3e-4, 1e-3, 3e-3),
}


def recipe_settings(mode: str, recipe: str) -> dict:
    """The fields of `TrainingSettings` that a mode and a recipe decide."""
    return (LINEAR if mode == "linear" else FULL)[recipe]


def suited_epochs(mode: str, count: int) -> int:
    """Epochs for a number of training images: the fewer there are, the more.

    A run of the whole model sees about 8,000 images and a head half a million, but each
    image five times at least, and no more than 30 or 100 times.
    """
    seen, most = (8000, 30) if mode == "full" else (500_000, 100)
    return min(most, max(5, round(seen / count)))
