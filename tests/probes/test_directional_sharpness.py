"""Directions against torch's own optimiser; replayed states against the run's."""

import pytest
import torch
from probed import run_of

from icl.comparisons.noise_ratio import NoiseRatio
from icl.comparisons.walk import compare_runs
from icl.config import Train
from icl.probes.directional_sharpness import DirectionalSharpness, clipped, directions
from icl.probes.gradient_noise import GradientNoise
from icl.probes.loss_surface import LossSurface
from icl.probes.probe import probe
from icl.probes.replay import State, replay
from icl.probes.training_loss import as_double, objective_of, weights_at
from icl.rng import Draw
from tolerances import EXACT

DRAW = Draw([0], "probe", dtype=torch.float64)
ADAM = ("train.steps=5", "train.lr=0.01", "train.snapshot_at=[2,4]", "train.clip=null", "train.weight_decay=0")


def test_a_replay_passes_through_the_runs_weights(tmp_path):
    run = run_of(tmp_path, *ADAM)
    states = {state.step: state.theta for state in replay(run, [0, 2, 4, 9])}
    assert list(states) == [0, 2, 4, 5]
    for step, theta in weights_at(run, [2, 4, 5]).items():
        assert torch.equal(states[step], theta)


def test_the_adam_direction_is_the_step_of_torch(draw):
    train, theta = Train(betas=[0.9, 0.98], eps=1e-10), torch.nn.Parameter(draw.normal(6))
    gradients = [draw.normal(6) for _ in range(3)]
    optimizer = torch.optim.Adam([theta], lr=1.0, betas=(0.9, 0.98), eps=1e-10)
    for g in gradients[:2]:
        theta.grad = g
        optimizer.step()
    state = optimizer.state[theta]
    moments, before = (state["exp_avg"].clone(), state["exp_avg_sq"].clone()), theta.detach().clone()
    theta.grad = gradients[2]
    optimizer.step()
    found = directions(gradients[2], State(2, before, moments), train)
    torch.testing.assert_close(found["adam"], before - theta.detach(), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(found["sign"], gradients[2].sign())
    cut = clipped(torch.tensor([[1.0, -4.0, 2.0, 3.0, -5.0]]), 0.5)
    assert cut.tolist() == [[1, -3, 2, 3, -3]]


def test_sharpness_is_the_second_difference_of_the_loss(tmp_path):
    run, h = run_of(tmp_path, *ADAM), 1e-3
    found = probe(DirectionalSharpness(steps=[4], batch_size=8, n_prompts=16), run, DRAW).numbers
    theta, objective = weights_at(run, [4])[4], objective_of(run)
    one, many = (as_double(run.task.sample(n, DRAW.at(step, f"probe/{name}")))
                 for n, step, name in ((8, 4, "gradient"), (16, 0, "curvature")))  # fmt: skip
    g = LossSurface(run.model, objective, [one]).gradient(theta)
    loss = LossSurface(run.model, objective, [many]).loss
    for name, v in (("sgd", g), ("sign", g.sign())):
        v = v / v.norm(dim=1, keepdim=True)
        second = (loss(theta + h * v) - 2 * loss(theta) + loss(theta - h * v)) / h**2
        torch.testing.assert_close(found[name], second, rtol=1e-3, atol=1e-6)
    assert found["adam"].isfinite().all()


def test_without_adam_its_directions_are_not_known(tmp_path):
    run = run_of(tmp_path, *ADAM, "train.optimizer=sgd")
    found = probe(DirectionalSharpness(steps=[4], batch_size=8, n_prompts=16), run, DRAW).numbers
    assert found["adam_below_share"].isnan().all()
    assert found["ordered_share"].isfinite().all()


def test_the_noise_is_that_of_batches_one_by_one(tmp_path):
    run = run_of(tmp_path, *ADAM)
    found = probe(GradientNoise(step=4, batch_size=3, n_prompts=61, n_curvature=8), run, DRAW).numbers
    theta, objective = weights_at(run, [4])[4], objective_of(run)
    fresh = as_double(run.task.sample(60, DRAW.at(0, "probe/noise 1")))
    gradients = []
    for i in range(20):
        from icl.comparisons.walk import cut

        one = cut(fresh, 3 * i, 3 * i + 3)
        gradients.append(LossSurface(run.model, objective, [one]).gradient(theta)[1])
    g = torch.stack(gradients)
    norms = (g - g.mean(0)).norm(dim=1)
    torch.testing.assert_close(found["max_over_median"][1], norms.max() / norms.median(), **EXACT)
    kurtosis = ((norms - norms.mean()) ** 4).mean() / norms.var(unbiased=False) ** 2
    torch.testing.assert_close(found["kurtosis"][1], kurtosis, **EXACT)
    with pytest.raises(ValueError, match="n_prompts=0 must be >= 1"):
        GradientNoise(step=0, n_prompts=0)
    assert GradientNoise(step=0, n_prompts=16).n_batches == 2


def test_the_ratio_of_two_runs_is_the_ratio_of_their_numbers(tmp_path):
    run, heavy = run_of(tmp_path / "a", *ADAM), run_of(tmp_path / "b", *ADAM, "task.inputs=gamma")
    fields = {"step": 4, "batch_size": 3, "n_prompts": 60, "n_curvature": 8}
    own, other = (probe(GradientNoise(**fields), r, DRAW).numbers for r in (run, heavy))
    found = compare_runs(NoiseRatio(**fields), run, heavy, DRAW).numbers
    torch.testing.assert_close(found["p99_over_median"], other["p99_over_median"] / own["p99_over_median"], **EXACT)
    assert found["robust_condition_mean"][0] == (other["robust_condition"] / own["robust_condition"]).mean()
