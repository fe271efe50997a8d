"""The exact population loss against enumeration, sampled token prompts (with gradients), and closed forms."""

import math

import pytest
import torch

from enumeration import every_prompt
from icl.theory.one_step import iid_mse, iid_optimum, optimal_preconditioner, preconditioned_mse
from icl.theory.population_loss import one_layer_half_mse, one_layer_half_mse_general
from tolerances import EXACT, SINGLE


def weights(draw, members, d, scale=0.3):
    """Random P_row and Q with every entry non-zero, far from gradient descent."""
    rows, Q = scale * draw.normal(members, d + 1)[0], scale * draw.normal(members, d + 1, d + 1)[0]
    return rows.requires_grad_(), Q.requires_grad_()


def token_error(P_row, Q, x, y, x_query, target, *, normalize):
    """ŷ − target of the layer as it is written: −(last coordinate) of e + c P (Σ eeᵀ) Q e at the query."""
    e = torch.cat([x, y[..., None]], -1)
    e_query = torch.cat([x_query, torch.zeros_like(x_query[..., :1])], -1)
    c = 1 / x.shape[-2] if normalize else 1.0
    return -c * torch.einsum("mi,bni,bnj,mjk,bk->mb", P_row, e, e, Q, e_query) - target


def gradients(loss, *parameters):
    return torch.autograd.grad(loss.sum(), parameters)


@pytest.mark.parametrize(
    ("n", "d", "kurtosis", "noise_std"),
    [(2, 2, 1.8, 0.7), (1, 2, 3.0, 0.4), (3, 1, 5.0, 0.3), (2, 2, 1.0, 0.0)],
)
@pytest.mark.parametrize("iid", [True, False])
def test_value_and_gradient_are_the_enumerated_ones(n, d, kurtosis, noise_std, iid, draw):
    P_row, Q = weights(draw, 2, d)
    mixing, w_root = draw.normal(2, d, d)[0]
    if iid:
        mixing, w_root = math.sqrt(0.3) * torch.eye(d).to(mixing), 1.7 * torch.eye(d).to(mixing)
    law = {"noise_std": noise_std, "kurtosis": kurtosis}
    x, y, w, probability = every_prompt(n, mixing=mixing, w_root=w_root, **law)
    found = sum(
        0.5 * token_error(P_row, Q, x, y, q.expand_as(w), w @ q, normalize=not iid).square() @ probability
        for q in mixing.T  # Σ = Σₖ qₖqₖᵀ over the columns of T: the sum over these queries is the average
    )
    if iid:
        exact = one_layer_half_mse(P_row, Q, n_context=n, normalize=False, x_variance=0.3, w_std=1.7, **law)
    else:
        laws = {"mixing": mixing, "w_covariance": w_root @ w_root.T}
        exact = one_layer_half_mse_general(P_row, Q, n_context=n, normalize=True, **laws, **law)
    torch.testing.assert_close(exact, found, **EXACT)
    for ours, theirs in zip(gradients(exact, P_row, Q), gradients(found, P_row, Q), strict=True):
        torch.testing.assert_close(ours, theirs, **EXACT)


def assert_sampled(exact, draw, P_row, Q, prompts, n_chunks=40):
    """|z| < 4 for every value and every entry of the gradient, standard errors from chunks of prompts."""
    values, slopes = [], []
    for _ in range(n_chunks):
        half_mse = 0.5 * token_error(P_row, Q, *prompts(draw), normalize=True).square().mean(-1)
        values.append(half_mse.detach())
        slopes.append(torch.cat([g.flatten() for g in gradients(half_mse, P_row, Q)]))
    exact_slopes = torch.cat([g.flatten() for g in gradients(exact, P_row, Q)])
    for sampled, truth in ((torch.stack(values), exact.detach()), (torch.stack(slopes), exact_slopes)):
        standard_error = sampled.std(0) / n_chunks**0.5
        assert ((sampled.mean(0) - truth).abs() <= 4 * standard_error + 1e-12).all()
        assert (standard_error / truth.norm()).max() < 0.05


