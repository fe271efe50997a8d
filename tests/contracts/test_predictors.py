"""What every model of conf/model and every algorithm of conf/algorithm promises."""

import pytest
import torch

from icl.config import build, build_model
from icl.core import Prompt, every_prefix, last_step
from icl.rng import Draw
from options import composed, numeric
from tolerances import EXACT

PREDICTORS = [("model", option) for option in numeric("model")] + [("algorithm", o) for o in numeric("algorithm")]
FLOAT64 = "dtype=float64"
FITS = {  # what an option needs beside the default task and sizes
    "chain_of_thought": ("task=weight_prediction", "model.n_thoughts=3"),  # with drawn weights thoughts grow as 3^T
    "chain_of_thought_block": ("task=weight_prediction", "model.n_thoughts=3"),
    "gradient_descent_weights": ("task=weight_prediction",),
    "disentangled_transformer": ("task=causal_graph",),
    "graph_posterior": ("task=causal_graph",),
    "linear_softmax": ("task=zipf_classes", "task.dim=6"),
    "patch_attention": ("task=two_patch", "task.dim=6", "task.n_noisy=3"),
    "single_query_attention": ("task=token_separation",),
}


def predictor_of(group: str, option: str):
    """A predictor with drawn weights, and a task that it fits; two members."""
    if group == "model":
        cfg = composed(f"model={option}", FLOAT64, "n_seeds=2", *FITS.get(option, ()))
        if cfg.model.get("width", 0) > 64:  # the promises do not depend on the size
            cfg.model.width, cfg.model.n_layers = 2 * cfg.model.n_heads, 3
        model = build_model(cfg)
        model.reset(Draw([0, 1], "init", dtype=torch.float64))
        for parameter in model.parameters():
            parameter.requires_grad_(False).mul_(20)  # away from zero, so that differences would show
        return model, build(cfg.task, key="task")
    cfg = composed(f"+algorithm@references.a={option}", FLOAT64, *FITS.get(option, ()))
    return build(cfg.references.a, key="references.a"), build(cfg.task, key="task")


def prompt_of(task, batch_size=4, seeds=(0, 1)) -> Prompt:
    return task.sample(batch_size, Draw(seeds, "contract", dtype=torch.float64)).prompt


@pytest.fixture(params=PREDICTORS, ids=lambda p: p[1])
def pair(request):
    predictor, task = predictor_of(*request.param)
    return predictor, prompt_of(task), task


def test_a_trajectory_is_a_stack_of_predictions(pair):
    predictor, prompt, task = pair
    trajectory = predictor(prompt)
    assert trajectory.shape[1:] == task.sample(4, Draw([0, 1], "contract", dtype=torch.float64)).target.shape
    assert trajectory.shape[0] >= 2
    assert trajectory[0].abs().max() == 0


def test_last_is_the_last_step(pair):
    predictor, prompt, _ = pair
    torch.testing.assert_close(last_step(predictor, prompt), predictor(prompt)[-1], **EXACT)


def test_fewer_steps_are_the_beginning_of_the_trajectory(pair):
    predictor, prompt, _ = pair
    torch.testing.assert_close(predictor(prompt, steps=1), predictor(prompt)[:2], **EXACT)


def test_the_order_of_the_context_does_not_matter(pair):
    predictor, prompt, _ = pair
    if getattr(predictor, "order_matters", False):
        pytest.skip("order_matters: positions in its tokens, or ties that the order breaks; see the class")
    order = torch.randperm(prompt.y.shape[2], generator=torch.Generator().manual_seed(0))
    mixed = Prompt(prompt.x[:, :, order], prompt.y[:, :, order], prompt.x_query)
    torch.testing.assert_close(predictor(mixed), predictor(prompt), rtol=1e-8, atol=1e-10)


def test_prompts_of_a_batch_do_not_leak(pair):
    predictor, prompt, _ = pair
    alone = torch.cat([predictor(prompt.chunk(i, i + 1)) for i in range(4)], dim=2)
    torch.testing.assert_close(alone, predictor(prompt), rtol=1e-8, atol=1e-10)


def test_a_shared_prompt_is_answered_by_every_member(pair):
    predictor, _, task = pair
    shared = prompt_of(task, seeds=(0,))
    by_member = last_step(predictor, shared.expand(2))
    torch.testing.assert_close(last_step(predictor, shared).expand_as(by_member), by_member, rtol=1e-8, atol=1e-10)


def test_every_prefix_is_the_call_on_the_truncated_prompt(pair):
    predictor, prompt, _ = pair
    if prompt.y.ndim == 4 and prompt.y.shape[3] == 0:
        pytest.skip("its context has no labels, so there are none to guess at every position")
    found = every_prefix(predictor, prompt.x[:, :, :4], prompt.y[:, :, :4])
    for i in range(1, 4):
        truncated = Prompt(prompt.x[:, :, :i], prompt.y[:, :, :i], prompt.x[:, :, i])
        torch.testing.assert_close(found[:, :, :, i], predictor(truncated), rtol=1e-8, atol=1e-10)
