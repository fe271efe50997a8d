"""The task's law against its own answers."""

import dataclasses
import math

import pytest
import torch

from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.tasks.linear_regression_theory import NotKnown
from tolerances import EXACT

SKEWED = {"covariance_spectrum": [1.0, 1.0, 0.25, 0.0625, 1.0], "rotation_seed": 3}


def big(task, n=200_000, name="law"):
    return task.sample(n, Draw([0], name, dtype=torch.float64))


@pytest.mark.parametrize(
    "fields",
    [{}, {"inputs": "uniform", "input_scale": 2.0}, {"inputs": "gamma"}, SKEWED, SKEWED | {"input_scale": 0.5}],
)
def test_inputs_have_the_stated_covariance(fields):
    task = LinearRegression(dim=5, n_context=2, **fields)
    x = big(task).prompt.x_query[0]
    error = x.T @ x / len(x) - task.covariance_matrix()
    assert error.abs().max() < 0.02 * task.covariance_matrix().max()


@pytest.mark.parametrize("prior", ["identity", "inverse_covariance", [[2.0, 0.5], [0.5, 1.0]]])
def test_weights_have_the_stated_covariance_and_labels_are_theirs(prior):
    spectrum = [1.0, 0.25]
    task = LinearRegression(dim=2, n_context=3, covariance_spectrum=spectrum, w_covariance=prior, weight_scale=2.0)
    sample = big(task)
    w = sample.w_star[0]
    error = w.T @ w / len(w) - task.w_covariance_matrix()
    assert error.abs().max() < 0.02 * task.w_covariance_matrix().max()
    torch.testing.assert_close(torch.einsum("bnd,bd->bn", sample.prompt.x[0], w), sample.prompt.y[0])
    torch.testing.assert_close((sample.prompt.x_query[0] * w).sum(-1), sample.target[0])


@pytest.mark.parametrize(
    "fields",
    [{}, {"noise_std": 0.5}, SKEWED, {"inputs": "uniform"}, {"target": "relu", "noise_std": 0.3, "n_hidden": 10},
     {"target": "relu", "input_scale": 1.5, "weight_scale": 0.7, "n_hidden": 10},
     {"weight_scale": 3.0, "input_scale": 0.5}, {"n_nonzero": 2, "weight_scale": 2.0},
     {"target": "sign", "noise_std": 0.5, "input_scale": 2.0, "weight_scale": 1.5}],
)  # fmt: skip
def test_the_best_step_reaches_its_loss_and_nothing_nearby_does_better(fields):
    task = LinearRegression(dim=5, n_context=8, **fields)
    sample = big(task, 100_000)
    moment = torch.einsum("bnd,bn->bd", sample.prompt.x[0], sample.prompt.y[0])
    guess = torch.einsum("bi,ij,bj->b", sample.prompt.x_query[0], task.best_preconditioner(), moment)

    def half_mse(factor: float) -> torch.Tensor:
        return 0.5 * (factor * guess - sample.target[0]).square()

    best = half_mse(1.0)
    standard_error = best.std() / len(best) ** 0.5
    assert abs(best.mean() - task.best_one_step_half_mse()) < 4 * standard_error
    assert half_mse(0.9).mean() > best.mean()
    assert half_mse(1.1).mean() > best.mean()
    zero = 0.5 * sample.target[0].square()
    assert abs(zero.mean() - task.zero_half_mse()) < 4 * zero.std() / len(zero) ** 0.5 + 1e-12


def test_von_oswald_numbers():
    task = LinearRegression(dim=10, n_context=10, inputs="uniform")
    assert task.best_one_step_half_mse() == pytest.approx(0.206229, abs=1e-6)
    assert task.best_step_size() == pytest.approx(6.0606, abs=1e-4)
    assert task.zero_half_mse() == pytest.approx(0.416667, abs=1e-6)


def test_quadratic_targets_leave_nothing_to_learn():
    task = LinearRegression(dim=4, n_context=8, target="quadratic")
    assert task.best_preconditioner().abs().max() == 0
    assert task.best_one_step_half_mse() == task.zero_half_mse() == 2.0


