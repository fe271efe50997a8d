"""The evidence as numbers for claims and as curves and maps for comparisons.json."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from icl.comparisons.identification.filters import LEAST_SQUARES
from icl.comparisons.identification.report import Evidence
from icl.comparisons.identification.similarity import errors, similarity_of_errors
from icl.comparisons.measured import Curve

FAMILIES = (
    "zero", "averaging", "least_squares", "ridge", "gradient_descent", "gradient_descent_on_sum", "iterative_newton",
    "momentum", "nesterov", "gradient_descent_plus_plus", "chebyshev", "conjugate_gradient", "exact_line_search",
    "polyak_steps", "armijo_steps", "preconditioned_gradient_descent", "nearest_neighbours", "kernel_regression",
    "lasso", "decision_tree", "gradient_boosting", "neural_network",
)  # fmt: skip
NUMBERS = (
    "error", "best_distance", "family_to_least_squares", "best_similarity", "n_contenders", "named", "is_family",
    "separated", "separation", "unexplained_there", "newton_to_ridge_there", "newton_to_descent_there", "linearity",
    "best_weight_similarity",
    *(f"{what}_{name}" for what in ("distance", "similarity", "is") for name in FAMILIES),
)  # fmt: skip


def numbers(evidence: Evidence) -> dict[str, Float[Tensor, "M"]]:
    """One entry a model; nan for a candidate that was left out."""
    found, M = evidence.found, len(evidence.found.answers)
    nan = torch.full((M,), torch.nan, dtype=torch.float64)
    distance = dict(zip(found.names, found.distances.nanmean(-1) / found.slots.label_square))
    similarity = dict(zip(found.names, found.similarity))
    near = [n for n in found.names if found.fitted[n].family.kind == LEAST_SQUARES and n != "least_squares"]
    best = torch.stack([distance[n] for n in near])
    target = found.slots.target
    final, there = evidence.verdicts, designed(evidence)
    out = {
        "error": (found.answers - found.slots.target)[..., -1].square().mean(-1) / target[:, -1].square().mean(),
        "best_distance": torch.stack([distance[v.best][m] for m, v in enumerate(found.verdicts)]),
        "family_to_least_squares": best.amin(0) / distance.get("least_squares", nan),
        "best_similarity": torch.stack([similarity[n] for n in near]).amax(0),
        "n_contenders": _each(len(v.names) for v in found.verdicts),
        "named": _each(v.status == "named" for v in final),
        "is_family": _each(v.kind == LEAST_SQUARES and v.status in ("named", "family") for v in final),
        "separated": _each(a.status != "named" and b.status == "named" for a, b in zip(found.verdicts, final)),
        "separation": torch.full_like(nan, evidence.separated[0].spectrum.disagreement) if there else nan,
        "unexplained_there": torch.stack(list(there.values())).amin(0) if there else nan,
        "newton_to_ridge_there": there.get("iterative_newton", nan) / there.get("ridge", nan),
        "newton_to_descent_there": there.get("iterative_newton", nan) / descent(there, nan),
        "linearity": nan if evidence.weights is None else evidence.weights.r_squared,
        "best_weight_similarity": nan if evidence.weights is None
        else torch.stack(list(evidence.weights.similarity.values())).amax(0),
    }  # fmt: skip
    for name in FAMILIES:
        out[f"distance_{name}"] = distance.get(name, nan)
        out[f"similarity_{name}"] = similarity.get(name, nan)
        out[f"is_{name}"] = _each(v.status == "named" and v.names == (name,) for v in final)
    return out


def designed(evidence: Evidence) -> dict[str, Float[Tensor, "M"]]:
    """Distances over E y² on the prompts whose eigenvalues are designed within those of training."""
    if not evidence.separated:
        return {}
    found = evidence.separated[0].found
    return dict(zip(found.names, found.distances.nanmean(-1) / found.slots.label_square))


def descent(distance: Mapping[str, Tensor], missing: Tensor) -> Float[Tensor, "M"]:
    """Of the nearer gradient descent, on the mean or on the sum of squares."""
    own = [distance[name] for name in ("gradient_descent", "gradient_descent_on_sum") if name in distance]
    return torch.stack(own).amin(0) if own else missing


def _each(values: Iterable[float]) -> Float[Tensor, "M"]:
    return torch.tensor([float(v) for v in values], dtype=torch.float64)


def curves(evidence: Evidence) -> dict[str, Curve]:
    """Maps with a row a predictor; the rows of a bank are its members, or their median."""
    found = evidence.found
    note = f"{len(found.slots.target):,} prompts, fitted on others"
    seeds = [f"seed {m}" for m in range(len(found.answers))]
    out = {
        "distance": Curve(
            kind="map", title="Squared distance of every fitted candidate to the model", x_label="",
            y_label="", x=seeds, y=found.names, note=f"over E y²; {note}",
            model=(found.distances.nanmean(-1) / found.slots.label_square).tolist(),
        ),
        "similarity_of_errors": Curve(
            kind="map", title="Similarity of errors", x_label="", y_label="",
            x=(names := ["model", *_full(evidence)]), y=names, model=_matrix(evidence).tolist(),
            note=f"mean cosine; first member of the bank; {note}",
        ),
    }  # fmt: skip
    if found.slots.every:
        out["positions"] = _positions(evidence, seeds, note)
    if evidence.response is not None:
        out["response"] = _response(evidence, seeds)
    if evidence.separated:
        out["separation"] = _separation(evidence)
    if evidence.shifts:
        out["shifts"] = _shifts(evidence.shifts)
    return out


def _full(evidence: Evidence) -> list[str]:
    """Candidates that were asked all prompts."""
    n = len(evidence.found.slots.target)
    return [name for name, guess in evidence.found.guesses.items() if guess.shape[1] == n]


def _matrix(evidence: Evidence) -> Float[Tensor, "R R"]:
    found = evidence.found
    rows = [found.answers[0], *(found.guesses[name][0] for name in _full(evidence))]
    r = errors(torch.stack(rows), found.slots.target)
    return torch.stack([similarity_of_errors(r, row[None].expand_as(r)) for row in r])


def _positions(evidence: Evidence, seeds: Sequence[str], note: str) -> Curve:
    found = evidence.found
    power = found.slots.label_square
    rows = dict(zip(seeds, found.answers))
    rows |= {name: found.guesses[name][0] for name in _full(evidence)}
    target = found.slots.target
    errs = [((g - target[: len(g)]).square().mean(0) / power).tolist() for g in rows.values()]
    return Curve(
        kind="map", title="Error at every position", x_label="pairs before it", y_label="", y=list(rows),
        x=[float(i) for i in range(1, target.shape[1] + 1)], model=errs, note=f"squared error over E y²; {note}",
    )  # fmt: skip


def _response(evidence: Evidence, seeds: Sequence[str]) -> Curve:
    assert evidence.response is not None
    at, theirs, own = evidence.response
    rows = dict(zip(seeds, own.tolist())) | {name: s[0].tolist() for name, s in theirs.items()}
    return Curve(
        kind="map", title="Shrinkage s = λ f(λ) on contexts whose eigenvalues are all the same", y_label="",
        x_label="eigenvalue over its mean in training", x=at, y=list(rows), model=list(rows.values()), log_x=True,
        note="1: the label itself, 0: nothing; candidates as fitted to the first member",
    )  # fmt: skip


def _separation(evidence: Evidence) -> Curve:
    names = [n for n in evidence.found.names if all(n in s.found.fitted for s in evidence.separated)]
    columns = []
    for s in evidence.separated:
        row = dict(zip(s.found.names, (s.found.distances.nanmean(-1) / s.found.slots.label_square).median(1).values))
        columns.append([row[name].item() for name in names])
    return Curve(
        kind="map", title="Distance to the model on prompts designed to tell rivals apart", y_label="",
        x_label="eigenvalues within this factor of those in training", y=names,
        x=[s.spectrum.reach for s in evidence.separated], model=[list(row) for row in zip(*columns)],
        note="over E y²; median over members",
    )  # fmt: skip


def _shifts(shifts: Mapping[str, Mapping[str, Tensor]]) -> Curve:
    names = list(next(iter(shifts.values())))
    return Curve(
        kind="map", title="Error on every shift", x_label="", y_label="", x=list(shifts), y=names,
        model=[[row[name].median().item() for row in shifts.values()] for name in names],
        note="squared error at the query over E y²; median over members, candidates as fitted in training",
    )  # fmt: skip
