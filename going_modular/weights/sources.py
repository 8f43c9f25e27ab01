"""Published weights by name, fetched by the library that owns them.

torchvision:vit_b_16              or vit_b_16, vit_l_16.IMAGENET1K_SWAG_E2E_V1
timm:vit_small_patch16_224.dino   any vit_* or deit_* of timm
transformers:google/vit-base-patch16-224
official:augreg/Ti_16-...npz      a file of the official code's bucket
built-in                          the small ViT in this package
"""

import hashlib
import re
import sys
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from going_modular.errors import InputError
from going_modular.system.reading import open_regular
from going_modular.weights.files import read_weights

__all__ = ["BUILT_IN", "fetch_weights", "read_source"]

BUILT_IN = "built-in"
OFFICIAL_ADDRESS = "https://storage.googleapis.com/vit_models/"
OFFLINE = '"built-in" works without a network'


def read_source(source: str | Path) -> tuple[dict[str, Tensor], dict]:
    """Read weights from a file or folder, or by a name as above.

    Returns:
        The tensors by name, and notes as `weights.files.read_weights` gives them, with
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
        meant = f"did you mean transformers:{source}, or " if is_hubs(source) else ""
        names = ", ".join(f"{known}:NAME" for known in OWNERS)
        raise InputError(
            f"no weights {str(source)!r}: {meant}give a file, a folder, "
            f"{BUILT_IN!r}, or a name such as vit_b_16 or {names}"
        )
    return fetch_weights(owner, name)


def is_hubs(name: str | Path) -> bool:
    """Whether it looks like a model of the Hugging Face hub, such as google/vit."""
    return (
        re.fullmatch(r"[\w-]+/[\w.-]*(vit|deit|dino)[\w.-]*", str(name), re.I)
        is not None
    )


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
    except ImportError as error:
        package = (error.name or owner).partition(".")[0]
        raise InputError(
            f"{owner}:{name} needs the package {package}: run pip install {package}; "
            f"{OFFLINE}"
        ) from None
    except Exception as error:  # each library has its own kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise InputError(
            f"{owner}:{name} could not be fetched ({reason}): check the name and the "
            f"network, or {by_hand(owner, name)}; {OFFLINE}"
        ) from None


def by_hand(owner: str, name: str) -> str:
    """Where the weights are, and where to put them, for those without a network."""
    if owner in ("official", "torchvision"):
        address = OFFICIAL_ADDRESS + name
        if owner == "torchvision":
            try:
                address = find_torchvision(name).url
            except (KeyError, ValueError):
                return "give the path of a file"
        return f"fetch {address} elsewhere and put it at {cached(address)}"
    repository = f"timm/{name}" if owner == "timm" else name
    return (
        f"fetch config.json and model.safetensors of https://huggingface.co/"
        f"{repository} elsewhere, put them in a folder and give its path"
    )


def cached(address: str) -> Path:
    """The place of a file in torch's cache, where torchvision looks too."""
    name = address.removeprefix(OFFICIAL_ADDRESS)
    name = name.replace("/", "_") if name != address else address.rpartition("/")[2]
    return Path(torch.hub.get_dir()) / "checkpoints" / name


def find_torchvision(name: str):
    from torchvision.models import get_model_weights

    model, _, version = name.partition(".")
    return get_model_weights(model)[version or "DEFAULT"]


def fetch_torchvision(name: str) -> tuple[dict[str, Tensor], dict]:
    weights = find_torchvision(name)
    transforms = weights.transforms()
    fields = dict(mean=tuple(transforms.mean), std=tuple(transforms.std))
    state, _ = fetch_file(weights.url)
    return state, {"fields": fields, "classes": weights.meta["categories"]}


def fetch_timm(name: str) -> tuple[dict[str, Tensor], dict]:
    import timm

    trained = timm.models.get_pretrained_cfg(name)
    repository = (trained and trained.hf_hub_id) or f"timm/{name}"
    with torch.device("meta"):  # for what its config.json leaves out
        model = timm.create_model(name, pretrained=False)
    if getattr(model, "global_pool", "token") not in ("token", ""):
        raise InputError(f"timm:{name} has a head on all patches, no class token")
    state, about = fetch_transformers(repository)
    if "config" not in about:
        about["config"] = {"pretrained_cfg": model.pretrained_cfg}
    if hasattr(model, "blocks"):
        first = model.blocks[0]
        about["fields"] = dict(
            num_heads=first.attn.num_heads, layer_norm_eps=first.norm1.eps
        )
    return state, about


def fetch_transformers(name: str) -> tuple[dict[str, Tensor], dict]:
    from huggingface_hub import snapshot_download

    patterns = ["*config.json", "model*.safetensors*", "pytorch_model*.bin*"]
    return read_weights(snapshot_download(name, allow_patterns=patterns))


def fetch_official(name: str) -> tuple[dict[str, Tensor], dict]:
    return fetch_file(OFFICIAL_ADDRESS + name)


def fetch_file(address: str) -> tuple[dict[str, Tensor], dict]:
    """Read a file out of torch's cache, fetched if it is not there.

    Where its name holds the begin of its SHA-256, as torchvision's do, the file must
    have it, also one that somebody has put there. The arrays of others have their CRC.
    """
    file = cached(address)
    fetched = not file.exists()
    if fetched:
        file.parent.mkdir(parents=True, exist_ok=True)
        on_screen = sys.stderr is not None and sys.stderr.isatty()
        torch.hub.download_url_to_file(address, str(file), progress=on_screen)
    try:
        check_hash(file)
        return read_weights(file)
    except InputError as error:
        if not fetched:
            raise
        file.unlink()
        raise OSError(f"it arrived damaged: {error}") from None


def check_hash(file: Path) -> None:
    """Hold a file against the begin of its SHA-256, if its name has it."""
    found = torch.hub.HASH_REGEX.search(file.name)
    if found is None:
        return
    with open_regular(file) as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    if not digest.startswith(found[1]):
        raise InputError(
            f"{file} is not the file that its name says (SHA-256 {digest[:8]}): remove "
            "it, and it is fetched again"
        )


OWNERS = {
    "torchvision": fetch_torchvision,
    "timm": fetch_timm,
    "transformers": fetch_transformers,
    "official": fetch_official,
}
