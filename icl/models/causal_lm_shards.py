"""A language model's layers cut over the ranks of a group (FSDP2): each rank holds its share, gathered layer by layer.

Embeddings, the last norm and the head stay whole on every rank. All ranks read the same prompts, so their gradients are
the same and the average that FSDP takes over ranks changes nothing: what comes out is what one process computes.
Every rank reads the whole file into the memory of its host before it keeps its share.

References: Zhao et al. 2023, PyTorch FSDP, arXiv:2304.11277; torch.distributed.fsdp.fully_shard (FSDP2)
"""

from typing import Any

import torch
from torch import Tensor


def shard_layers(lm: Any, device: str | torch.device, *, offload: bool = False) -> Any:
    """`lm` with every decoder layer cut over all ranks of the default process group, the rest on `device`."""
    from torch import distributed
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import CPUOffloadPolicy, OffloadPolicy, fully_shard

    mesh = init_device_mesh(torch.device(device).type, (distributed.get_world_size(),))
    for layer in lm.base_model.layers:  # each for itself: the model is entered below its head, and layer by layer
        fully_shard(
            layer, mesh=mesh, reshard_after_forward=True,
            offload_policy=CPUOffloadPolicy() if offload else OffloadPolicy(),
        )  # fmt: skip
    shards = {p for layer in lm.base_model.layers for p in layer.parameters()}
    for module in lm.modules():  # `lm.to` would move the shards that are to stay on the CPU
        for name, p in module.named_parameters(recurse=False):
            if p not in shards:
                getattr(module, name).data = p.data.to(device)
        for name, buffer in module.named_buffers(recurse=False):
            setattr(module, name, buffer.to(device))
    return lm


def whole(value: Tensor) -> Tensor:
    """A shard's whole tensor, on every rank; any other tensor as it is."""
    gathered = getattr(value, "full_tensor", None)
    return value if gathered is None else gathered()


def held(lm: Any) -> int:
    """Numbers that this rank holds."""
    return sum(getattr(p, "_local_tensor", p).numel() for p in lm.parameters())