@pytest.mark.parametrize("kurtosis", [1.8, 3.0])
def test_sampled_iid_prompts(kurtosis, draw):
    n, d, b, v = 4, 3, 10_000, 0.5
    P_row, Q = weights(draw, 2, d)

    def prompts(draw):
        z = math.sqrt(12) * (draw.uniform(b, n + 1, d)[0] - 0.5) if kurtosis == 1.8 else draw.normal(b, n + 1, d)[0]
        x, w = math.sqrt(v) * z, 1.3 * draw.normal(b, d)[0]
        y = (x @ w[..., None])[..., 0]
        return x[:, :-1], y[:, :-1] + 0.4 * draw.normal(b, n)[0], x[:, -1], y[:, -1]

    law = {"x_variance": v, "kurtosis": kurtosis, "w_std": 1.3, "noise_std": 0.4}
    exact = one_layer_half_mse(P_row, Q, n_context=n, normalize=True, **law)
    assert_sampled(exact, draw, P_row, Q, prompts)


def test_sampled_prompts_of_general_covariance(draw):
    n, d, b = 4, 3, 10_000
    P_row, Q = weights(draw, 2, d)
    mixing, w_root = 0.4 * draw.normal(2, d, d)[0]

    def prompts(draw):
        x, w = draw.normal(b, n + 1, d)[0] @ mixing.T, draw.normal(b, d)[0] @ w_root.T
        y = (x @ w[..., None])[..., 0]
        return x[:, :-1], y[:, :-1] + 0.4 * draw.normal(b, n)[0], x[:, -1], y[:, -1]

    root = torch.linalg.cholesky(mixing @ mixing.T)  # another root of Σ: for Gaussian inputs only Σ matters
    laws = {"mixing": root, "w_covariance": w_root @ w_root.T, "noise_std": 0.4}
    exact = one_layer_half_mse_general(P_row, Q, n_context=n, normalize=True, **laws)
    assert_sampled(exact, draw, P_row, Q, prompts)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kurtosis", [1.8, 3.0])
def test_the_general_form_reduces_to_the_iid_one(normalize, kurtosis, draw):
    d = 6
    P_row, Q = weights(draw, 5, d)
    law = {"n_context": 9, "normalize": normalize, "noise_std": 0.6, "kurtosis": kurtosis}
    eye = torch.eye(d, dtype=Q.dtype)
    iid = one_layer_half_mse(P_row, Q, x_variance=0.7, w_std=1.2, **law)
    general = one_layer_half_mse_general(P_row, Q, mixing=math.sqrt(0.7) * eye, w_covariance=1.44 * eye, **law)
    torch.testing.assert_close(general, iid, **EXACT)
    for one, other in zip(gradients(general, P_row, Q), gradients(iid, P_row, Q), strict=True):
        torch.testing.assert_close(one, other, **EXACT)


def gd_weights(gamma, scale=1.0):
    """P_row and Q of ŷ = x_qᵀ Γ Σ yx: P = diag(0, 1), Q = diag(−Γᵀ, 0), up to a factor that cancels."""
    d = len(gamma)
    P_row, Q = gamma.new_zeros(1, d + 1), gamma.new_zeros(1, d + 1, d + 1)
    P_row[0, -1], Q[0, :-1, :-1] = scale, -gamma.T / scale
    return P_row.requires_grad_(), Q.requires_grad_()


