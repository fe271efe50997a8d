"""All directions are full fine-tuning; none leaves the model as it is."""

import pytest
import torch
from probed import run_of

from icl.probes.intrinsic_dimension import IntrinsicDimension
from icl.probes.loss_surface import LossSurface
from icl.probes.probe import probe
from icl.probes.training_loss import as_double, objective_of, weights_at
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

DRAW = Draw([0], "probe", dtype=torch.float64)
FIELDS = {"dims": [0, 4], "steps": 3, "n_prompts": 8, "shift": {"input_scale": 0.5}}


def test_no_direction_is_the_model_itself_and_all_are_adam(tmp_path):
    run = run_of(tmp_path, "train.lr=0.1")
    found = probe(IntrinsicDimension(**FIELDS), run, DRAW).numbers
    task = LinearRegression(dim=2, n_context=4, input_scale=0.5)
    train, test = (as_double(task.sample(8, DRAW.at(i, f"probe/{i}"))) for i in (0, 1))
    states = weights_at(run, [0, 2])
    surface = LossSurface(run.model, objective_of(run), [test])
    score = 1 - surface.loss(states[2]) / surface.loss(states[0])
    torch.testing.assert_close(found["score_0"], score, **EXACT)
    assert (found["d90_start"] >= 0).all()
    assert found["fall"].tolist() == (found["d90_start"] / found["d90_trained"].clamp(min=1)).tolist()
    assert train.prompt.x.shape[1] == 8


def test_a_shift_that_the_task_does_not_have_and_bad_values_are_one_line(tmp_path):
    with pytest.raises(ValueError, match="unexpected keyword argument 'n_experts'"):
        probe(IntrinsicDimension(shift={"n_experts": 3}), run_of(tmp_path), DRAW)
    for bad in ({"dims": [2, 1]}, {"steps": 0}, {"lr": 0.0}):
        with pytest.raises(ValueError, match="must be"):
            IntrinsicDimension(**bad)
