"""The Vision Transformer that the notebooks build, and what makes it useful.

    from going_modular import ViT, ViTConfig
    model = ViT(ViTConfig.from_variant("B/16"))

Beside this file lie the pieces that the notebooks export, in the paper's order:

    config                                         the hyper-parameters, Table 1
    data_setup                                     from photos to batches
    patch_embedding                                Equation 1
    multihead_self_attention                       Equation 2, and 5 to 8
    multilayer_perceptron                          Equation 3
    transformer_encoder                            the stack of blocks
    vit                                            Equation 4, and the whole model
    optimization, engine                           the recipe, and the training loop
    pretrained                                     weights that others have trained
    attention_maps, relevance, learned_structure   looking inside

Scripts of your own also import `checkpoint` (trained models), `predictions` (photos
to named classes), `helper_functions` (plots), `errors` and `utils` (seeds, devices). In
the folders, one floor below, is the machinery; each begins by saying what it holds.

The names in `__all__` can be imported from here. Each brings in its own module alone,
and only when it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from going_modular.checkpoint import load_model
    from going_modular.config import ViTConfig
    from going_modular.explorer.widget import explore, run_live
    from going_modular.pretrained import from_pretrained, load_pretrained
    from going_modular.vit import ViT

__all__ = [
    "ViT",
    "ViTConfig",
    "__version__",
    "explore",
    "from_pretrained",
    "load_model",
    "load_pretrained",
    "run_live",
]

HOMES = {
    "ViT": "vit",
    "ViTConfig": "config",
    "explore": "explorer.widget",
    "from_pretrained": "pretrained",
    "load_model": "checkpoint",
    "load_pretrained": "pretrained",
    "run_live": "explorer.widget",
}


def __getattr__(name: str):
    """Import a name of `__all__` when it is first asked for."""
    if name == "__version__":
        value = import_module("importlib.metadata").version("going-modular")
    elif name in HOMES:
        value = getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
