"""Attention token by token, the outer products, and a step of autograd: three ways to the same number."""

import pytest
import torch

from icl.constructions.dual_form import demonstrations_as_update, zero_shot_weight
from tolerances import EXACT


@pytest.fixture
def drawn(draw):
    dim, width, n, s = 6, 4, 7, 3
    shapes = {"W_V": (width, dim), "W_K": (width, dim), "W_Q": (width, dim), "demos": (dim, n), "own": (dim, s)}
    return {name: draw.normal(*shape)[0] for name, shape in shapes.items()}


def test_linear_attention_is_the_updated_layer(drawn):
    W_V, W_K, q = drawn["W_V"], drawn["W_K"], drawn["W_Q"] @ drawn["own"][:, -1]
    attended = torch.zeros(4, dtype=torch.float64)
    for x in (*drawn["demos"].T, *drawn["own"].T):  # causally, token by token, from the first demonstration on
        attended = attended + (W_V @ x) * torch.dot(W_K @ x, q)
    whole = zero_shot_weight(W_V, W_K, drawn["own"]) + demonstrations_as_update(W_V, W_K, drawn["demos"])
    torch.testing.assert_close(whole @ q, attended, **EXACT)


def test_the_update_is_a_step_of_gradient_descent(drawn):
    W_V, W_K, demos = drawn["W_V"], drawn["W_K"], drawn["demos"]
    before = zero_shot_weight(W_V, W_K, drawn["own"])
    W = before.clone().requires_grad_(True)
    optimizer = torch.optim.SGD([W], lr=1.0)
    loss = -((W_V @ demos) * (W @ (W_K @ demos))).sum()
    loss.backward()
    optimizer.step()
    torch.testing.assert_close(W.detach() - before, demonstrations_as_update(W_V, W_K, demos), **EXACT)
