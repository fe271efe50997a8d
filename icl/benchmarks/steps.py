"""A whole step of training (prompts, loss, gradient, update) as a call to time, and the forms of the guess by name."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from icl.benchmarks.settings import Settings
from icl.config import Train
from icl.core import Prompt, Sample
from icl.models.columns import gram, tokens
from icl.models.linear_attention import LinearAttention
from icl.models.linear_attention_deep_fast import several_layers
from icl.models.linear_attention_fast import one_layer_by_gram, one_layer_by_vectors
from icl.models.matmul_route import fast_matmul
from icl.objectives.last import Last
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.training.bank import INIT, Bank

GRAPHED_STEPS = 2**18  # more than are ever timed: a graph reads its rates from a table of all steps
CLIP = 0.001  # of von Oswald et al.; its cost is part of a step
Guess = Callable[[LinearAttention, Prompt], Tensor]


@dataclass(frozen=True, kw_only=True)
class LossBy:
    """`Last`, with the guess by a form of choice."""

    guess: Guess
    needs_sample: ClassVar[bool] = True

    def __call__(self, model: Any, sample: Sample) -> Float[Tensor, "M"]:
        return Last()(SimpleNamespace(last=lambda prompt: self.guess(model, prompt)), sample)


def recipe(*, graph: bool, **options: Any) -> Train:
    """Of steps to time: more than are ever taken."""
    return Train(steps=GRAPHED_STEPS if graph else 2**40, n_snapshots=0, cuda_graph=graph, **options)


def bank_step(bank: Bank, *, fast: bool) -> Callable[[], None]:
    """The next step of `bank` at each call; `fast` takes the fast float32 route."""
    numbers = count()

    def call() -> None:
        bank.step(next(numbers))

    def call_fast() -> None:
        with fast_matmul():
            bank.step(next(numbers))

    return call_fast if fast else call


def training_step(
    settings: Settings,
    n_members: int = 1,
    *,
    n_layers: int = 1,
    objective: Any = None,
    task: LinearRegression | None = None,
    stream: str = "shared",
    fast: bool = False,
) -> Callable[[], None]:
    """One step of the bank trainer at each call; `fast` takes the fast float32 route."""
    task = von_oswald(settings) if task is None else task
    model = LinearAttention(
        dim=settings.d, n_layers=n_layers, n_seeds=n_members, device=settings.device, dtype=settings.torch_dtype
    )
    seeds = list(range(n_members))
    model.reset(Draw(seeds, INIT, device=settings.device, dtype=settings.torch_dtype))
    train = recipe(graph=settings.graph, batch_size=settings.B, clip=CLIP, stream=stream)
    bank = Bank(task=task, model=model, objective=objective or Last(), train=train, seeds=seeds)
    return bank_step(bank, fast=fast)


def von_oswald(settings: Settings) -> LinearRegression:
    """Uniform inputs, isotropic prior, no noise."""
    return LinearRegression(dim=settings.d, n_context=settings.N, inputs="uniform")


# ---- forms of the guess; the start w_init is zero
def token_form(model: LinearAttention, prompt: Prompt) -> Tensor:
    """The layers as written in the paper: every token is a query."""
    return model(prompt)[-1]


def last_form(model: LinearAttention, prompt: Prompt) -> Tensor:
    """The form that the model itself chooses."""
    return model.last(prompt)


def by_vectors(model: LinearAttention, prompt: Prompt) -> Tensor:
    """One layer: two products with a vector, no Gram matrix."""
    return -one_layer_by_vectors(*_one_layer(model), *_columns(prompt)).squeeze(1)


def by_gram(model: LinearAttention, prompt: Prompt) -> Tensor:
    """One layer: through G = Σᵢ eᵢ eᵢᵀ."""
    x, y, x_query = _columns(prompt)
    return -one_layer_by_gram(*_one_layer(model), gram(tokens(x, y)), x_query).squeeze(1)


def by_tokens_of_layers(model: LinearAttention, prompt: Prompt) -> Tensor:
    """Several layers: all tokens through all but the last two."""
    return _several_layers(model, prompt, through_gram=False)


def by_gram_of_layers(model: LinearAttention, prompt: Prompt) -> Tensor:
    """Several layers: the Gram matrix through all but the last two."""
    return _several_layers(model, prompt, through_gram=True)


def _several_layers(model: LinearAttention, prompt: Prompt, *, through_gram: bool) -> Tensor:
    P, Q = model.merged()
    x, y, x_query = _columns(prompt)
    start = torch.eye(model.dim + 1, model.dim, device=P.device).to(P).expand(model.n_seeds, -1, -1)
    context = tokens(x, y)
    added = several_layers(
        P, Q, start, x_query, context, gram(context), n_layers=model.n_layers, by_gram=through_gram
    )  # fmt: skip
    return -added.squeeze(1)


def _one_layer(model: LinearAttention) -> tuple[Tensor, Tensor]:
    P, Q = model.merged()
    return P[:, 0, model.dim :], Q[:, 0, :, : model.dim]


def _columns(prompt: Prompt) -> tuple[Tensor, Tensor, Tensor]:
    x, y = prompt.x.permute(0, 3, 2, 1), prompt.y[..., None].permute(0, 3, 2, 1)
    return x, y, prompt.x_query.mT
