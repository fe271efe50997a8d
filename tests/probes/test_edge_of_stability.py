"""Sharpness of a run against the exact Hessian, and the bookkeeping of steps."""

import pytest
import torch
from probed import run_of

from icl.probes.edge_of_stability import EdgeOfStability
from icl.probes.gradient_subspace import GradientSubspace
from icl.probes.probe import probe
from icl.probes.training_loss import surface_of, weights_at
from icl.rng import Draw

DRAW = Draw([0], "probe", dtype=torch.float64)
FULL = ("train=full_batch", "train.snapshot_at=[0,1,2,3,4]", "train.steps=4", "train.lr=0.05")


@pytest.mark.parametrize("method", ["exact", "products"])
def test_the_sharpness_is_the_largest_eigenvalue(method, tmp_path):
    run = run_of(tmp_path, *FULL)
    found = probe(EdgeOfStability(steps=[0, 2, 4], from_step=2, loss_from=2, method=method), run, DRAW)
    surface = surface_of(run, 1, DRAW)
    by_hand = torch.stack(
        [torch.linalg.eigvalsh(surface.hessian(w))[:, -1] for w in weights_at(run, [0, 2, 4]).values()]
    )
    torch.testing.assert_close(found.numbers["rise"], by_hand[2] / by_hand[0], rtol=1e-6, atol=0)
    torch.testing.assert_close(found.numbers["edge_mean"], by_hand[1:].mean(0) * 0.05 / 2, rtol=1e-6, atol=0)
    middle = [(a + b) / 2 for a, b in zip(*(weights_at(run, steps).values() for steps in ([0, 2], [1, 3])))]
    at_centre = torch.linalg.eigvalsh(surface.hessian(middle[1]))[:, -1]  # of steps 2 and 3; 4 and 5 are not there
    late = found.curves["centre"].model
    assert [row[1] for row in late] == pytest.approx(at_centre.tolist(), rel=1e-6)
    loss = torch.tensor([row["loss"] for row in run.metrics])
    assert found.numbers["loss_increases"].tolist() == (loss[1:] > loss[:-1]).sum(0).tolist()
    assert found.numbers["loss_ratio"].tolist() == pytest.approx((loss[3] / loss[2]).tolist())
    assert found.curves["sharpness"].reference == [[40.0, 40.0, 40.0]]


def test_a_step_that_was_not_kept_is_one_line(tmp_path):
    run = run_of(tmp_path, *FULL, "train.steps=9", "train.n_snapshots=0")
    with pytest.raises(ValueError, match=r"kept no weights of step 6; train with train\.snapshot_at=\[6, 9\]"):
        probe(EdgeOfStability(steps=[6, 9]), run, DRAW)
    for fields in ({"steps": [3, 1]}, {"steps": [1], "from_step": 2}):
        with pytest.raises(ValueError, match=r"steps=\[3, 1\] must be|from_step=2 must be"):
            EdgeOfStability(**fields)


def test_it_looks_into_a_run_on_fresh_prompts_too(tmp_path):
    run = run_of(tmp_path, model="linear_attention")
    found = probe(EdgeOfStability(steps=[2], n_prompts=8), run, DRAW)
    assert found.numbers["edge_last"].isfinite().all()


def test_shares_of_the_gradient_are_those_of_the_eigenvectors(tmp_path):
    run = run_of(tmp_path, *FULL, "task.dim=3", "train.batch_size=6")
    asked = GradientSubspace(steps=[2, 4], from_step=2, n_batches=5, batch_size=6)
    found = probe(asked, run, DRAW).numbers
    surface, shares = surface_of(run, 1, DRAW), []
    for theta in weights_at(run, [2, 4]).values():
        V, g = torch.linalg.eigh(surface.hessian(theta))[1], surface.gradient(theta)
        shares.append((V.mT @ g[..., None])[:, -10:, 0].square().sum(1) / g.square().sum(1))
    torch.testing.assert_close(found["full_10_worst"], torch.stack(shares).amax(0), rtol=1e-6, atol=1e-12)
    # a minibatch of all six prompts is the full batch
    torch.testing.assert_close(found["minibatch_10"], torch.stack(shares).amin(0), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(found["minibatch_10_over_uniform"], found["minibatch_10"] * 3.6, rtol=1e-12, atol=0)


def test_too_few_parameters_are_one_line(tmp_path):
    with pytest.raises(ValueError, match="16 parameters a member, the probe needs 20"):
        probe(GradientSubspace(steps=[2]), run_of(tmp_path, *FULL), DRAW)
