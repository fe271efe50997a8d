"""Banks of one-layer models: a shared stream, own streams, and the exact population loss.

A bank's number always stands beside the single model's from the same rounds.
"""

from collections.abc import Iterator
from itertools import product

import torch

from icl.benchmarks import peak
from icl.benchmarks.settings import Settings
from icl.benchmarks.steps import training_step, von_oswald
from icl.benchmarks.timing import Candidate, Ratio, Table
from icl.models.linear_attention_fast import FEW_FEATURES, MANY_MEMBERS
from icl.objectives.population import Population
from icl.tasks.linear_regression import LinearRegression

SHARED, OWN, POPULATION = (1, 32, 128, 512), (1, 4, 8, 32), 128
SHARED_GOAL, OWN_GOAL, POPULATION_GOAL = (32, 5.0), 0.95, 6.0
PEAK_GOAL = (512, 0.40)  # of the matrix product's rate in the same rounds, by the same route
SINGLE = "one model"


def run(settings: Settings) -> Iterator[Table]:
    yield shared(settings)
    yield own(settings)
    if settings.dtype == "fp32":  # the closed form solves and decomposes
        yield population(settings)


def shared(settings: Settings) -> Table:
    """M models on one stream of prompts, against M times the single model; large ones against the peak, too."""
    routes = (False, True) if settings.fast_route else (False,)
    candidates = [Candidate(name=SINGLE, call=training_step(settings))]
    for members, fast in product((m for m in settings.M or SHARED if m > 1), routes):
        flop = feature_flop(settings, members)
        ratios = [Ratio(to=SINGLE, at_least=_goal(settings, SHARED_GOAL, members))]
        if flop:
            to = peak.gemm_name(peak.PEAK_SIZE, settings.torch_dtype, fast)
            ratios.append(Ratio(to=to, of="flop", at_least=_goal(settings, PEAK_GOAL, members)))
        call = training_step(settings, members, fast=fast)
        name = f"M={members}{', fast route' if fast else ''}"
        candidates.append(Candidate(name=name, call=call, work=members, flop=flop, ratios=ratios))
    candidates += [peak.gemm(settings, peak.PEAK_SIZE, settings.torch_dtype, fast=fast) for fast in routes]
    return settings.table(_title("shared stream", settings), candidates, peak.route_note(settings))


def feature_flop(settings: Settings, members: int) -> float:
    """4 B F M of the two products, forwards and backwards, with F = d (d+1) (d+2) / 2 features; 0 by another form."""
    n_features = settings.d * (settings.d + 1) * (settings.d + 2) // 2
    by_features = members >= MANY_MEMBERS and n_features <= FEW_FEATURES
    return 4.0 * settings.B * n_features * members if by_features else 0.0


def own(settings: Settings) -> Table:
    """M models, each on prompts of its own, against the same models one after the other."""
    goal = settings.goal(OWN_GOAL)
    candidates = [Candidate(name=SINGLE, call=training_step(settings, stream="own"))]
    candidates += [
        Candidate(
            name=f"M={members}", call=training_step(settings, members, stream="own"), work=members,
            ratios=[Ratio(to=SINGLE, at_least=goal if members in OWN else None)],
        )
        for members in (settings.M or OWN)
    ]  # fmt: skip
    return settings.table(_title("own streams", settings), candidates)


def population(settings: Settings) -> Table:
    """The exact loss against a bank that samples, isotropic and with a general covariance and prior."""
    members = max(settings.M) if settings.M else POPULATION
    spectrum = torch.linspace(0.2, 2, settings.d).tolist()
    skewed = {"covariance_spectrum": spectrum, "rotation_seed": 0, "w_covariance": "inverse_covariance"}
    isotropic = von_oswald(settings)
    general = LinearRegression(dim=settings.d, n_context=settings.N, noise_std=0.1, **skewed)
    goal = settings.goal(POPULATION_GOAL) if members == POPULATION else None
    candidates = []
    for kind, task in (("isotropic", isotropic), ("general covariance", general)):
        sampled = []
        for fast in (False, True) if settings.fast_route else (False,):
            sampled.append(f"{kind}, sampled{', fast route' if fast else ''}")
            call = training_step(settings, members, task=task, fast=fast)
            candidates.append(Candidate(name=sampled[-1], call=call, work=members))
        ratios = [Ratio(to=name, at_least=goal if kind == "isotropic" else None) for name in sampled]
        call = training_step(settings, members, task=task, objective=Population(task=task))
        candidates.append(Candidate(name=f"{kind}, population", call=call, work=members, ratios=ratios))
    return settings.table(_title(f"population loss, M={members}", settings), candidates)


def _goal(settings: Settings, goal: tuple[int, float], members: int) -> float | None:
    return settings.goal(goal[1]) if members == goal[0] else None


def _title(what: str, settings: Settings) -> str:
    return f"one layer, {what}, d={settings.d} N={settings.N} batch {settings.B}"
