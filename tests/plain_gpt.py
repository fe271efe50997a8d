"""A GPT-style decoder written down token by token for one model: the twin of the banks, sharing no code with them."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def of_member(model, member: int) -> Weights:
    """The weights of one member as leaves of their own."""
    return {k: v[member].detach().clone().requires_grad_(True) for k, v in model.gpt.named_parameters()}


def tokens(w: Weights, x: Tensor, y: Tensor) -> Tensor:
    """Rows x_1, (y_1, 0, ..), x_2, .., x_P times the read-in, plus positions; x is P D, y is P."""
    rows = []
    for i in range(len(x)):
        rows += [x[i], F.pad(y[i : i + 1], (0, x.shape[1] - 1))]
    embedded = torch.stack(rows[:-1]) @ w["read_in"] + w["read_in_bias"]
    return embedded + w["positions"][: len(rows) - 1]


def attended(kernel: str, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """One head, query by query and key by key; S E."""
    rows = []
    for i in range(len(q)):
        if kernel == "softmax":
            scores = torch.stack([torch.exp(q[i] @ k[j] / math.sqrt(q.shape[1])) for j in range(i + 1)])
            scores = scores / scores.sum()
        elif kernel == "linear":
            scores = torch.stack([q[i] @ k[j] / math.sqrt(q.shape[1]) for j in range(i + 1)]) / (i + 1)
        else:
            distances = torch.stack([(q[i] - k[j]).square().sum() for j in range(i + 1)])
            scores = torch.exp(-distances / (2 * math.sqrt(q.shape[1]))) / (i + 1)
        rows.append(sum(a * v[j] for j, a in enumerate(scores)))
    return torch.stack(rows)


def layer(w: Weights, at: int, h: Tensor, n_heads: int, kernel: str = "softmax") -> Tensor:
    """Pre-LN attention and MLP; h is S E."""
    width, size = h.shape[1], h.shape[1] // n_heads
    n = F.layer_norm(h, (width,), w["gain_1"][at, 0], w["shift_1"][at, 0])
    q, k, v = (n @ w["W_qkv"][at] + w["b_qkv"][at]).split(width, dim=1)
    heads = []
    for i in range(n_heads):
        part = slice(i * size, (i + 1) * size)
        heads.append(attended(kernel, q[:, part], k[:, part], v[:, part]))
    h = h + torch.cat(heads, 1) @ w["W_o"][at] + w["b_o"][at]
    n = F.layer_norm(h, (width,), w["gain_2"][at, 0], w["shift_2"][at, 0])
    return h + F.gelu(n @ w["W_up"][at] + w["b_up"][at], approximate="tanh") @ w["W_down"][at] + w["b_down"][at]


def final_norm(w: Weights, h: Tensor) -> Tensor:
    return F.layer_norm(h, h.shape[1:], w["gain"][0], w["shift"][0])


def read_out(w: Weights, n: Tensor) -> Tensor:
    """Guesses at the x tokens."""
    return (n[::2] @ w["read_out"] + w["read_out_bias"])[:, 0]


def stacked(w: Weights, x: Tensor, y: Tensor, n_heads: int, kernel: str = "softmax") -> Tensor:
    """The guesses after every layer, T P, without entry 0."""
    h, guesses = tokens(w, x, y), []
    for at in range(len(w["W_qkv"])):
        h = layer(w, at, h, n_heads, kernel)
        guesses.append(read_out(w, final_norm(w, h)))
    return torch.stack(guesses)


def looped(copies: list[Weights], x: Tensor, y: Tensor, n_heads: int, *, detach_before: int = 0) -> Tensor:
    """One entry of `copies` a loop, untied; the state before loop `detach_before` is a constant. Guesses T P."""
    z, guesses = torch.zeros_like(tokens(copies[0], x, y)), []
    for t, w in enumerate(copies):
        h = (z.detach() if t <= detach_before else z) + tokens(w, x, y)
        for at in range(len(w["W_qkv"])):
            h = layer(w, at, h, n_heads)
        z = final_norm(w, h)
        guesses.append(read_out(w, z))
    return torch.stack(guesses)
