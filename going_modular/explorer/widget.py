"""The attention explorer and the live model in JupyterLab and VS Code.

Needs anywidget: pip install "going-modular[notebooks]".
"""

from collections.abc import Sequence

import traitlets
from torch import Tensor

from going_modular.errors import InputError
from going_modular.explorer.bundle import bundle, read_part
from going_modular.explorer.data import Exploration, check_head, explore_image
from going_modular.explorer.live_page import live_parts
from going_modular.vit import ViT

try:
    import anywidget
except ImportError:
    raise ImportError(
        'the widget needs anywidget: pip install "going-modular[notebooks]", or write '
        "a page with going_modular.explorer.page.write_page"
    ) from None

__all__ = ["VIEWS", "AttentionExplorer", "LiveModel", "explore", "run_live"]

VIEWS = ("looks-at", "looked-at-by", "contributes", "rollout")


class AttentionExplorer(anywidget.AnyWidget):
    """What is shown can be read and set, from here and with the mouse alike.

    Attributes:
        layer: The layer, from 1.
        head: The head, from 1; 0 is the mean of all heads.
        view: One of `VIEWS`.
        row, column: The patch, from 0; -1 for the class token.
    """

    _esm = bundle("explorer.js")
    _css = read_part("explorer.css")

    description = traitlets.Dict().tag(sync=True)
    attention = traitlets.Bytes().tag(sync=True)
    attention_scales = traitlets.Bytes().tag(sync=True)
    rollout = traitlets.Bytes().tag(sync=True)
    rollout_scales = traitlets.Bytes().tag(sync=True)
    value_lengths = traitlets.Bytes().tag(sync=True)

    layer = traitlets.Int().tag(sync=True)
    head = traitlets.Int().tag(sync=True)
    view = traitlets.Enum(VIEWS, default_value=VIEWS[0]).tag(sync=True)
    row = traitlets.Int(-1).tag(sync=True)
    column = traitlets.Int(-1).tag(sync=True)

    def __init__(self, exploration: Exploration):
        description = exploration.description
        super().__init__(
            description=description, **exploration.arrays(), **description["start"]
        )

    @traitlets.validate("layer", "head", "row", "column")
    def _check(self, proposal: dict) -> int:
        """Refuse, in one line, what this model does not have."""
        name, value = proposal["trait"].name, proposal["value"]
        about = self.description
        if name == "head":
            try:
                check_head(value or 1, about["heads"])
            except InputError as error:
                raise traitlets.TraitError(str(error)) from None
        elif name == "layer":
            if value not in about["layers"]:
                shown = ", ".join(map(str, about["layers"]))
                raise traitlets.TraitError(
                    f"no layer {value} here: choose from {shown}"
                )
        elif value not in range(-1, about[f"{name}s"]):
            raise traitlets.TraitError(
                f"no {name} {value}: choose 0 to {about[f'{name}s'] - 1}, or -1 for "
                "the class token"
            )
        return value


def explore(
    model: ViT, image: Tensor, class_names: Sequence[str], **options
) -> AttentionExplorer:
    """A widget for one image; arguments as for `data.explore_image`."""
    return AttentionExplorer(explore_image(model, image, class_names, **options))


class LiveModel(anywidget.AnyWidget):
    """One image, four equations: the model runs in the reader's browser.

    Nothing comes back to Python, so nothing here changes once it is shown.
    """

    _esm = bundle("live/widget.js")
    _css = read_part("explorer.css") + read_part("live/live.css")

    about = traitlets.Dict().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    examples = traitlets.Bytes().tag(sync=True)
    image = traitlets.Bytes().tag(sync=True)

    def __init__(self, about: dict, arrays: dict[str, bytes]):
        super().__init__(about=about, **arrays)


def run_live(
    model: ViT,
    class_names: Sequence[str],
    image: Tensor | None = None,
    source: str = "",
) -> LiveModel:
    """A widget in which a model runs; arguments as for `live_page.live_page`."""
    return LiveModel(*live_parts(model, class_names, image, source))
