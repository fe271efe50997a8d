"""The first values of a `LlamaTranslator`: plain ones, and those that let it find a rule and a neighbour at once.

Plain LLaMA weights stay at chance on two levels for a long time. Three things stand in the way, and each has a start of
its own (the experiment `context_small_llama_start` takes them away one at a time):

    matching   layers 0, 2, ..: W_K = W_Q, so that a position attends to the rule whose key looks like itself, and
               W_O W_V = 1.5 I, so that it receives the rule's value in the very words of the next level's keys
    previous   layers 1, 3, ..: head 0 attends to the position before it, by rotary biases alone, and copies a
               projection of it: the other half of the next level's key. Its scores at distance δ are
               Σ_i b² cos(θ_i (δ − 1)) / √h over the two fastest rotary pairs, greatest at δ = 1
    frozen     queries and keys of those layers stay: Adam erases them before level 2 gives a signal
"""

import math
from typing import Any

import torch
from torch import Tensor

from icl.rng import Draw

LAYER_NAMES = ("q_proj.weight", "q_proj.bias", "k_proj.weight", "k_proj.bias")
TABLE_STD, COPY, COPY_PREVIOUS, N_PAIRS = 0.5, 1.5, 2.0, 2


@torch.no_grad()
def first_values(model: Any, draw: Draw) -> None:
    """Fill every parameter of `model`, in place."""
    for table in (model.first, model.second, model.kind):
        table.copy_(TABLE_STD * draw.normal(*table.shape[1:]))
    for name, value in (*model.lm.named_parameters(), *model.lm.named_buffers()):
        if name.endswith("norm.weight"):
            value.fill_(1.0)
        elif name.endswith(".bias"):
            value.zero_()
        elif name.endswith(".weight"):
            value.copy_(model.init_std * draw.normal(*value.shape[1:]))
    for index, layer in enumerate(model.lm.model.layers):
        if index % 2 == 0 and model.matching:
            match_content(layer.self_attn, model.matching, draw)
        if index % 2 == 1 and model.previous:
            look_back(layer.self_attn, model.previous, draw)


def match_content(attention: Any, scale: float, draw: Draw) -> None:
    """W_K = W_Q, and values that arrive as they were sent."""
    attention.q_proj.weight.mul_(scale)
    attention.k_proj.weight.copy_(attention.q_proj.weight)
    R = orthogonal(attention.v_proj.weight.shape[-1], draw)
    attention.v_proj.weight.copy_(R)
    attention.o_proj.weight.copy_(COPY * R.mT)


def look_back(attention: Any, bias: float, draw: Draw) -> None:
    """Head 0 copies from the position before."""
    head, width = attention.head_dim, attention.v_proj.weight.shape[-1]
    attention.q_proj.weight[:, :head] = 0.0
    attention.k_proj.weight[:, :head] = 0.0
    for i in range(N_PAIRS):
        angle = 10_000.0 ** (-2 * i / head)
        attention.k_proj.bias[:, i] = bias
        attention.q_proj.bias[:, i] = bias * math.cos(angle)
        attention.q_proj.bias[:, i + head // 2] = -bias * math.sin(angle)
    R = orthogonal(width, draw)[:, :head]
    attention.v_proj.weight[:, :head] = R
    attention.o_proj.weight[:, :, :head] = COPY_PREVIOUS * R.mT


def orthogonal(size: int, draw: Draw) -> Tensor:
    """A random rotation or reflection a member, uniform (QR with the signs of R's diagonal taken out)."""
    q, r = torch.linalg.qr(draw.normal(size, size))
    return q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None]
