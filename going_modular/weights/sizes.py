"""Telling a model's sizes from its weights: what shapes show, and what they do not."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from going_modular.config import VARIANTS, ViTConfig
from going_modular.errors import InputError
from going_modular.variants.building import build_vit
from going_modular.weights.files import first_line
from going_modular.weights.formats import BLOCK, FORMATS, IMAGENET, Format

__all__ = [
    "check_claims",
    "check_shapes",
    "expected_shapes",
    "grid_of",
    "infer_config",
    "infer_grid",
    "kernel_shape",
    "read_hints",
]

# Names of activations in transformers, and in timm.
GELUS = {
    "gelu": "erf",
    "gelu_erf": "erf",
    "gelu_tanh": "tanh",
    "gelu_python": "erf",
    "gelu_python_tanh": "tanh",
    "gelu_fast": "tanh",
    "gelu_new": "tanh",
    "gelu_pytorch_tanh": "tanh",
}


def read_hints(about: dict, form: Format, headless: bool) -> tuple[dict, dict]:
    """What the source says of the model's numerics, or its format lets us assume.

    Args:
        about: As `weights.files.read_weights` gives it, and "fields", "classes".
        form: Whose weights these are.
        headless: There is no head: they are a backbone.

    Returns:
        Fields of `ViTConfig`, `class_names`; and of those that are
        only assumed, why.
    """
    hints = dict(form.numerics)
    if form.title == "timm" and headless:  # DINO's and DINOv2's backbones
        hints |= IMAGENET
    why = f"as {form.title} weights {'without a head ' * headless}mostly have"
    assumed = dict.fromkeys(form.numerics, why)
    config, pixels = about.get("config", {}), about.get("preprocessor", {})
    told = {}
    try:
        told |= read_timm(config) if is_timms(config) else read_transformers(config)
        told |= read_pixels(pixels, told)
    except InputError:
        raise
    except KeyError as error:
        raise InputError(
            f"config.json beside the weights lacks {error}: complete it, or give the "
            "weights alone"
        ) from None
    except (
        AttributeError,
        TypeError,
        ValueError,
        ZeroDivisionError,
    ) as error:
        raise InputError(
            "config.json or preprocessor_config.json describes no Vision Transformer "
            f"({type(error).__name__} {error})"
        ) from None
    if "classes" in about:
        told["class_names"] = tuple(about["classes"])
    told |= about.get("fields", {})
    assumed = {name: why for name, why in assumed.items() if name not in told}
    return hints | told, assumed


def read_pixels(pixels: dict, told: dict) -> dict:
    """What `preprocessor_config.json` says of how pixels of 0 to 1 are normalised."""
    if pixels.get("do_normalize") is False:
        return dict(mean=(0.0,), std=(1.0,))
    found = {}
    factor = 255 * float(pixels.get("rescale_factor", 1 / 255))
    if pixels.get("do_rescale") is False:
        factor = 255.0
    for name in ("mean", "std"):
        values = pixels.get(f"image_{name}") or told.get(name)
        if values is not None and not isinstance(values, str):
            values = values if isinstance(values, list | tuple) else [values]
            found[name] = tuple(float(value) / factor for value in values)
        elif values is not None:
            raise ValueError(f"image_{name} {values!r}")
    return found


def is_timms(config: dict) -> bool:
    return "pretrained_cfg" in config or "architecture" in config


def read_timm(config: dict) -> dict:
    """What the `config.json` of timm says of a model's numerics."""
    trained, built = config.get("pretrained_cfg", config), config.get("model_args", {})
    pool = built.get("global_pool", config.get("global_pool", "token"))
    if pool not in ("token", ""):
        raise InputError(
            f"config.json has global_pool {pool!r}: these weights predict from all "
            "patches, the paper's model from its class token"
        )
    hints = {k: tuple(map(float, trained[k])) for k in ("mean", "std") if k in trained}
    hints["claims"] = dict(
        embedding_dim=built.get("embed_dim", config.get("num_features")),
        depth=built.get("depth"),
        patch_size=built.get("patch_size"),
    )
    if "act_layer" in built:
        hints["gelu"] = read_gelu("act_layer", built["act_layer"])
    if "layer_norm_eps" in config:  # this project's own word
        hints["layer_norm_eps"] = float(config["layer_norm_eps"])
    if "num_heads" in built:
        hints["num_heads"] = whole_number("num_heads", built["num_heads"])
    size = built.get("img_size") or trained.get("input_size", [])[1:] or None
    if size is not None:
        hints["image_size"] = whole_sides(size)
    names = config.get("label_names") or trained.get("label_names")
    if names:
        hints["class_names"] = tuple(map(str, names))
    return hints


