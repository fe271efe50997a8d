"""Preconditioned attention against linear attention with the assembled P and Q, and against gradient descent."""

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.gradient_descent_plus_plus import GradientDescentPlusPlus
from icl.core import Prompt
from icl.models.linear_attention import LinearAttention
from icl.models.preconditioned_attention import PreconditionedAttention
from icl.rng import Draw
from tolerances import EXACT

SHAPES = [(1, False), (2, False), (3, False), (4, False), (2, True), (4, True)]


def model_of(draw, **options):
    model = PreconditionedAttention(dim=3, n_seeds=2, init_std=0.4, dtype=torch.float64, **options)
    model.reset(Draw([1, 2], "init", dtype=torch.float64))
    return model


def prompt_of(draw, n_streams=1):
    many = Draw(range(n_streams), draw.name, dtype=torch.float64)
    return Prompt(many.normal(4, 7, 3), many.normal(4, 7), many.normal(4, 3))


def twin(model):
    """Linear attention with free full matrices, at the assembled ones."""
    other = LinearAttention(
        dim=3, n_layers=model.n_layers, tied=model.tied, parametrization="merged", normalize=True, n_seeds=2,
        dtype=torch.float64,
    )  # fmt: skip
    P, Q = model.merged()
    other.load_state_dict({"P": P, "Q": Q, "w_init": other.w_init})
    return other


@pytest.mark.parametrize("n_streams", [1, 2])
@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(
    ("n_layers", "tied", "x_update"), [(*shape, x) for shape in SHAPES for x in (False, True) if shape[0] > 1 or not x]
)
def test_it_is_linear_attention_of_the_assembled_matrices(n_layers, tied, x_update, symmetric, n_streams, draw):
    """Every layer, and the gradients of the fast form against those through the other model's P and Q."""
    model = model_of(draw, n_layers=n_layers, tied=tied, x_update=x_update, symmetric=symmetric)
    prompt, other = prompt_of(draw, n_streams), twin(model)
    torch.testing.assert_close(model(prompt), other(prompt), **EXACT)
    torch.testing.assert_close(model.last(prompt), model(prompt)[-1], **EXACT)
    fast = torch.autograd.grad(model.last(prompt).square().sum(), list(model.parameters()))
    to_P, to_Q = torch.autograd.grad(other(prompt)[-1].square().sum(), [other.P, other.Q])
    assembled = [pair for pair in zip(model.merged(), (to_P, to_Q), strict=True) if pair[0].requires_grad]
    slow = torch.autograd.grad([p for p, _ in assembled], list(model.parameters()), [g for _, g in assembled])
    torch.testing.assert_close(fast, slow, **EXACT)


@pytest.mark.parametrize("n_layers", [1, 3])
def test_a_layer_is_a_preconditioned_step(n_layers, draw):
    model, prompt = model_of(draw, n_layers=n_layers), prompt_of(draw)
    for member, matrices in enumerate(model.step_matrices().detach()):
        steps = GradientDescent(step_size=1.0, preconditioner=[eta.T for eta in matrices], steps=n_layers)
        torch.testing.assert_close(model(prompt)[:, member], steps(prompt)[:, 0], **EXACT)


def test_multiples_of_the_identity_are_gradient_descent_plus_plus(draw):
    model, prompt, etas, gammas = (
        model_of(draw, n_layers=3, x_update=True),
        prompt_of(draw),
        [0.2, 0.5, 0.3],
        [0.1, 0.4, 0.0],
    )
    for l in range(3):
        model.A.data[:, l] = -etas[l] * torch.eye(3).double()
        model.B.data[:, l] = gammas[l] / etas[l] * torch.eye(3).double()
    algorithm = GradientDescentPlusPlus(step_size=etas, curvature_step_size=gammas, steps=3)
    torch.testing.assert_close(model(prompt), algorithm(prompt).expand(-1, 2, -1), **EXACT)


def test_a_tied_stack_goes_on_and_an_untied_one_does_not(draw):
    prompt = prompt_of(draw)
    tied = model_of(draw, n_layers=2, tied=True)
    stacked = model_of(draw, n_layers=5)
    stacked.A.data.copy_(tied.A.expand(-1, 5, -1, -1))
    torch.testing.assert_close(tied(prompt, steps=5), stacked(prompt), **EXACT)
    with pytest.raises(ValueError, match="steps=6 must be <= 5"):
        stacked(prompt, steps=6)
    with pytest.raises(ValueError, match="steps=-1"):
        tied(prompt, steps=-1)


def test_symmetric_means_that_no_rotation_is_left(draw):
    model = model_of(draw, n_layers=2, symmetric=True)
    eta = model.step_matrices()
    torch.testing.assert_close(eta, eta.mT, **EXACT)
    assert not torch.allclose(model.A, model.A.mT)


def test_bad_sizes_are_refused(draw):
    for bad in ({"dim": 0}, {"n_layers": 0}, {"n_seeds": 0}, {"init_std": -1.0}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))}="):
            PreconditionedAttention(**({"dim": 3} | bad))
    with pytest.raises(ValueError, match="n_layers=1 must be >= 2 with x_update"):
        PreconditionedAttention(dim=3, x_update=True)
    prompt = prompt_of(draw)
    several = Prompt(prompt.x, prompt.y[..., None], prompt.x_query)
    with pytest.raises(ValueError, match="must be single numbers"):
        model_of(draw).last(several)
    with pytest.raises(ValueError, match="1 seeds, the bank 2 members"):
        model_of(draw).reset(draw)
