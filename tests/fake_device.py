"""A device that is not there and has no float64, as Apple's GPUs; it works on the CPU.

Its tensors say that they are elsewhere, and refuse float64 and to be mixed with the
CPU's, as a real device does. Importing this file changes PyTorch, so a process of its
own does: it runs each check on the device, compares what comes out with the CPU's, and
prints a line for each.
"""

import sys
import traceback
from pathlib import Path

import torch
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

torch.inference_mode = torch.no_grad  # it knows no tensors made in Python
sys.path.insert(0, str(Path(__file__).parents[1]))


class Module(_DummyBackendModule):
    """What PyTorch asks a kind of device."""

    def get_amp_supported_dtype(self):
        return [torch.bfloat16]

    def get_rng_state(self, device):
        return torch.get_rng_state()


_setup_privateuseone_for_python_backend("fake", Module())
DEVICE = torch.device("fake:0")
COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class OnDevice(torch.Tensor):
    """A tensor of the device, around one of the CPU."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor):
        if inner.dtype == torch.float64:
            raise TypeError("this device has no float64")
        return torch.Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=DEVICE,
        )

    def __init__(self, inner: torch.Tensor):
        self.inner = inner

    def tolist(self) -> list:
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return compute(function, *args, **(kwargs or {}))


def compute(function, *args, **kwargs):
    """Do on the CPU what is asked of the device."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    there = any(isinstance(x, OnDevice) for x in tensors)
    if there and function not in COPIES and "index" not in function.__name__:
        strangers = [x for x in tensors if not isinstance(x, OnDevice) and x.ndim]
        assert not strangers, f"{function}: tensors here and on the device"
    target = kwargs.get("device")
    inner = {**kwargs, "device": "cpu"} if target is not None else kwargs
    inner_args, inner = tree_map(
        lambda x: x.inner if isinstance(x, OnDevice) else x, (args, inner)
    )
    out = function(*inner_args, **inner)
    if function == torch.ops.aten.copy_.default:
        return args[0]
    if not (torch.device(target).type == DEVICE.type if target is not None else there):
        return out
    out = tree_map(lambda x: OnDevice(x) if isinstance(x, torch.Tensor) else x, out)
    if there:
        return return_and_correct_aliasing(function, args, kwargs, out)
    return out


LIBRARY = torch.library.Library("_", "IMPL")
LIBRARY.fallback(compute, "PrivateUse1")
plain_tensor = torch.tensor


def tensor(*args, device=None, **options) -> torch.Tensor:
    """`torch.tensor`, which cannot build one on a device made in Python."""
    made = plain_tensor(*args, **options)
    return made if device is None else made.to(device)


torch.tensor = tensor

from small_runs import toy_set  # noqa: E402

from going_modular import attention_maps, learned_structure  # noqa: E402
from going_modular.config import ViTConfig  # noqa: E402
from going_modular.datasets.fast_batches import FastBatches, normaliser  # noqa: E402
from going_modular.datasets.fitting import fit_images  # noqa: E402
from going_modular.explorer.data import explore_image  # noqa: E402
from going_modular.inspection.capture import capture  # noqa: E402
from going_modular.inspection.deletion import deletion_test  # noqa: E402
from going_modular.optimization import build_optimizer, build_schedule  # noqa: E402
from going_modular.predictions import classify  # noqa: E402
from going_modular.relevance import relevance  # noqa: E402
from going_modular.training.trainer import Trainer  # noqa: E402
from going_modular.transfer.few_shot import compute_features  # noqa: E402
from going_modular.vit import ViT  # noqa: E402

CONFIG = ViTConfig(
    image_size=8, patch_size=4, in_channels=1, embedding_dim=8, depth=2, num_heads=2,
    mlp_size=12, num_classes=3,
)  # fmt: skip
DATA = toy_set(7)


def new_model(device: torch.device) -> ViT:
    torch.manual_seed(0)
    model = ViT(CONFIG)
    torch.nn.init.normal_(model.head.weight)
    return model.to(device)


def pictures(device: torch.device) -> torch.Tensor:
    return (DATA.images.float() / 255).to(device)


def train(device, **options):
    model = new_model(device)
    optimizer = build_optimizer(model, 1e-3, 0.1)
    batches = FastBatches(
        DATA, 3, shuffle=True, crop_area=0.5, transform=normaliser(), device=device
    )
    test_batches = FastBatches(DATA, 4, device=device)
    schedule = build_schedule(optimizer, 6, 2)
    trainer = Trainer(model, optimizer, schedule, batches, test_batches, 2, **options)
    results = trainer.train(lambda state: None, save_every=1)
    return list(results.values())


def attention(device):
    return capture(new_model(device).eval(), pictures(device)).attention.to(device)


CHECKS = {
    "training": train,
    "training in parts, averaged": lambda d: train(d, accumulate=2, average=0.9),
    "guesses": lambda d: classify(new_model(d).eval(), DATA.images),
    "features": lambda d: compute_features(
        new_model(d), FastBatches(DATA, 4, device=d)
    )[0],
    "fitted images": lambda d: fit_images(
        DATA.images.expand(-1, 3, -1, -1).contiguous().to(d), CONFIG
    ),
    "capture": attention,
    "rollout": lambda d: attention_maps.attention_rollout(attention(d)),
    "flow": lambda d: attention_maps.attention_flow(attention(d)[:, 0]),
    "distance": lambda d: attention_maps.mean_attention_distance(
        attention(d), (2, 2), 4
    ),
    "entropy": lambda d: attention_maps.attention_entropy(attention(d)),
    "relevance": lambda d: relevance(new_model(d).eval(), pictures(d)),
    "filters": lambda d: learned_structure.filter_components(new_model(d), 5)[1],
    "positions": lambda d: learned_structure.position_similarity(new_model(d)),
    "colours": lambda d: learned_structure.feature_colours(
        pictures(d).flatten(2).transpose(1, 2)[:, :5].expand(-1, -1, 8) + 0.0, (2, 2)
    ),
    "deletion": lambda d: deletion_test(
        new_model(d).eval(), pictures(d), pictures(d)[:, 0, :2, :2].flatten(1),
        torch.tensor([0, 1, 2, 0, 1, 2, 0]).to(d),
    ).highest,
    "explorer": lambda d: explore_image(
        new_model(d).eval(), DATA.images[0], ("a", "b", "c")
    ).attention_scales.tolist(),
}  # fmt: skip


def numbers(value) -> list[torch.Tensor]:
    """All numbers of a nested value, on the CPU."""
    leaves = tree_leaves(value)
    return [
        plain_tensor(x.tolist() if isinstance(x, torch.Tensor) else x) for x in leaves
    ]


def main() -> None:
    for name, check in CHECKS.items():
        try:
            here, there = (numbers(check(d)) for d in (torch.device("cpu"), DEVICE))
            torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-5)
            print(f"{name}: right")
        except Exception:
            print(f"{name}: {' '.join(traceback.format_exc(limit=-3).split())}")


if __name__ == "__main__":
    main()
