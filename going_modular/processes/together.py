"""Several processes that train one model together.

They are started by torchrun and talk through Hugging Face's accelerate, on CPUs (gloo)
or GPUs (NCCL).
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, redirect_stdout
from dataclasses import replace
from datetime import timedelta

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from going_modular.data_setup import Batches
from going_modular.datasets.fast_batches import PADDING, FastBatches
from going_modular.errors import InputError
from going_modular.processes.alone import TESTING, Processes, world_size
from going_modular.system.progress import progress_over
from going_modular.transformer_encoder import TransformerEncoderBlock
from going_modular.utils import random_stream
from going_modular.vit import ViT

__all__ = ["ManyProcesses", "ShardedProcesses"]

PATIENCE = timedelta(days=1)  # for one process that loads data or saves


class ManyProcesses(Processes):
    """Several processes, each with its share of every batch and the same weights.

    Raises:
        InputError: The device cannot be had, or accelerate is missing.
    """

    def __init__(self, device: str = "auto"):
        """Meet the others.

        Args:
            device: "auto", "cpu" or "cuda": each process has a GPU of its own.
        """
        kind = device_kind(device)
        try:
            from accelerate import Accelerator, DistributedDataParallelKwargs
            from accelerate.utils import InitProcessGroupKwargs
        except ImportError:
            raise InputError(
                "several processes need accelerate: pip install accelerate"
            ) from None
        options = [
            DistributedDataParallelKwargs(gradient_as_bucket_view=True),
            InitProcessGroupKwargs(timeout=PATIENCE),
        ]
        self.accelerator = Accelerator(
            cpu=kind == "cpu", mixed_precision="no", kwargs_handlers=options
        )
        self.rank = self.accelerator.process_index
        self.count = self.accelerator.num_processes
        assert self.count == world_size(), "each would train alone"
        super().__init__("cpu" if kind == "cpu" else self.accelerator.device)
        # accelerate's triggers wait for the GPU at each step and do not tell which
        # signal came. This goes beside the gradients' way, from CPU to CPU.
        self.quiet = distributed.new_group(backend="gloo", timeout=PATIENCE)
        self.asked = None
        self.stack = ExitStack()

    def __str__(self) -> str:
        return f"{self.device}, {self.count} processes"

    def __enter__(self) -> "ManyProcesses":
        if not self.is_first:
            nowhere = self.stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            self.stack.enter_context(redirect_stdout(nowhere))
        return self

    def __exit__(self, kind, *error) -> None:
        self.stack.close()
        if kind is None:
            self.wait()
            self.accelerator.end_training()

    def wait(self) -> None:
        self.accelerator.wait_for_everyone()

    @contextmanager
    def in_turns(self) -> Iterator[None]:
        all_machines = self.accelerator.main_process_first()
        with all_machines, self.accelerator.local_main_process_first():
            yield
        self.wait()  # all leave together

    def first_process_choice(self, choice):
        from accelerate.utils import broadcast_object_list

        return broadcast_object_list([choice])[0]

    def share(self, batches: FastBatches) -> FastBatches:
        return replace(batches, rank=self.rank, count=self.count)

    def wrap(self, model: nn.Module, optimizer=None) -> nn.Module:
        # Comes where a share is one image; it costs a copy of a few numbers.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view")
        return self.accelerator.prepare(model)

    def skip_sync(self, model: nn.Module):
        return self.accelerator.no_sync(model)

    def begin_step(self, *key: int) -> None:
        torch.manual_seed(random_stream(*key, self.rank).initial_seed())

    def total(self, *numbers: Tensor) -> tuple[Tensor, ...]:
        together = torch.stack([number.double() for number in numbers])
        together = self.accelerator.reduce(together, "sum")
        return tuple(s.to(n.dtype) for s, n in zip(together, numbers, strict=True))

    def stop_signal(self, received: int | None, now: bool = False) -> int | None:
        word = torch.tensor(received or 0)
        work = distributed.all_reduce(
            word, distributed.ReduceOp.MAX, group=self.quiet, async_op=True
        )
        ours = word, work
        self.asked, asked = (None, ours) if now else (ours, self.asked)
        if asked is None:
            return None
        word, work = asked
        work.wait()
        return word.item() or None

    @torch.inference_mode()
    def evaluate(self, model: nn.Module, batches: Batches) -> tuple[float, float]:
        model.eval()
        loss = torch.zeros((), dtype=torch.float64, device=self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        for images, labels in progress_over(batches, TESTING):
            logits = model(images)
            losses = F.cross_entropy(logits, labels, reduction="none")  # (B / count,)
            loss += losses.double().sum()
            correct += (logits.argmax(dim=1) == labels).sum()
        loss, correct = self.total(loss, correct)
        return loss.item() / len(batches.data), correct.item() / len(batches.data)

    @torch.inference_mode()
    def predict(self, model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
        model.eval()
        found = []
        for x, y in progress_over(batches, TESTING):
            # Gathered one by one, the parts lie in the images' order.
            logits, labels = self.accelerator.gather((model(x), y))  # (B + padding, ..)
            real = labels != PADDING
            found.append((logits[real].cpu(), labels[real].cpu()))
        logits, labels = zip(*found, strict=True)
        return torch.cat(logits), torch.cat(labels)  # (n, K), (n,)


def device_kind(name: str) -> str:
    """Turn a device's name into "cpu" or "cuda", of which each process gets one."""
    gpus = torch.cuda.device_count()
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    if name not in ("cpu", "cuda"):
        raise InputError(
            f"several processes take --device cpu or cuda, not {name!r}: each has a "
            "GPU of its own"
        )
    here = int(os.environ["LOCAL_WORLD_SIZE"])
    if name == "cuda" and here > gpus:
        raise InputError(
            f"{here} processes on this machine, which has GPUs for {gpus}: start one "
            "for each GPU, or add --device cpu"
        )
    return name


