"""The matrix of a first step: of a construction it is known, of attention with a softmax a fit with a remainder."""

import pytest
import torch
from probed import run_of

from icl.constructions.linear_attention_as_gd import linear_attention_as_gd, linear_attention_as_gd_plus_plus
from icl.models.linear_attention import LinearAttention
from icl.models.softmax_attention import SoftmaxAttention
from icl.probes.first_step import FirstStep, first_step, largest_angle
from icl.probes.probe import probe
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.theory.rotation_fits import planes
from tolerances import EXACT

TASK = LinearRegression(dim=5, n_context=12)


def prompt(n_members: int = 1):
    return TASK.sample(40, Draw(range(n_members), "p", dtype=torch.float64)).prompt


def test_the_matrix_of_a_construction_is_found_exactly():
    A = planes(0.7, 0.3, 0.5, 5)
    model = LinearAttention(dim=5, n_layers=2, tied=True, dtype=torch.float64)
    state = linear_attention_as_gd(dim=5, n_context=12, step_size=1.0, preconditioner=A)
    model.load_state_dict(state)
    found, unexplained = first_step(model, prompt())
    torch.testing.assert_close(found[0], A, **EXACT)
    assert unexplained.item() < 1e-20
    assert largest_angle(found).item() == pytest.approx(0.3)


def test_what_moves_the_inputs_is_no_part_of_it():
    """GD++ makes the same first guess as gradient descent."""
    model = LinearAttention(dim=5, n_layers=4, tied=True, dtype=torch.float64)
    model.load_state_dict(linear_attention_as_gd_plus_plus(dim=5, n_context=12, step_size=1.4, curvature_step_size=0.1))
    found, unexplained = first_step(model, prompt())
    torch.testing.assert_close(found[0], 1.4 * torch.eye(5).double(), **EXACT)
    assert unexplained.item() < 1e-20


def test_members_have_their_own_and_a_softmax_leaves_a_remainder():
    bank = SoftmaxAttention(dim=5, n_heads=2, init_scale=1.0, n_seeds=2, dtype=torch.float64)
    bank.reset(Draw([0, 1], "init", dtype=torch.float64))
    found, unexplained = first_step(bank, prompt())
    assert found.shape == (2, 5, 5)
    assert ((unexplained > 0.01) & (unexplained < 1)).all()
    alone = SoftmaxAttention(dim=5, n_heads=2, init_scale=1.0, dtype=torch.float64)
    alone.reset(Draw([1], "init", dtype=torch.float64))
    torch.testing.assert_close(first_step(alone, prompt())[0][0], found[1], **EXACT)


def test_a_run_is_read_at_every_snapshot(tmp_path):
    run = run_of(tmp_path, "model.tied=true", "model.x_update=false", model="preconditioned_attention")
    measured = probe(FirstStep(n_prompts=50), run, Draw([0], "probe", dtype=torch.float64))
    A = run.model.step_matrices()[:, 0].mT
    expected = torch.linalg.eigvals(A)
    torch.testing.assert_close(measured.numbers["angle"], expected.imag.amax(1), **EXACT)
    torch.testing.assert_close(measured.numbers["step_size"], expected.real.mean(1), **EXACT)
    angles = [torch.linalg.eigvals(m.step_matrices()[:, 0]).imag.amax(1) for _, m in run.snapshots()]
    torch.testing.assert_close(measured.numbers["angle_on_the_way"], torch.stack(angles).amax(0), **EXACT)
    assert len(measured.curves["path"].model[0]) == len(angles)


def test_one_prompt_is_too_few():
    with pytest.raises(ValueError, match="n_prompts=1 must be >= 2"):
        FirstStep(n_prompts=1)
