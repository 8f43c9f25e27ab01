"""A model shared out over processes: each holds a part of every parameter.

PyTorch's `fully_shard` (FSDP2) is called directly: accelerate shards on GPUs alone, and
only one model together with its optimiser. Like this the same lines run on CPUs, where
they are tested, and the running average is shared out too. Source: Zhao et al.,
PyTorch FSDP, arXiv 2304.11277.
"""

from contextlib import nullcontext

import torch
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from going_modular.many_processes import ManyProcesses
from going_modular.transformer_encoder import TransformerEncoderBlock
from going_modular.vit import ViT

__all__ = ["ShardedProcesses", "shard", "spread", "whole"]


class ShardedProcesses(ManyProcesses):
    """Several processes, each with a part of every parameter."""

    sharded = True

    def __str__(self) -> str:
        return f"{super().__str__()}, parameters shared out"

    def place(self, model: nn.Module) -> nn.Module:
        return model  # it goes to the devices in parts

    def wrap(self, model: nn.Module, optimizer=None) -> nn.Module:
        mesh = distributed.init_device_mesh(self.device.type, (self.count,))
        shard(model, mesh, optimizer)
        return model

    def skip_sync(self, model: nn.Module):
        return nullcontext()  # gradients are summed at once: whole, they take memory

    def whole(self, state: dict) -> dict:
        return whole(state, self.is_first)

    def spread(self, part, state: dict) -> dict:
        return spread(part, state)

    def whole_model(self, model: ViT) -> ViT | None:
        state = self.whole(model.state_dict())
        if not self.is_first:
            return None
        copy = ViT(model.config)
        copy.load_state_dict(state)
        return copy


def shard(
    model: nn.Module, mesh: DeviceMesh, optimizer: torch.optim.Optimizer | None = None
) -> None:
    """Leave each process a part of every parameter, in place.

    A block's parameters come together just before it computes, and are parted again
    right after.

    Args:
        model: The same on all processes; it may be on the CPU, and ends on the mesh's
            devices.
        mesh: The processes.
        optimizer: Of the model's parameters, before its first step; it goes on with
            the parts.
    """
    before = list(model.parameters())
    blocks = [m for m in model.modules() if isinstance(m, TransformerEncoderBlock)]
    for module in (*blocks, model):
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
    if optimizer is not None:
        now = dict(zip(before, model.parameters(), strict=True))
        for group in optimizer.param_groups:
            group["params"] = [now[parameter] for parameter in group["params"]]
            if isinstance(optimizer, torch.optim.SGD):
                group["fused"] = False  # that kernel takes no parts of parameters


def whole(state, keep: bool = True):
    """A nested state with all its tensors whole, on the CPU.

    All processes must call it. Those that do not `keep` get None for each tensor that
    was shared out.
    """
    if isinstance(state, DTensor):
        tensor = state.full_tensor()
        return tensor.cpu() if keep else None
    if isinstance(state, dict):
        return {key: whole(value, keep) for key, value in state.items()}
    return state


def spread(part, state: dict) -> dict:
    """A whole state as a sharded model, or its optimiser, can load it."""
    if isinstance(part, nn.Module):
        own = part.state_dict()
        return {name: spread_like(own[name], value) for name, value in state.items()}
    if isinstance(part, torch.optim.Optimizer):
        parameters = [p for group in part.param_groups for p in group["params"]]
        of_each = {
            i: {name: spread_like(parameters[i], value) for name, value in own.items()}
            for i, own in state["state"].items()
        }
        groups = [
            {**saved, "fused": own["fused"]}
            for saved, own in zip(state["param_groups"], part.param_groups, strict=True)
        ]
        return {**state, "state": of_each, "param_groups": groups}
    return state


def spread_like(example: Tensor, value):
    """Share a tensor out as another of its shape is."""
    if not isinstance(example, DTensor) or not isinstance(value, Tensor):
        return value
    if value.shape != example.shape:  # such as AdamW's count of steps
        return value
    mesh, places = example.device_mesh, example.placements
    value = value.to(mesh.device_type)
    return distribute_tensor(value, mesh, places, src_data_rank=None)
