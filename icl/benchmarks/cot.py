"""Chain of thought: the rollout by its running Gram matrix against the whole sequence again for every thought, and the
masked pass of teacher forcing against one sequence a thought.

References:
    Huang, Wang, Lee 2025, Transformers learn to implement multi-step gradient descent with chain of thought,
    arXiv:2502.21212
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from icl.algorithms.gradient_descent import GradientDescent
from icl.benchmarks.settings import Settings
from icl.benchmarks.timing import Candidate, Ratio, Table
from icl.constructions.chain_of_thought_as_gd import chain_of_thought_as_gd
from icl.models.chain_of_thought import ChainOfThought
from icl.rng import Draw
from icl.tasks.weight_prediction import WeightPrediction

STEP_SIZE, THOUGHTS, TAUGHT = 0.2, 40, 10
GOAL = 8.0  # the cached rollout of 40 thoughts takes at most an eighth of recomputation


def run(settings: Settings) -> Iterator[Table]:
    model = ChainOfThought(dim=settings.d, device=settings.device, dtype=settings.torch_dtype)
    model.load_state_dict(chain_of_thought_as_gd(dim=settings.d, step_size=STEP_SIZE))
    draw = Draw([0], "bench", device=settings.device, dtype=settings.torch_dtype)
    prompt = WeightPrediction(dim=settings.d, n_context=settings.N).sample(settings.B, draw).prompt
    sizes = f"d={settings.d} N={settings.N} batch {settings.B}"

    def compared(plain: str, slow: Callable[[], Tensor], fast: str, quick: Callable[[], Tensor]) -> list[Candidate]:
        goal = settings.goal(GOAL) if fast == "cached" else None
        return [
            Candidate(name=plain, call=slow, unit="batches"),
            Candidate(name=fast, call=quick, unit="batches", ratios=[Ratio(to=plain, at_least=goal)]),
        ]

    with torch.no_grad():
        rollouts = compared(
            "recomputed", lambda: model.recompute(prompt, steps=THOUGHTS),
            "cached", lambda: model(prompt, steps=THOUGHTS),
        )  # fmt: skip
        apart = (model.recompute(prompt, steps=THOUGHTS) - model(prompt, steps=THOUGHTS)).abs().max().item()
        yield settings.table(f"{THOUGHTS} thoughts, free-running, {sizes}", rollouts, f"largest difference {apart:.1e}")
    taught = GradientDescent(step_size=STEP_SIZE, steps=TAUGHT, returns="weights")(prompt)

    def with_gradient(taught_pass: Callable[..., Tensor]) -> Callable[[], Tensor]:
        def call() -> Tensor:
            loss = (taught_pass(prompt, taught[:-1]) - model.thought(taught[1:])).square().sum()
            return torch.autograd.grad(loss, list(model.parameters()))[0]

        return call

    forced = compared(
        "one sequence a thought", with_gradient(model.teacher_forced_one_by_one),
        "one masked pass", with_gradient(model.teacher_forced),
    )  # fmt: skip
    yield settings.table(f"{TAUGHT} taught thoughts with gradient, {sizes}", forced)
