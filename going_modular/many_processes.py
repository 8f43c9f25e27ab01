"""Several processes that train one model together.

They are started by torchrun and talk through Hugging Face's accelerate, on CPUs (gloo)
or GPUs (NCCL).
"""

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from datetime import timedelta

import torch
import torch.nn.functional as F
from torch import Tensor, distributed, nn

from going_modular.data_setup import Batches, random_stream
from going_modular.processes import Processes, world_size
from going_modular.shares import PADDING, Shares
from going_modular.utils import InputError

__all__ = ["ManyProcesses"]

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
        except ImportError:
            raise InputError(
                "several processes need accelerate: pip install accelerate"
            ) from None
        options = [DistributedDataParallelKwargs(gradient_as_bucket_view=True)]
        self.accelerator = Accelerator(
            cpu=kind == "cpu", mixed_precision="no", kwargs_handlers=options
        )
        self.rank = self.accelerator.process_index
        self.count = self.accelerator.num_processes
        assert self.count == world_size(), "each would train alone"
        super().__init__("cpu" if kind == "cpu" else self.accelerator.device)
        # Beside the gradients' way: on CPUs, so that no GPU has to be waited for.
        self.quiet = distributed.new_group(backend="gloo", timeout=PATIENCE)
        self.asked = None
        self.stack = ExitStack()

    def __str__(self) -> str:
        return f"{self.device}, {self.count} processes"

    def __enter__(self) -> "ManyProcesses":
        if not self.is_first:
            nowhere = self.stack.enter_context(open(os.devnull, "w"))
            self.stack.enter_context(redirect_stdout(nowhere))
        return self

    def __exit__(self, kind, *error) -> None:
        self.stack.close()
        if kind is None:
            self.wait()
            self.accelerator.end_training()

    def wait(self) -> None:
        distributed.barrier(group=self.quiet)

    @contextmanager
    def in_turns(self) -> Iterator[None]:
        turn = 2 if self.accelerator.local_process_index else min(self.rank, 1)
        for _ in range(turn):
            self.wait()
        yield
        for _ in range(turn, 3):  # and all leave together
            self.wait()

    def agree(self, choice):
        choices = [choice]
        distributed.broadcast_object_list(choices, group=self.quiet)
        return choices[0]

    def share(self, batches: Batches) -> Batches:
        return Shares(**vars(batches), rank=self.rank, count=self.count)

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
        for images, labels in batches:
            logits = model(images)
            losses = F.cross_entropy(logits, labels, reduction="none")  # (B / count,)
            loss += losses.double().sum()
            correct += (logits.argmax(dim=1) == labels).sum()
        loss, correct = self.total(loss, correct)
        return loss.item() / len(batches.data), correct.item() / len(batches.data)

    @torch.inference_mode()
    def predict(self, model: nn.Module, batches: Batches) -> tuple[Tensor, Tensor]:
        model.eval()
        pairs = [torch.stack([model(x).argmax(dim=1), y], dim=1) for x, y in batches]
        pairs = self.accelerator.gather(torch.cat(pairs)).cpu()  # (n + padding, 2)
        pairs = pairs[pairs[:, 1] != PADDING]  # (n, 2)
        return pairs[:, 0], pairs[:, 1]  # (n,), (n,)


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
