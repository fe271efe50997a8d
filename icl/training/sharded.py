"""A module over ranks: whole copies (DDP) or shards (FSDP2), and its whole state as plain tensors.

References: Zhao et al. 2023, PyTorch FSDP, arXiv:2304.11277; torch.distributed.fsdp.fully_shard (FSDP2)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from icl.config.machines import Accelerate


def accelerator_for(device: torch.device, options: Accelerate) -> Any:
    """accelerate's view of this process: rank, device, precision. One training at a time in a process."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=True)
    return Accelerator(cpu=device.type == "cpu", mixed_precision=options.mixed_precision)


def distribute(module: nn.Module, accelerator: Any, options: Accelerate) -> Any:
    """`module` over all ranks: sharded where the options say so, else one copy a rank with averaged gradients."""
    if options.sharding == "none":
        return accelerator.prepare_model(module)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    if accelerator.num_processes == 1:
        raise ValueError("accelerate.sharding=fsdp2 needs more than one rank; state devices=N")
    module = module.to(accelerator.device)
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    how = {
        "mesh": mesh,
        "shard_placement_fn": lambda p: placement(p, accelerator.num_processes),
        "offload_policy": CPUOffloadPolicy() if options.cpu_offload else OffloadPolicy(),
    }
    blocks = [m for m in module.modules() if type(m).__name__ == options.wrap]
    if options.wrap is not None and not blocks:
        raise ValueError(f"accelerate.wrap={options.wrap}: the model has no module of that class")
    for block in blocks:
        fully_shard(block, **how)
    return fully_shard(module, **how)


def placement(parameter: Tensor, n_ranks: int) -> Any:
    """Along the longest axis that the ranks divide; the first axis of every parameter is M = 1, and no use."""
    from torch.distributed.tensor import Shard

    axes = [axis for axis, size in enumerate(parameter.shape) if size % n_ranks == 0]
    return Shard(max(axes, key=lambda axis: parameter.shape[axis]) if axes else 0)


def _options(*, whole: bool = True) -> Any:
    from torch.distributed.checkpoint.state_dict import StateDictOptions

    return StateDictOptions(full_state_dict=whole, cpu_offload=whole)


def whole_state(module: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> tuple[dict[str, Tensor], Any]:
    """Tensors on rank 0 (empty elsewhere), and the plain numbers that an optimiser keeps in its groups.

    Keys are model.<parameter> and optimizer.<model.parameter>/<moment>. Every rank must call it: shards are gathered.
    """
    from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict

    weights: Any = get_model_state_dict(module, options=_options())
    tensors = {k: weights.pop(k).clone() for k in list(weights)}  # each goes as it is copied
    if optimizer is None:
        return tensors, []
    found: Any = get_optimizer_state_dict(module, optimizer, options=_options())
    moments = found.get("state", {})
    for parameter in list(moments):
        state = moments.pop(parameter)
        tensors |= {f"optimizer.{parameter}/{k}": v.clone() for k, v in state.items() if isinstance(v, Tensor)}
    groups = [{k: v for k, v in g.items() if isinstance(v, bool | int | float)} for g in found.get("param_groups", [])]
    return tensors, groups


def load_state(
    module: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: Sequence[Any]
) -> None:
    """The inverse of `whole_state`; every rank brings the whole state and keeps its part."""
    from torch.distributed.checkpoint.state_dict import (
        get_optimizer_state_dict,
        set_model_state_dict,
        set_optimizer_state_dict,
    )

    set_model_state_dict(module, {k: v for k, v in tensors.items() if k.startswith("model.")}, options=_options())
    if not any(key.startswith("optimizer.") for key in tensors):  # plain SGD has no moments, and torch refuses that
        for group, own in zip(optimizer.param_groups, numbers, strict=True):
            group.update(own)
        return
    fresh: Any = get_optimizer_state_dict(module, optimizer, options=_options(whole=False))
    state: dict[str, Any] = {parameter: dict(own) for parameter, own in fresh["state"].items()}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            parameter, _, name = key.removeprefix("optimizer.").partition("/")
            state.setdefault(parameter, {})[name] = value
    groups = [group | dict(own) for group, own in zip(fresh["param_groups"], numbers, strict=True)]
    set_optimizer_state_dict(module, optimizer, {"state": state, "param_groups": groups}, options=_options())
    _restore_types(optimizer, tensors)


def _restore_types(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """torch casts every moment to the type of its parameter; NAdam's running product is kept in fp32."""
    kinds = {key.rpartition("/")[2]: value.dtype for key, value in tensors.items() if key.startswith("optimizer.")}
    for state in optimizer.state.values():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.dtype != kinds.get(name, value.dtype):
                state[name] = value.to(kinds[name])
