"""One image, four equations: a page in which a Vision Transformer runs.

The weights stand in the file, and the reader's browser computes with them: see
`live/vit.js`. Nothing is fetched, and nothing leaves the page.
"""

import json
from collections.abc import Sequence
from functools import cache

import torch
from safetensors.torch import save
from torch import Tensor

from going_modular.data_setup import load_builtin
from going_modular.errors import InputError
from going_modular.explorer.bundle import bundle, read_part
from going_modular.explorer.data import check_image, writable
from going_modular.explorer.encoding import viridis
from going_modular.explorer.page import DECODE, html_page
from going_modular.variants.conv_stem import ViTWithConvStem
from going_modular.vit import ViT

__all__ = ["example_images", "live_page", "live_parts"]

TITLE = "One image, four equations"
MOST_WORK = 5_000_000_000  # as in live/safetensors.js: some ten seconds a pass

START = """
const { colours, title, source, names, shape, worker } = JSON.parse(part("about"));
const [channels, height, width] = shape;
const root = document.getElementById("explorer");
mountLive(root, {
  worker, colours, title, source,
  weights: fromBase64(part("weights")).buffer,
  examples: { channels, height, width, names, bytes: fromBase64(part("examples")) },
  image: part("image") ? fromBase64(part("image")) : null,
}).catch((error) => { root.textContent = error.message; });
"""


@cache
def example_images() -> tuple[Tensor, tuple[str, ...]]:
    """The first test image of each class, (n, C, H, W) uint8, and the classes."""
    _, test = load_builtin()
    classes = range(len(test.class_names))
    places = [int(torch.nonzero(test.labels == k)[0]) for k in classes]
    return test.images[places], test.class_names


def check_model(model: ViT) -> None:
    """Raise an InputError for a model that the page cannot run."""
    if type(model) not in (ViT, ViTWithConvStem):
        raise InputError(
            f"a page runs plain Vision Transformers and those of train.py, but this is "
            f"a {type(model).__name__}: leave out --live"
        )
    config = model.config
    D, F, T = config.embedding_dim, config.mlp_size, config.num_tokens
    work = config.depth * T * (4 * D * D + 2 * D * F + 2 * T * D)
    if work >= MOST_WORK:
        raise InputError(
            f"a page runs models of up to {MOST_WORK:,} multiplications, and this one "
            f"has {work:,}: leave out --live, or take a smaller model or image"
        )


def to_bytes(model: ViT, class_names: Sequence[str]) -> bytes:
    """A model.safetensors as of `checkpoint.save_model`, in as few bytes as hold it.

    Weights that half precision holds exactly, as it does the built-in ones, are stored
    so, and others as they are.
    """
    weights = {
        name: weight.detach().cpu().contiguous()
        for name, weight in model.state_dict().items()
    }
    if all(torch.equal(w.half().to(w.dtype), w) for w in weights.values()):
        weights = {name: weight.half() for name, weight in weights.items()}
    names = [writable(name) for name in class_names]
    about = {"config": vars(model.config), "class_names": names}
    return save(weights, {"vit": json.dumps(about)})


def live_parts(
    model: ViT,
    class_names: Sequence[str],
    image: Tensor | None = None,
    source: str = "",
) -> tuple[dict, dict[str, bytes]]:
    """What the page holds besides its script.

    Args:
        model: It runs in the page.
        class_names: One name a class.
        image: (C, H, W) uint8 to begin with, of the model's size; a garment if None.
        source: What the image is called.

    Returns:
        Values for JSON and arrays of bytes, by name.

    Raises:
        InputError: The page cannot run the model, or the image does not fit it.
    """
    check_model(model)
    if image is not None:
        check_image(image, class_names, model.config)
    images, names = example_images()
    about = {
        "colours": viridis(),
        "title": TITLE,
        "source": writable(source),
        "names": names,
        "shape": list(images.shape[1:]),
        "worker": bundle("live/worker.js"),
    }
    arrays = {
        "weights": to_bytes(model, class_names),
        "examples": images.numpy().tobytes(),
        "image": b"" if image is None else image.cpu().numpy().tobytes(),
    }
    return about, arrays


def live_page(
    model: ViT,
    class_names: Sequence[str],
    image: Tensor | None = None,
    source: str = "",
) -> str:
    """The whole HTML file as text; arguments as for `live_parts`."""
    about, arrays = live_parts(model, class_names, image, source)
    return html_page(
        f"{TITLE}: {source}" if source else TITLE,
        read_part("explorer.css") + read_part("live/live.css"),
        bundle("live/live.js") + DECODE + START,
        {"about": about},
        arrays,
        workers=True,
    )
