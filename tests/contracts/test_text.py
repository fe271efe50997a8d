"""What every option promises that reads text: tasks, and what predicts from demonstrations. On a tiny random model."""

import pytest
import torch

from icl.config import build, build_model
from icl.rng import Draw
from options import composed, text
from text_prompts import tiny, words

EXACT = {"rtol": 1e-8, "atol": 1e-10}


def task_of(option: str, path=None):
    given = () if path is None else (f"task.path={path}",)
    return build(composed(f"task={option}", "model=causal_lm_tiny", *given).task, key="task")


@pytest.mark.parametrize("option", text("task"))
def test_a_text_task_has_its_roles_and_its_sizes(option):
    """Sets of the hub are built here, and read in tests/tasks (a folder, and a hub that does not answer)."""
    task = task_of(option)
    assert task.n_queries >= 1
    assert "{" in task.template
    if option != "label_words_tiny":
        return
    first, again, other = (task.sample(4, Draw([0], "t", step=s)) for s in (0, 0, 1))
    assert first == again
    assert first != other


@pytest.fixture
def prompt():
    return tiny().encode(words().sample(5, Draw([0], "text"))).prompt


PREDICTORS = [("model", option) for option in text("model") if option == "causal_lm_tiny"]  # others need their files
PREDICTORS += [("algorithm", option) for option in text("algorithm")]


@pytest.fixture(params=PREDICTORS, ids=lambda p: p[1])
def predict(request):
    """(prompt, steps) -> trajectory."""
    group, option = request.param
    if group == "model":
        model = build_model(composed(f"model={option}", "task=label_words_tiny", "dtype=float64"))
        return lambda prompt, steps=None: model(prompt, steps=steps)
    algorithm = build(composed(f"+algorithm@references.a={option}").references.a, key="references.a")
    return lambda prompt, steps=None: algorithm(prompt, model=tiny(), steps=steps)


def test_a_trajectory_is_a_stack_of_predictions_from_zero_shot_on(predict, prompt):
    trajectory = predict(prompt)
    assert trajectory.shape[1:] == (1, 5, 2)
    assert trajectory.shape[0] == 5
    torch.testing.assert_close(trajectory[0, 0], tiny().read(prompt, n_demos=0).label_logits, **EXACT)
    torch.testing.assert_close(predict(prompt, 1), trajectory[:2], **EXACT)


def test_queries_do_not_leak(predict, prompt):
    whole, names = predict(prompt), ("query", "query_mask", "answer_at")
    for i in range(2):
        alone = type(prompt)(**vars(prompt) | {name: getattr(prompt, name)[i : i + 1] for name in names})
        torch.testing.assert_close(predict(alone)[:, :, 0], whole[:, :, i], **EXACT)
