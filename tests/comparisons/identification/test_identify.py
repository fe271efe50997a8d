"""Identification where the truth is known: algorithms, constructions, candidates that agree; and what it refuses."""

import dataclasses

import pytest
import torch

from icl.algorithms.gradient_descent import GradientDescent
from icl.algorithms.iterative_newton import IterativeNewton
from icl.algorithms.ridge import Ridge
from icl.comparisons.identification.identify import identify
from icl.comparisons.identification.question import Question
from icl.comparisons.identification.report import Evidence, separate
from icl.config import ConfigError
from icl.constructions.linear_attention_as_gd import linear_attention_as_gd, linear_attention_as_gd_plus_plus
from icl.models.linear_attention import LinearAttention
from icl.tasks.linear_regression import LinearRegression
from icl.tasks.weight_prediction import WeightPrediction

TASK = LinearRegression(dim=3, n_context=8, positions="every")
QUERY = LinearRegression(dim=4, n_context=12)
FAST = Question(n_fit=64, n_prompts=64, learners=False)


def verdict(model, task, draw, question=FAST):
    return identify(model, task, draw, question).verdicts[0]


@pytest.mark.parametrize(
    ("name", "algorithm"),
    [
        ("ridge", Ridge(ridge=0.7)),
        ("gradient_descent", GradientDescent(step_size=0.3, steps=3)),
        ("iterative_newton", IterativeNewton(steps=4)),
    ],
)
def test_an_algorithm_is_named_and_its_numbers_found(name, algorithm, draw):
    found = identify(algorithm, TASK, draw, FAST)
    (said,) = found.verdicts
    assert (said.status, said.names) == ("named", (name,))
    assert said.distance < 1e-6
    fitted = found.fitted[name]
    assert fitted.steps[0] == getattr(algorithm, "steps", 1)
    for open_number, value in zip(fitted.family.open, fitted.values[:, 0].tolist()):
        assert value == pytest.approx(getattr(algorithm, open_number.name), rel=1e-2)


def constructed(state, n_layers):
    model = LinearAttention(dim=4, n_layers=n_layers, dtype=torch.float64)
    model.load_state_dict(state)
    return model


@pytest.mark.slow
def test_linear_attention_is_named_by_its_construction(draw):
    sizes = {"dim": 4, "n_context": 12, "n_layers": 2, "step_size": 0.4}
    gamma = 0.5 * torch.diag(torch.tensor([1.5, 1.0, 0.6, 0.4]).double()) + 0.05 * draw.normal(4, 4)[0]
    states = {
        "gradient_descent": linear_attention_as_gd(**sizes),
        "gradient_descent_plus_plus": linear_attention_as_gd_plus_plus(**sizes, curvature_step_size=0.12),
        "preconditioned_gradient_descent": linear_attention_as_gd(**sizes, preconditioner=gamma / 0.4),
    }
    for name, state in states.items():
        said = verdict(constructed(state, 2), QUERY, draw)
        assert (said.status, said.names) == ("named", (name,)), said
        assert said.distance < 1e-5


class Flat:
    """A task whose contexts have A = n I: there every filter is one number, and many candidates are the same."""

    dim, n_context = 3, 8

    def sample(self, batch_size, draw):
        sample = QUERY_OF_FLAT.sample(batch_size, draw)
        x = 8**0.5 * torch.linalg.qr(sample.prompt.x).Q
        y = torch.einsum("mbnd,mbd->mbn", x, sample.w_star)
        return dataclasses.replace(sample, prompt=dataclasses.replace(sample.prompt, x=x, y=y))


QUERY_OF_FLAT = LinearRegression(dim=3, n_context=8)


def test_candidates_that_agree_are_not_told_apart(draw):
    """Ridge and gradient descent shrink by the same factor there; so which of them it is cannot be said."""
    said = verdict(Ridge(ridge=2.0), Flat(), draw)
    assert said.status in ("family", "undecided")
    assert {"ridge", "gradient_descent"} <= set(said.names)


def test_designed_prompts_tell_them_apart(draw):
    found = identify(Ridge(ridge=2.0), Flat(), draw, FAST)
    separated = separate(found, Ridge(ridge=2.0), Flat(), FAST, (2.0,), draw)
    assert separated[0].spectrum.disagreement > 1e-3
    (final,) = Evidence(found, separated).verdicts
    assert (final.status, final.names) == ("named", ("ridge",))


def test_a_predictor_that_is_no_candidate_is_called_none(draw):
    class Odd:
        def __call__(self, prompt, *, steps=None):
            return torch.stack([torch.zeros_like(prompt.x_query[..., 0]), 3 * prompt.x_query[..., 0].sin()])

    assert verdict(Odd(), QUERY, draw).status == "none"


def test_the_zero_predictor_is_among_the_candidates(draw):
    class Silent:
        def __call__(self, prompt, *, steps=None):
            return torch.zeros(2, *prompt.x_query.shape[:2]).to(prompt.x) + 1e-5

    said = verdict(Silent(), TASK, draw)
    assert (said.status, said.names) == ("named", ("zero",))


def test_a_candidate_that_fails_or_diverges_is_left_out_and_said(draw):
    class Fails:
        def __call__(self, prompt, *, steps=None):
            raise RuntimeError("no solution")

    also = {"broken": Fails(), "diverging": GradientDescent(step_size=9.0, steps=40)}
    found = identify(Ridge(ridge=0.7), QUERY, draw, dataclasses.replace(FAST, also=also))
    assert found.left_out["broken"].startswith("failed: no solution")
    assert found.left_out["diverging"].startswith("diverges")
    assert found.unstable["diverging"] > 0.05
    assert found.verdicts[0].names == ("ridge",)


@pytest.mark.slow
def test_a_bank_is_its_members_one_by_one(draw):
    states = [linear_attention_as_gd(dim=4, n_context=12, step_size=s) for s in (0.3, 0.6)]
    bank = LinearAttention(dim=4, n_seeds=2, dtype=torch.float64)
    bank.load_state_dict({key: torch.cat([state[key] for state in states]) for key in states[0]})
    together = identify(bank, QUERY, draw, FAST)
    for m, state in enumerate(states):
        alone = identify(constructed(state, 1), QUERY, draw, FAST)
        assert str(together.verdicts[m].names) == str(alone.verdicts[0].names)
        assert together.fitted["gradient_descent"].values[0, m].item() == pytest.approx((0.3, 0.6)[m], rel=1e-3)


def test_prompts_that_do_not_fit_are_refused(draw):
    with pytest.raises(ConfigError, match="LinearAttention cannot read the prompts of LinearRegression"):
        identify(constructed(linear_attention_as_gd(dim=4, n_context=8, step_size=0.3), 1), TASK, draw, FAST)
    with pytest.raises(ConfigError, match="WeightPrediction has no scalar labels"):
        identify(Ridge(ridge=1.0), WeightPrediction(dim=3, n_context=8), draw, FAST)


def test_fewer_prompts_than_a_bootstrap_needs_are_refused():
    for bad in ({"n_prompts": 31}, {"n_fit": 5}, {"least_margin": -1.0}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))}="):
            Question(**bad)