@pytest.mark.parametrize(("kurtosis", "noise_std"), [(1.8, 0.0), (3.0, 0.5)])
def test_gradient_descent_has_its_closed_form_and_is_stationary(kurtosis, noise_std):
    """No weight can improve the best step to first order: Mahankali et al., Theorem 1."""
    law = {"n_context": 10, "x_variance": 1 / 12, "kurtosis": kurtosis, "w_std": 1.5, "noise_std": noise_std}
    eye = torch.eye(10, dtype=torch.float64)
    half_mse = one_layer_half_mse(*gd_weights(0.3 * eye, scale=2.0), normalize=False, **law)
    assert half_mse.item() == pytest.approx(iid_mse(0.3, dim=10, **law) / 2, rel=1e-12)
    best = iid_optimum(dim=10, **law)
    P_row, Q = gd_weights(10 * best.step_size * eye)
    half_mse = one_layer_half_mse(P_row, Q, normalize=True, **law)
    assert half_mse.item() == pytest.approx(best.mse / 2, rel=1e-12)
    assert all(g.abs().max() < 1e-12 for g in gradients(half_mse, P_row, Q))


def test_the_uniform_optimum_of_von_oswald():
    P_row, Q = gd_weights(torch.eye(10, dtype=torch.float64) / 1.65)
    half_mse = one_layer_half_mse(P_row, Q, n_context=10, normalize=False, x_variance=1 / 12, kurtosis=1.8)
    assert half_mse.item() == pytest.approx(0.206229, abs=5.1e-7)


@pytest.mark.parametrize("noise_std", [0.0, 0.6])
def test_preconditioned_descent_has_its_closed_form_and_is_stationary(noise_std, draw):
    mixing, w_root, gamma = draw.normal(3, 4, 4)[0]
    mixing, w_root = mixing / 2, w_root / 2
    law = {"w_covariance": w_root @ w_root.T, "noise_std": noise_std, "n_context": 8}
    layer, covariance = {"mixing": mixing, "normalize": False, **law}, mixing @ mixing.T
    found = one_layer_half_mse_general(*gd_weights(gamma), **layer)
    expected = preconditioned_mse(gamma[None], covariance=covariance, **law) / 2
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    P_row, Q = gd_weights(optimal_preconditioner(covariance=covariance, **law))
    half_mse = one_layer_half_mse_general(P_row, Q, **layer)
    assert all(g.abs().max() < 1e-10 for g in gradients(half_mse, P_row, Q))


def test_symmetries_of_the_weights(draw):
    """(sP, Q/s) is the same map, a rotation of Gaussian inputs too, and Q's last column is never read."""
    P_row, Q = (t.detach() for t in weights(draw, 3, 4))
    law = {"n_context": 5, "normalize": True, "noise_std": 0.3}
    half_mse = one_layer_half_mse(P_row, Q, **law)
    torch.testing.assert_close(one_layer_half_mse(-3 * P_row, -Q / 3, **law), half_mse, **EXACT)
    turn = torch.block_diag(torch.linalg.qr(draw.normal(4, 4)[0])[0], torch.ones(1, 1).to(Q))
    torch.testing.assert_close(one_layer_half_mse(P_row @ turn, turn.T @ Q @ turn, **law), half_mse, **EXACT)
    blind = Q * torch.tensor([1.0, 1, 1, 1, 7]).to(Q)
    torch.testing.assert_close(one_layer_half_mse(P_row, blind, **law), half_mse, rtol=0, atol=0)


def test_members_are_independent_and_single_precision_is_enough(draw):
    P_row, Q = weights(draw, 7, 5)
    law = {"n_context": 5, "normalize": True}
    together = one_layer_half_mse(P_row, Q, **law)
    alone = torch.cat([one_layer_half_mse(P_row[m : m + 1], Q[m : m + 1], **law) for m in range(7)])
    torch.testing.assert_close(together, alone, **EXACT)
    eye = torch.eye(5, dtype=torch.float64)
    for single in (
        one_layer_half_mse(P_row.float(), Q.float(), **law),
        one_layer_half_mse_general(P_row.float(), Q.float(), mixing=eye, w_covariance=eye, **law),
    ):
        assert single.dtype == torch.float32
        torch.testing.assert_close(single, together.float(), **SINGLE)