def read_gelu(key: str, name: str) -> str:
    if name not in GELUS:
        raise InputError(f"{key} {name!r}: our MLP has GELU only")
    return GELUS[name]


def check_claims(claims: Mapping[str, object], **found: int) -> None:
    """Refuse a `config.json` of another model than the weights'."""
    for name, said in claims.items():
        if isinstance(said, int) and said != found[name]:
            raise InputError(
                f"config.json beside the weights says {name} {said}, and they have "
                f"{found[name]}: it is of another model; give the weights alone, or "
                "with their own"
            )


def whole_number(name: str, value) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 2**16:
        raise ValueError(f"{name} {value!r}")
    return value


def read_transformers(config: dict) -> dict:
    """The same from the `config.json` of transformers."""
    if not config:
        return {}
    inner = config.get("encoder") or config.get("vision_config")
    if isinstance(inner, dict) and "num_attention_heads" not in config:
        config = inner  # of a model of several parts
    if config.get("problem_type") == "multi_label_classification":
        raise InputError(
            "config.json says multi_label_classification: these weights give each "
            "class a probability of its own, ours one class to a photo"
        )
    gelu = read_gelu("hidden_act", config.get("hidden_act", "gelu"))
    labels = config.get("id2label") or {}
    heads = whole_number("num_attention_heads", config["num_attention_heads"])
    patch = config["patch_size"]
    if isinstance(patch, list) and len(set(patch)) == 1:
        patch = patch[0]
    claims = dict(
        embedding_dim=config.get("hidden_size"),
        depth=config.get("num_hidden_layers"),
        patch_size=whole_number("patch_size", patch),
    )
    return dict(
        gelu=gelu,
        layer_norm_eps=float(config["layer_norm_eps"]),
        num_heads=heads,
        image_size=whole_sides(config["image_size"]),
        class_names=tuple(str(labels[key]) for key in sorted(labels, key=int)),
        claims=claims,
    )


