"""What every task of conf/task promises."""

from dataclasses import replace

import pytest
import torch

from icl.config import build
from icl.rng import Draw
from options import composed, numeric
from tolerances import EXACT

TASKS = numeric("task")


def task_of(option: str):
    return build(composed(f"task={option}").task, key="task")


@pytest.mark.parametrize("option", TASKS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_dtype(option, dtype):
    sample = task_of(option).sample(3, Draw([0, 1], "t", dtype=dtype))
    prompt = sample.prompt
    assert prompt.x.shape[:2] == prompt.y.shape[:2] == prompt.x_query.shape[:2] == sample.target.shape[:2] == (2, 3)
    assert {t.dtype for t in (prompt.x, prompt.y, prompt.x_query, sample.target)} == {dtype}


@pytest.mark.parametrize("option", TASKS)
def test_the_same_draw_gives_the_same_sample_and_another_step_another(option):
    task = task_of(option)
    first, again, other = (task.sample(3, Draw([0], "t", step=s)).prompt for s in (0, 0, 1))
    assert torch.equal(first.x, again.x)
    assert torch.equal(first.y, again.y)
    assert not (torch.equal(first.x, other.x) and torch.equal(first.x_query, other.x_query))


@pytest.mark.parametrize("option", TASKS)
def test_a_member_sees_the_same_prompts_alone(option):
    task = task_of(option)
    bank, lone = (task.sample(3, Draw(seeds, "t", dtype=torch.float64)).prompt for seeds in ([5, 6], [6]))
    assert torch.equal(bank.x[1:], lone.x)
    torch.testing.assert_close(bank.y[1:], lone.y, **EXACT)  # products of a bank may round in another order


@pytest.mark.parametrize("option", TASKS)
def test_the_bayes_predictor_reaches_the_bayes_risk(option):
    from icl.algorithms.bayes import Bayes
    from icl.comparisons.walk import half_squared_error
    from icl.core import last_step

    task = task_of(option)
    if getattr(task, "positions", "query") == "every":
        task = replace(task, positions="query")
    risk = getattr(task, "known_half_mse", dict)().get("bayes")
    if risk is None:
        pytest.skip("it knows no Bayes risk")
    sample = task.sample(4000, Draw([0], "risk", dtype=torch.float64))
    loss = half_squared_error(last_step(Bayes.best_for(task=task), sample.prompt), sample.target)
    assert abs(loss.mean().item() - risk) < 4 * loss.std().item() / 4000**0.5 + 1e-8
