"""Verdicts from distances that were made up, and prompts with the spectra that were asked for."""

import pytest
import torch

from icl.comparisons.identification.separation import prompts_with
from icl.comparisons.identification.similarity import errors, fitted_weights, similarity_of_errors
from icl.comparisons.identification.verdict import judge, together
from tolerances import EXACT

KINDS = {"zero": "zero", "gd": "least squares", "momentum": "least squares", "ridge": "least squares", "knn": "labels"}
CONTAINS = {"momentum": ("gd",), "gd": ("zero",), "ridge": ("zero",), "zero": (), "knn": ()}


def said(draw, most_unexplained=0.1, **means):
    """The verdict on candidates with these mean distances, of which 10 % is noise that all share."""
    shared = 1 + 0.1 * draw.normal(200)[0]
    own = [mean * shared + 1e-4 * draw.normal(200)[0].abs() for mean in means.values()]
    return judge(
        list(means), torch.stack(own)[:, None], 1.0, kinds=KINDS, contains=CONTAINS, least_margin=0.1,
        most_unexplained=most_unexplained, draw=draw,
    )[0]  # fmt: skip


def test_the_nearest_is_named_with_its_margin(draw):
    verdict = said(draw, zero=1.0, gd=0.01, ridge=0.03)
    assert (verdict.status, verdict.names, verdict.runner_up) == ("named", ("gd",), "ridge")
    assert verdict.margin == pytest.approx(0.02, rel=0.05)
    assert verdict.margin_interval[0] < verdict.margin < verdict.margin_interval[1]


def test_what_contains_the_nearest_does_not_make_it_undecided(draw):
    verdict = said(draw, zero=1.0, momentum=0.01, gd=0.0101, ridge=0.03)
    assert (verdict.status, verdict.names, verdict.also) == ("named", ("gd",), ("momentum",))


def test_several_of_one_kind_are_a_family_and_of_more_are_undecided(draw):
    family = said(draw, zero=1.0, gd=0.01, ridge=0.0101)
    assert (family.status, set(family.names), family.kind) == ("family", {"gd", "ridge"}, "least squares")
    undecided = said(draw, zero=1.0, gd=0.01, knn=0.0101)
    assert (undecided.status, set(undecided.names)) == ("undecided", {"gd", "knn"})


def test_a_small_but_certain_difference_names_nobody(draw):
    """5 % farther is within the margin, however many prompts are sure of it."""
    assert said(draw, zero=1.0, gd=0.02, ridge=0.021).status == "family"
    assert said(draw, zero=1.0, gd=0.02, ridge=0.026).status == "named"


def test_nothing_near_is_none(draw):
    assert said(draw, zero=1.0, gd=0.4, ridge=0.9).status == "none"
    assert said(draw, most_unexplained=0.5, zero=1.0, gd=0.4, ridge=0.9).status == "named"


def test_a_candidate_that_was_asked_less_is_judged_where_it_was_asked(draw):
    distances = torch.tensor([0.01, 0.02, 0.5]).double()[:, None, None] * torch.ones(3, 1, 100).double()
    distances[2, :, 20:] = torch.nan
    verdict = judge(
        ["gd", "ridge", "knn"], distances, 1.0, kinds=KINDS, contains=CONTAINS, least_margin=0.1, most_unexplained=0.1,
        draw=draw,
    )[0]  # fmt: skip
    assert (verdict.names, verdict.runner_up) == (("gd",), "ridge")


def test_seeds_together(draw):
    gd, ridge = said(draw, zero=1.0, gd=0.01, ridge=0.03), said(draw, zero=1.0, gd=0.03, ridge=0.01)
    nothing = said(draw, zero=1.0, gd=0.4)
    assert together([gd, gd]) == "gd in 2 of 2 seeds"
    assert together([gd, ridge]).startswith("least squares in 2 of 2 seeds")
    assert together([gd, nothing]) == "none of the candidates in 1 of 2 seeds"


@pytest.mark.parametrize(("n", "dim"), [(9, 4), (3, 5)])
def test_designed_prompts_have_their_spectrum_and_their_labels(n, dim, draw):
    asked = torch.tensor([3.0, 1.0, 0.2, 0.1], dtype=torch.float64)[: min(n, dim)].expand(6, -1)
    prompt, target = prompts_with(asked, n, dim, 2.0, 0.0, draw)
    x, y = prompt.x[0], prompt.y[0]
    found = torch.linalg.eigvalsh(x.mT @ x / n).flip(-1)[:, : asked.shape[1]]
    torch.testing.assert_close(found, asked, **EXACT)
    w = torch.linalg.pinv(x) @ y[..., None]  # the query lies in the span of the context
    torch.testing.assert_close(torch.einsum("bd,bdo->b", prompt.x_query[0], w), target[0], rtol=1e-8, atol=1e-10)


def test_similarity_of_errors_by_hand(draw):
    a, b = draw.normal(1, 5, 4), draw.normal(1, 5, 4)
    by_hand = torch.stack([a[0, 0, i] @ b[0, 0, i] / (a[0, 0, i].norm() * b[0, 0, i].norm()) for i in range(5)]).mean()
    torch.testing.assert_close(similarity_of_errors(a[0], b[0])[0], by_hand)
    pooled = similarity_of_errors(a[0, :, :, :1], b[0, :, :, :1])[0]
    flat = a[0, 0, :, 0] @ b[0, 0, :, 0] / (a[0, 0, :, 0].norm() * b[0, 0, :, 0].norm())
    torch.testing.assert_close(pooled, flat)
    nothing = errors(b[0], b[0, 0])
    assert similarity_of_errors(nothing, nothing).item() == 1
    assert similarity_of_errors(nothing, a[0]).item() == 0


def test_fitted_weights_are_those_of_a_linear_learner(draw):
    queries, w = draw.normal(6, 12, 3)[0], draw.normal(2, 6, 3)[0]
    found, r_squared = fitted_weights(torch.einsum("bqd,mbd->mbq", queries, w), queries)
    torch.testing.assert_close(found, w, **EXACT)
    torch.testing.assert_close(r_squared, torch.ones(2).double())