def test_noise_is_on_the_labels_and_not_on_the_target():
    task = LinearRegression(dim=3, n_context=4, noise_std=0.7)
    sample = big(task)
    clean = torch.einsum("bnd,bd->bn", sample.prompt.x[0], sample.w_star[0])
    assert (sample.prompt.y[0] - clean).std().item() == pytest.approx(0.7, rel=0.01)
    torch.testing.assert_close((sample.prompt.x_query[0] * sample.w_star[0]).sum(-1), sample.target[0])


def test_distractors_replace_as_many_labels_as_stated():
    clean, dirty = (LinearRegression(dim=3, n_context=6, n_distractors=k) for k in (0, 2))
    a, b = big(clean, 500), big(dirty, 500)
    torch.testing.assert_close(a.prompt.x, b.prompt.x)
    assert ((a.prompt.y != b.prompt.y).sum(-1) == 2).all()


def test_inactive_coordinates_are_zero():
    x = big(LinearRegression(dim=5, n_context=3, n_active=2), 10).prompt.x
    assert x[..., 2:].abs().max() == 0
    assert (x[..., :2] != 0).all()


def test_several_outputs_are_several_tasks_on_the_same_inputs():
    sample = big(LinearRegression(dim=3, n_context=4, n_outputs=2), 50)
    torch.testing.assert_close(torch.einsum("bnd,bdo->bno", sample.prompt.x[0], sample.w_star[0]), sample.prompt.y[0])


def test_a_shift_is_another_task_with_the_same_draws():
    task = LinearRegression(dim=3, n_context=4, inputs="uniform")
    a, b = big(task, 50), big(dataclasses.replace(task, input_scale=2.0), 50)
    torch.testing.assert_close(2 * a.prompt.x, b.prompt.x)
    torch.testing.assert_close(2 * a.target, b.target)


def test_the_population_loss_is_the_sampled_one(draw):
    task = LinearRegression(dim=3, n_context=6, covariance_spectrum=[1.0, 0.5, 2.0], noise_std=0.4)
    P_row, Q = draw.normal(4)[0][None] * 0.3, draw.normal(4, 4)[0][None] * 0.3
    sample = big(task)
    tokens = torch.cat([sample.prompt.x[0], sample.prompt.y[0][..., None]], -1)
    query = torch.cat([sample.prompt.x_query[0], torch.zeros(len(tokens), 1, dtype=torch.float64)], -1)
    guess = -torch.einsum("bni,i,bnj,jk,bk->b", tokens, P_row[0], tokens, Q[0], query) / task.n_context
    loss = 0.5 * (guess - sample.target[0]).square()
    exact = task.one_layer_half_mse(P_row, Q, normalize=True)
    assert abs(loss.mean() - exact[0]) < 4 * loss.std() / len(loss) ** 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"noise_std": -1.0}, "noise_std=-1.0 must be"),
        ({"n_context": 0}, "n_context=0 must be"),
        ({"noise_std": math.nan}, "noise_std=nan"),
        ({"covariance_spectrum": [1.0, 0.0, 1.0]}, "positive definite"),
        ({"covariance_spectrum": [1.0]}, "dim=3"),
        ({"w_covariance": [[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 1.0]]}, "w_covariance"),
        ({"n_distractors": 9}, "n_distractors=9"),
        ({"n_active": 4}, "n_active=4"),
        ({"target": "relu", "n_outputs": 2}, "target=relu"),
    ],
)
def test_impossible_values_are_refused_in_one_line(fields, message):
    with pytest.raises(ValueError, match=message) as error:
        LinearRegression(**({"dim": 3, "n_context": 5} | fields))
    assert "\n" not in str(error.value)


def test_what_is_not_known_says_what_it_needs():
    with pytest.raises(NotKnown, match="inputs=gaussian"):
        LinearRegression(dim=2, n_context=3, inputs="uniform", covariance_spectrum=[1.0, 2.0]).best_preconditioner()
    with pytest.raises(NotKnown, match="preconditioned"):
        LinearRegression(dim=5, n_context=8, **SKEWED).best_step_size()
    assert "bayes" not in LinearRegression(dim=5, n_context=8, **SKEWED).known_half_mse()