class ShardedProcesses(ManyProcesses):
    """Several processes, each with a part of every parameter: PyTorch's FSDP2.

    It is called directly, since accelerate's plugin for it leaves CPUs alone.
    """

    sharded = True

    def __str__(self) -> str:
        return f"{super().__str__()}, parameters shared out"

    def place(self, model: nn.Module) -> nn.Module:
        return model  # it goes to the devices in parts

    def wrap(self, model: nn.Module, optimizer=None) -> nn.Module:
        mesh = distributed.init_device_mesh(self.device.type, (self.count,))
        before = list(model.parameters())
        # Their parts come together just before they compute, the blocks' within the
        # model's, which may be called through a wrapper or by itself.
        kinds = ViT | TransformerEncoderBlock
        for module in reversed([m for m in model.modules() if isinstance(m, kinds)]):
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
        now = dict(zip(before, model.parameters(), strict=True))
        for group in optimizer.param_groups if optimizer else ():
            group["params"] = [now[parameter] for parameter in group["params"]]
            if isinstance(optimizer, torch.optim.SGD):
                group["fused"] = False  # that kernel takes no parts of parameters
        return model

    def skip_sync(self, model: nn.Module):
        return nullcontext()  # gradients are summed at once: whole, they take memory

    def whole(self, state):
        if isinstance(state, dict):
            return {name: self.whole(value) for name, value in state.items()}
        if not isinstance(state, DTensor):
            return state
        tensor = state.full_tensor()  # all processes must take part
        return tensor.cpu() if self.is_first else None

    def spread(self, part, state: dict) -> dict:
        if isinstance(part, nn.Module):
            own = part.state_dict()
            return {name: share_out_like(own[name], w) for name, w in state.items()}
        if not isinstance(part, torch.optim.Optimizer):
            return state
        groups = zip(state["param_groups"], part.param_groups, strict=True)
        parameters = [p for group in part.param_groups for p in group["params"]]
        return {
            "state": {
                i: {k: share_out_like(parameters[i], w) for k, w in own.items()}
                for i, own in state["state"].items()
            },
            "param_groups": [{**saved, "fused": own["fused"]} for saved, own in groups],
        }

    def whole_model(self, model: ViT) -> ViT | None:
        state = self.whole(model.state_dict())
        if not self.is_first:
            return None
        copy = ViT(model.config)
        copy.load_state_dict(state)
        return copy


def share_out_like(example: Tensor, value):
    """Share a tensor out as another of its shape is."""
    if not isinstance(example, DTensor) or not isinstance(value, Tensor):
        return value
    if value.shape != example.shape:  # such as AdamW's count of steps
        return value
    mesh, places = example.device_mesh, example.placements
    value = value.to(mesh.device_type)
    return distribute_tensor(value, mesh, places, src_data_rank=None)
