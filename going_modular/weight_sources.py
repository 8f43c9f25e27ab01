"""Published weights by name, fetched by the library that owns them.

torchvision:vit_b_16              or vit_b_16, vit_l_16.IMAGENET1K_SWAG_E2E_V1
timm:vit_small_patch16_224.dino   any vit_* or deit_* of timm
transformers:google/vit-base-patch16-224
official:augreg/Ti_16-...npz      a file of the official code's bucket
built-in                          the small ViT in this package
"""

import base64
import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from going_modular.utils import InputError
from going_modular.weight_files import read_weights

__all__ = ["BUILT_IN", "fetch_weights", "read_source"]

BUILT_IN = "built-in"
OFFICIAL_ADDRESS = "https://storage.googleapis.com/vit_models/"
OFFLINE = '"built-in" works without a network'


def read_source(source: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Read weights from a file or folder, or by a name as above.

    Returns:
        The tensors by name, and notes as `weight_files.read_weights` gives them, with
        fields of `ViTConfig` under "fields" and names of classes under "classes".

    Raises:
        InputError: There is no such file or name, or it cannot be fetched.
    """
    if source == BUILT_IN:
        return read_weights(files("going_modular") / "weights/built_in.safetensors")
    if Path(source).exists():
        return read_weights(source)
    owner, _, name = str(source).rpartition(":")
    if not owner:
        owner = guess_owner(str(source))
    if owner not in OWNERS:
        raise InputError(
            f"no weights {str(source)!r}: give a file, a folder, {BUILT_IN!r}, or a "
            f"name such as vit_b_16 or {', '.join(f'{known}:NAME' for known in OWNERS)}"
        )
    return fetch_weights(owner, name)


def guess_owner(name: str) -> str:
    """Tell whose weights a bare name means."""
    base = name.partition(".")[0]
    if Path(name).suffix in (".npz", ".pth", ".pt", ".bin", ".safetensors"):
        return ""  # a file that is not there
    if base in ("vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"):
        return "torchvision"
    if base.startswith(("vit_", "deit_")):
        return "timm"
    return ""


def fetch_weights(owner: str, name: str) -> tuple[dict[str, Tensor], dict]:
    """Fetch weights through the library that owns them, into its usual cache."""
    try:
        return OWNERS[owner](name)
    except InputError:
        raise
    except ImportError:
        raise InputError(
            f"{owner}:{name} needs the package {owner}: run pip install {owner}; "
            f"{OFFLINE}"
        ) from None
    except Exception as error:  # each library has its own kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise InputError(
            f"{owner}:{name} could not be fetched ({reason}): check the name and the "
            f"network, or fetch the file elsewhere and give its path; {OFFLINE}"
        ) from None


def fetch_torchvision(name: str) -> tuple[dict[str, Tensor], dict]:
    from torchvision.models import get_model_weights

    model, _, version = name.partition(".")
    weights = get_model_weights(model)[version or "DEFAULT"]
    transforms = weights.transforms()
    fields = dict(mean=tuple(transforms.mean), std=tuple(transforms.std))
    state = weights.get_state_dict(progress=True, check_hash=True)
    return state, {"fields": fields, "classes": weights.meta["categories"]}


def fetch_timm(name: str) -> tuple[dict[str, Tensor], dict]:
    import timm

    model = timm.create_model(name, pretrained=True)
    return model.state_dict(), {"config": {"pretrained_cfg": model.pretrained_cfg}}


def fetch_transformers(name: str) -> tuple[dict[str, Tensor], dict]:
    from huggingface_hub import snapshot_download

    patterns = ["*config.json", "model.safetensors", "pytorch_model.bin"]
    return read_weights(snapshot_download(name, allow_patterns=patterns))


def fetch_official(name: str) -> tuple[dict[str, Tensor], dict]:
    address = OFFICIAL_ADDRESS + name
    file = Path(torch.hub.get_dir()) / "checkpoints" / name.replace("/", "_")
    if not file.exists():
        try:
            download(address, file)
        except (OSError, urllib.error.URLError) as error:
            raise InputError(
                f"{address} could not be fetched ({getattr(error, 'reason', error)}): "
                f"check the name and the network, or put the file at {file} by hand; "
                f"{OFFLINE}"
            ) from None
    return read_weights(file)


def download(address: str, file: Path) -> None:
    """Fetch a file beside its place, hold it against the server's MD5, then rename."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with urllib.request.urlopen(address, timeout=30) as response:
        sums = response.headers.get_all("x-goog-hash") or []
        expected = next((s[4:] for s in sums if s.startswith("md5=")), None)
        size = int(response.headers.get("content-length") or 0)
        digest, seen = hashlib.md5(usedforsecurity=False), 0
        with (
            tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as beside,
            tqdm(total=size, unit="B", unit_scale=True, desc=file.name) as bar,
        ):
            while block := response.read(1 << 20):
                beside.write(block)
                digest.update(block)
                seen += len(block)
                bar.update(len(block))
    found = base64.b64encode(digest.digest()).decode()
    if (expected and found != expected) or (size and seen != size):
        os.unlink(beside.name)
        raise OSError("it arrived damaged: its MD5 or size is not the server's")
    os.replace(beside.name, file)


OWNERS = {
    "torchvision": fetch_torchvision,
    "timm": fetch_timm,
    "transformers": fetch_transformers,
    "official": fetch_official,
}