def grid_of(size: int | tuple[int, int], patch_size: int) -> tuple[int, int]:
    """Patches in a column and in a row of images of a size."""
    rows, columns = (side // patch_size for side in whole_sides(size))
    return rows, columns


def whole_sides(size) -> tuple[int, int]:
    """Height and width, of a side or both."""
    sides = (size, size) if isinstance(size, int) else tuple(size)
    height, width = (whole_number("image_size", side) for side in sides)
    return height, width


def kernel_shape(
    key: str, shape: torch.Size, form: Format
) -> tuple[int, int, int, int]:
    """(D, C, P, P), the shape that E has as a convolution.

    Args:
        key: Its name.
        shape: That; the reverse in Flax; or (D, P*P*C), as we keep it.
        form: Whose it is.
    """
    if len(shape) == 2:
        for C in (3, 1, *range(2, 17)):
            P = math.isqrt(shape[1] // C)
            if P * P * C == shape[1]:
                return shape[0], C, P, P
    kernel = shape[::-1] if form.flax else shape
    if len(kernel) != 4 or kernel[2] != kernel[3]:
        raise InputError(f"{key}: shape {tuple(shape)}, no square patches")
    return tuple(kernel)


def infer_grid(
    key: str,
    shape: torch.Size,
    form: Format,
    certain: tuple[int, int] | None,
    likely: tuple[int, int] | None,
) -> tuple[tuple[int, int], bool]:
    """Tell the grid of patches from the number of positions.

    Args:
        key: Their name of the position embeddings.
        shape: (1, T, D) or (1, N, D).
        form: Whose they are; some have no position for the class token.
        certain: The grid, where the source tells it.
        likely: A grid to try before a square one.

    Returns:
        Patches in a column and in a row, and whether the class token's is to be added.
    """
    if len(shape) != 3:
        raise InputError(f"{key}: shape {tuple(shape)}, where (1, T, D) is needed")
    slots = (1,)
    if form.title == "timm":
        slots = (1, 0)  # none with `no_embed_class`
    elif form is FORMATS["big_vision"]:
        slots = (0,)
    for slot in slots:
        count = shape[1] - slot
        root = math.isqrt(max(count, 0))
        for grid in (certain,) if certain else (likely, (root, root)):
            if grid and count == grid[0] * grid[1] > 0:
                return grid, slot == 0
    rows, columns = certain or likely or (root, root)
    raise InputError(
        f"{key}: shape {tuple(shape)}, {shape[1] - slots[0]} positions of patches fill "
        f"no grid of {rows} x {columns}: give grid_shape"
    )


def infer_config(
    weights: Mapping[str, Tensor], kernel: torch.Size, depth: int, hints: dict
) -> ViTConfig:
    """Tell the model from the shapes of its tensors.

    Args:
        weights: By our names.
        kernel: (D, C, P, P), the shape of E as a convolution.
        depth: Number of blocks.
        hints: Fields of `ViTConfig` that shapes do not show; `grid_shape`; and
            `num_heads`, None where unknown.
    """
    _, C, P, _ = kernel
    D = usual_length(weights, "layer_norm.weight")
    num_heads = hints.pop("num_heads") or usual_heads(D)
    rows, columns = hints.pop("grid_shape")
    for name in ("mean", "std"):
        if len(hints[name]) not in (1, C):  # of colours, for another kind of pixels
            hints[name] = (sum(hints[name]) / len(hints[name]),)
    head = weights.get("head.weight")
    hidden = weights.get("pre_logits.bias")
    try:
        return ViTConfig(
            image_size=P * rows if rows == columns else (P * rows, P * columns),
            patch_size=P,
            in_channels=C,
            embedding_dim=D,
            depth=depth,
            num_heads=num_heads,
            mlp_size=usual_length(weights, "linear_1.bias"),
            num_classes=1000 if head is None else weights["head.bias"].numel(),
            representation_size=None if hidden is None else hidden.numel(),
            **hints,
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"the weights belong to no model of ours: {error}") from None


def usual_length(weights: Mapping[str, Tensor], ending: str) -> int:
    """The length that most vectors have whose names end so."""
    lengths = [w.numel() for name, w in weights.items() if name.endswith(ending)]
    return Counter(lengths).most_common(1)[0][0]


def usual_heads(width: int) -> int:
    """Heads of the models of this width that have been published."""
    for sizes in VARIANTS.values():
        if sizes["embedding_dim"] == width:
            return sizes["num_heads"]
    raise InputError(
        f"the weights do not tell the number of heads, and no published model is "
        f"{width} wide: give num_heads"
    )


class NoStartValues(TorchFunctionMode):
    """Leaves out normal numbers and their scale, and with them seconds of importing.

    For tensors on the meta device torch computes these by 900 modules of its own.
    """

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.randn:
            return torch.empty(*args, **kwargs)
        if function in (nn.init.normal_, Tensor.mul):
            return kwargs.get("tensor", *args[:1])
        return function(*args, **kwargs)


FIRST_BLOCK = BLOCK.replace("#", "0")


def expected_shapes(
    config: ViTConfig, weights: Mapping[str, Tensor] | None = None
) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors, by name, of a model that takes no memory.

    Its blocks are alike, so one is built.
    """
    try:
        with torch.device("meta"), NoStartValues():
            model = build_vit(replace(config, depth=1), weights or {})
    except (OverflowError, RuntimeError, TypeError) as error:  # more than 2^63 bytes
        raise InputError(
            f"no tensor is as large as the model's sizes say ({first_line(error)})"
        ) from None
    shapes = {}
    for name, tensor in model.state_dict().items():
        blocks = config.depth if name.startswith(FIRST_BLOCK) else 1
        for number in range(blocks):
            place = name.replace(FIRST_BLOCK, BLOCK.replace("#", str(number)))
            shapes[place] = tuple(tensor.shape)
    return shapes


def check_shapes(
    weights: Mapping[str, Tensor], config: ViTConfig, names: Mapping[str, list[str]]
) -> None:
    """Hold all names and shapes against the model's own; only a head may be absent."""
    if config.depth > len(weights):  # a file may say any depth: build no such model
        raise InputError(f"the weights lack most of {config.depth:,} blocks")
    try:
        expected = expected_shapes(config, weights)
    except ValueError as error:  # a stem that no patch of this side has
        raise InputError(f"the weights describe no model: {error}") from None
    for ours, tensor in weights.items():
        if ours not in expected:
            raise InputError(f"{', '.join(names[ours])} has no place in the model")
        if tuple(tensor.shape) != expected[ours]:
            raise InputError(
                f"{', '.join(names[ours])}: shape {tuple(tensor.shape)} as {ours}, "
                f"where the other tensors need {expected[ours]}"
            )
    headless = not any(name.startswith("head") for name in weights)
    missing = [
        name
        for name in expected
        if name not in weights and not (headless and name.startswith("head"))
    ]
    if missing:
        raise InputError(f"the weights lack {', '.join(missing[:3])}")