@pytest.mark.parametrize("noise_std", [0.0, 0.5])
def test_a_target_at_every_position_is_the_function_without_noise(noise_std, draw):
    task = LinearRegression(dim=3, n_context=4, noise_std=noise_std)
    every, alone = dataclasses.replace(task, positions="every").sample(5, draw.at(0)), task.sample(5, draw.at(0))
    assert torch.equal(every.prompt.y, alone.prompt.y)
    x, y = every.prompt.positions()
    torch.testing.assert_close(every.target, torch.einsum("mbpd,mbd->mbp", x, every.w_star), **EXACT)
    torch.testing.assert_close(every.target[..., -1], alone.target, **EXACT)
    assert torch.allclose(every.target[..., :-1], y[..., :-1]) == (noise_std == 0)
    assert dataclasses.replace(task, positions="every").known_half_mse() == {}


def test_every_position_takes_one_label():
    with pytest.raises(ValueError, match="positions=every takes no n_outputs=2"):
        LinearRegression(dim=3, n_context=4, positions="every", n_outputs=2)


def test_gamma_inputs_have_heavy_tails_and_no_closed_form():
    """|z|² ~ Gamma(0.1, 10): mean 1, variance 10; its coordinates are uncorrelated, but not independent."""
    task = LinearRegression(dim=5, n_context=2, inputs="gamma")
    squares = big(task).prompt.x_query[0].square().sum(-1)
    assert squares.mean().item() == pytest.approx(1, rel=0.05)
    assert squares.var().item() == pytest.approx(10, rel=0.1)
    assert task.known_half_mse().keys() == {"zero", "bayes"}  # the radius of x plays no part in these
    with pytest.raises(NotKnown, match="inputs=gaussian or uniform"):
        task.check_population_loss()


@pytest.mark.parametrize("n_active", [None, 3, 1])
def test_sparse_weights_have_as_many_coordinates_as_stated(n_active):
    task = LinearRegression(dim=5, n_context=3, n_nonzero=2, n_active=n_active)
    sample = big(task, 4000)
    present = sample.w_star[0] != 0
    active = 5 if n_active is None else n_active
    assert (present.sum(-1) == min(2, active)).all()
    assert not present[:, active:].any()
    assert present[:, :active].double().mean(0).tolist() == pytest.approx([min(2, active) / active] * active, abs=0.04)
    torch.testing.assert_close(torch.einsum("bnd,bd->bn", sample.prompt.x[0], sample.w_star[0]), sample.prompt.y[0])


def test_sparse_weights_have_no_gaussian_posterior():
    from icl.algorithms.bayes import Bayes

    task = LinearRegression(dim=5, n_context=3, n_nonzero=2)
    assert set(task.known_half_mse()) == {"zero", "best_one_step"}
    assert task.zero_half_mse() == pytest.approx(1.0)
    with pytest.raises(NotKnown, match="n_nonzero=null"):
        task.check_population_loss()
    with pytest.raises(ValueError, match="n_nonzero=2 must be null for bayes"):
        Bayes.best_for(task=task)


def test_classes_are_the_sides_of_a_plane_through_zero():
    task = LinearRegression(dim=3, n_context=200, target="sign")
    sample = big(task, 40)
    assert set(sample.prompt.y.unique().tolist()) == {-1.0, 1.0}
    for x, y in zip(sample.prompt.x[0], sample.prompt.y[0]):  # separable: some direction is right about every point
        w = torch.zeros(3, dtype=torch.float64)
        for _ in range(20_000):  # the perceptron ends
            wrong = (x @ w) * y <= 0
            if not wrong.any():
                break
            w = w + (y[wrong][0] * x[wrong][0])
        assert not wrong.any()


@pytest.mark.parametrize("target", ["relu", "quadratic"])
def test_other_functions_have_labels_of_variance_d(target):
    task = LinearRegression(dim=20, n_context=1, target=target)
    y = big(task, 4000).target[0].square()
    assert abs(y.mean() - 20) < 4 * y.std() / len(y) ** 0.5


def test_a_sparse_function_must_be_linear():
    for fields in ({"target": "relu"}, {"n_outputs": 2}, {"w_covariance": "inverse_covariance"}):
        with pytest.raises(ValueError, match="n_nonzero=1 needs target=linear or sign"):
            LinearRegression(dim=3, n_context=4, n_nonzero=1, **fields)
