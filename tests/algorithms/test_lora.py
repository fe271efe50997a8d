"""Adapters against autograd, the spectral start against the best low-rank matrix, and the theorem of the alignment."""

import pytest
import torch

from icl.algorithms.lora import Lora, moments
from icl.algorithms.lora_one import LoraOne
from icl.core import Prompt
from icl.models.linear_attention import LinearAttention
from icl.probes.adapter_alignment import AdapterAlignment, excess, own_map, within
from icl.rng import Draw
from icl.tasks.low_rank_regression import LowRankRegression
from tolerances import EXACT

TASK = LowRankRegression(dim=6, n_outputs=5, n_context=30, rank=2, weight_scale=0.3)


def by_autograd(A, B, prompt, step_size, steps):
    """The first prompt, with the loss written as in the class."""
    A, B = A.clone().requires_grad_(), B.clone().requires_grad_()
    x, y = prompt.x[0, 0], prompt.y[0, 0]
    for _ in range(steps):
        loss = 0.5 * (x @ A @ B - y).square().sum(1).mean()
        gradients = torch.autograd.grad(loss, (A, B))
        with torch.no_grad():
            A -= step_size * gradients[0]
            B -= step_size * gradients[1]
    return A.detach(), B.detach()


def test_lora_is_gradient_descent_on_both_factors(draw):
    prompt = TASK.sample(3, draw).prompt
    lora = Lora(rank=2, step_size=0.2, steps=7, init_scale=0.5)
    A, B = lora.adapters(prompt)
    a, b = by_autograd(A[0, 0, 0], B[0, 0, 0], prompt, 0.2, 7)
    torch.testing.assert_close(A[-1, 0, 0], a, **EXACT)
    torch.testing.assert_close(B[-1, 0, 0], b, **EXACT)
    torch.testing.assert_close(lora(prompt)[-1, 0, 0], prompt.x_query[0, 0] @ a @ b, **EXACT)


def test_the_spectral_start_is_the_best_low_rank_piece_of_one_gradient_step(draw):
    prompt = TASK.sample(3, draw).prompt
    algorithm = LoraOne(rank=2, step_size=0.2, steps=4, spectral_step=0.5)
    A, B = algorithm.adapters(prompt)
    U, S, Vh = torch.linalg.svd(moments(prompt)[1])
    best = U[..., :2] @ torch.diag_embed(S[..., :2]) @ Vh[..., :2, :]
    torch.testing.assert_close(A[1] @ B[1], 0.5 * best, **EXACT)
    torch.testing.assert_close(A[1].mT @ A[1], B[1] @ B[1].mT, **EXACT)  # the factors are balanced
    a, b = by_autograd(A[1, 0, 0], B[1, 0, 0], prompt, 0.2, 3)
    torch.testing.assert_close(A[4, 0, 0] @ B[4, 0, 0], a @ b, **EXACT)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_without_noise_every_step_of_B_is_in_the_right_singular_space(rank, draw):
    prompt = TASK.sample(4, draw).prompt
    _, B = Lora(rank=rank, step_size=0.2, steps=50).adapters(prompt)
    V = torch.linalg.svd(moments(prompt)[1])[2][..., :2, :].mT
    assert within(B[1:].mT, V).min() > 1 - 1e-12


def test_the_probe_measures_what_it_says(draw):
    model = LinearAttention(dim=6, n_outputs=5, parametrization="merged", normalize=True, dtype=torch.float64)
    with torch.no_grad():  # y_q ← y_q + Σ y x^T x_q / N, the gradient step of size 1; the guess is minus that
        model.P[0, 0, 6:, 6:] = -torch.eye(5)
        model.Q[0, 0, :6, :6] = torch.eye(6)
    prompt = TASK.sample(2, draw).prompt
    torch.testing.assert_close(own_map(model, prompt), moments(prompt)[1], **EXACT)
    asked = AdapterAlignment(
        adapter=Lora(rank=2, step_size=0.2, steps=120), spectral=LoraOne(rank=2, step_size=0.2, steps=1)
    )
    found = asked.measure(model, TASK, Draw([0], "probe"))
    assert found.numbers["icl_cosine"].item() == pytest.approx(1, abs=1e-12)
    assert found.numbers["share_least"].item() == pytest.approx(1, abs=1e-12)
    C, XY = moments(prompt)
    W = torch.linalg.solve(C, XY)
    zero = torch.zeros(1, 1, 2, 6, 1).double(), torch.zeros(1, 1, 2, 1, 5).double()
    by_hand = 0.5 * (prompt.x @ W).square().sum(-1).mean(-1)
    torch.testing.assert_close(excess(zero, C, XY)[0], by_hand, **EXACT)


def test_a_model_without_a_map_and_bad_values_are_refused(draw):
    with pytest.raises(ValueError, match="a model with n_outputs has a map"):
        AdapterAlignment(
            adapter=Lora(rank=1, step_size=0.1, steps=1), spectral=LoraOne(rank=1, step_size=0.1, steps=1)
        ).measure(LinearAttention(dim=6), TASK, draw)
    for bad in ({"rank": 0}, {"step_size": 0.0}, {"init_scale": 0.0}):
        with pytest.raises(ValueError, match="must be"):
            Lora(**{"rank": 1, "step_size": 0.1, "steps": 1} | bad)
    with pytest.raises(ValueError, match=r"rank=6 must be in 1\.\.5"):
        LowRankRegression(dim=6, n_outputs=5, n_context=3, rank=6)
    single = Prompt(draw.normal(2, 4, 3), draw.normal(2, 4), draw.normal(2, 3))
    assert Lora(rank=1, step_size=0.1, steps=2)(single).shape == (3, 1, 2)
