"""Sine waves: every prompt is one wave, both families have their law, and the exact loss of zero is that of samples."""

import math

import pytest
import torch

from icl.rng import Draw
from icl.tasks.sine_regression import SineRegression

FAMILIES = ["one_parameter", "independent"]


def amplitude_and_phase(sample):
    """(a, φ) of every prompt: y = α sin x + β cos x is linear in α, β, so least squares on the context finds them."""
    x = sample.prompt.x[..., 0]
    alpha, beta = (
        torch.linalg.lstsq(torch.stack([x.sin(), x.cos()], -1), sample.prompt.y[..., None]).solution[..., 0].unbind(-1)
    )
    return (alpha**2 + beta**2).sqrt(), torch.atan2(beta, alpha)


@pytest.mark.parametrize("family", FAMILIES)
def test_context_and_target_lie_on_one_wave(family, draw):
    task = SineRegression(n_context=6, family=family)
    sample = task.sample(200, draw)
    a, phi = amplitude_and_phase(sample)
    wave = a * torch.sin(sample.prompt.x_query[..., 0] + phi)
    torch.testing.assert_close(sample.target, wave, rtol=1e-6, atol=1e-8)
    assert sample.prompt.x.abs().max() <= 5
    assert sample.prompt.x.abs().max() > 4.9
    assert 0.1 <= a.min() < 0.12
    assert 0.48 < a.max() <= 0.5
    assert 0 <= phi.min() < 0.1
    assert math.pi - 0.1 < phi.max() <= math.pi


def test_one_parameter_ties_the_phase_to_the_amplitude(draw):
    a, phi = amplitude_and_phase(SineRegression(n_context=6).sample(100, draw))
    torch.testing.assert_close((a - 0.1) / 0.4, phi / math.pi, rtol=1e-6, atol=1e-7)
    a, phi = amplitude_and_phase(SineRegression(n_context=6, family="independent").sample(100, draw))
    assert torch.corrcoef(torch.cat([a, phi]))[0, 1].abs() < 0.3


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("law", [{}, {"amplitudes": (0.0, 2.0), "input_range": 0.4}])
def test_the_exact_loss_of_zero_is_that_of_samples(family, law, draw):
    task = SineRegression(n_context=1, family=family, **law)
    loss = 0.5 * task.sample(200_000, draw).target.square()
    assert abs(loss.mean().item() - task.zero_half_mse()) < 4 * loss.std().item() / 200_000**0.5
    assert task.known_half_mse() == {"zero": task.zero_half_mse()}


def test_the_sources_null_loss():
    assert SineRegression(n_context=10).zero_half_mse() == pytest.approx(0.0259, abs=1e-4)


def test_members_have_streams_of_their_own():
    task = SineRegression(n_context=3, family="independent")
    both, lone = task.sample(4, Draw([5, 6], "t")), task.sample(4, Draw([6], "t"))
    assert torch.equal(both.target[1:], lone.target)


@pytest.mark.parametrize(
    "bad",
    [
        {"n_context": 0},
        {"dim": 2},
        {"input_range": 0.0},
        {"amplitudes": [0.5, 0.1]},
        {"amplitudes": [0.1]},
    ],
)
def test_impossible_values_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        SineRegression(**{"n_context": 3} | bad)


def test_an_unknown_family_is_refused():
    from icl.config import ConfigError, build

    with pytest.raises(ConfigError, match="family"):
        build({"_target_": "icl.tasks.sine_regression.SineRegression", "n_context": 3, "family": "square"}, key="task")
