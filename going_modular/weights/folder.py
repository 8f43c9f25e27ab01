"""A folder of weights in timm's form, which transformers and this project load too."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from going_modular.config import ViTConfig
from going_modular.errors import InputError
from going_modular.system.files import MARK, write_files
from going_modular.system.text import printable

__all__ = ["describe_as_timm", "write_folder"]

GELUS = {"erf": "gelu", "tanh": "gelu_tanh"}
TIMMS_EPS = 1e-6


def describe_as_timm(
    config: ViTConfig, class_names: Sequence[str], num_registers: int = 0
) -> dict:
    """What timm's `config.json` says of a model.

    It names a model that timm knows, B/16, and what is different here.

    Args:
        config: The model.
        class_names: One a class.
        num_registers: R.
    """
    sizes = dict(
        img_size=list(config.image_shape),
        patch_size=config.patch_size,
        in_chans=config.in_channels,
        embed_dim=config.embedding_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        mlp_ratio=ratio(config.mlp_size, config.embedding_dim),
        act_layer=GELUS[config.gelu],
    )
    if num_registers:
        sizes |= dict(reg_tokens=num_registers, no_embed_class=True)
    pixels = dict(
        input_size=[config.in_channels, *config.image_shape],
        mean=each(config.mean, config),
        std=each(config.std, config),
        interpolation="bilinear",
        crop_pct=1.0,
        fixed_input_size=True,
        num_classes=config.num_classes,
        first_conv="patch_embed.proj",
        classifier="head",
    )
    about = dict(
        architecture="vit_base_patch16_224",
        num_classes=config.num_classes,
        num_features=config.embedding_dim,
        global_pool="token",
        model_args=sizes,
        pretrained_cfg=pixels,
        label_names=list(class_names),
    )
    about["layer_norm_eps"] = config.layer_norm_eps  # for this project alone
    return about


def each(values: tuple[float, ...], config: ViTConfig) -> list[float]:
    """One number a channel."""
    return list(values if len(values) > 1 else values * config.in_channels)


def ratio(mlp_size: int, width: int) -> float:
    """What `int(width * ratio)` gives the size of, although floats are rounded."""
    found = mlp_size / width
    return found if int(width * found) == mlp_size else math.nextafter(found, math.inf)


def card(about: dict, parameters: int) -> str:
    """A page on the model, in Markdown, with a head for the Hugging Face hub."""
    sizes, pixels = about["model_args"], about["pretrained_cfg"]
    height, width = sizes["img_size"]
    names = "\n".join(f"    {printable(name)}" for name in about["label_names"])
    warning = ""
    if about["layer_norm_eps"] != TIMMS_EPS:
        warning = (
            f"\nIts LayerNorms were trained with eps {about['layer_norm_eps']:g}, for "
            "which timm and transformers have no place: there they compute with "
            f"{TIMMS_EPS:g}.\n"
        )
    return f"""---
library_name: timm
pipeline_tag: image-classification
tags: [vision-transformer, {MARK}]
---

# A Vision Transformer

| what | value |
|---|---|
| images | {width} x {height} pixels, {sizes["in_chans"]} channel(s), from 0 to 1 |
| normalised | minus {pixels["mean"]}, divided by {pixels["std"]} |
| patches | {sizes["patch_size"]} x {sizes["patch_size"]} pixels |
| width | {sizes["embed_dim"]} |
| encoder | {sizes["depth"]} layers of {sizes["num_heads"]} heads |
| parameters | {parameters:,} |
{warning}
It loads in three libraries, in transformers where timm is installed, too:

```python
import timm
from going_modular.pretrained import from_pretrained
from transformers import AutoModelForImageClassification

model = timm.create_model("local-dir:FOLDER", pretrained=True)
model = AutoModelForImageClassification.from_pretrained("FOLDER")
model = from_pretrained("FOLDER")
```

Its {about["num_classes"]} classes:

{names}
"""


def write_folder(
    folder: Path, weights: Mapping[str, Tensor], about: dict, overwrite: bool
) -> None:
    """Write weights, their description and a card, all of them or none.

    Raises:
        InputError: A file cannot be written, or is there already.
    """
    parameters = sum(w.numel() for w in weights.values())
    text = json.dumps(about, indent=2) + "\n"
    page = card(about, parameters)
    files = {
        "config.json": lambda path: path.write_text(text, encoding="utf-8"),
        "README.md": lambda path: path.write_text(page, encoding="utf-8"),
        "model.safetensors": lambda path: save_file(
            dict(weights), path, metadata={"format": "pt"}
        ),
    }
    for name in files:
        if (folder / name).exists() and not overwrite:
            raise InputError(
                f"{folder / name} exists: choose another folder, or overwrite=True"
            )
    write_files({folder / name: write for name, write in files.items()})
