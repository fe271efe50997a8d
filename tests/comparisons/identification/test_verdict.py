"""Verdicts from distances that were made up, and prompts with the spectra that were asked for."""

import dataclasses
from collections import Counter

import pytest
import torch

from icl.comparisons.identification.separation import prompts_with
from icl.comparisons.identification.similarity import errors, fitted_weights, similarity_of_errors
from icl.comparisons.identification.verdict import Rules, judge, together
from tolerances import EXACT

KINDS = {"zero": "zero", "gd": "least squares", "momentum": "least squares", "ridge": "least squares", "knn": "labels",
         "chebyshev": "least squares"}  # fmt: skip
GROUPS = {"momentum": "accelerated", "chebyshev": "accelerated"}
CONTAINS = {"momentum": ("gd",), "gd": ("zero",), "ridge": ("zero",), "zero": (), "knn": (), "chebyshev": ("gd",)}
RULES = Rules(kinds=KINDS, contains=CONTAINS, groups=GROUPS, least_margin=0.1, most_unexplained=0.1)


def said(draw, most_unexplained=0.1, **means):
    """The verdict on candidates with these mean distances, of which 10 % is noise that all share."""
    shared = 1 + 0.1 * draw.normal(200)[0]
    own = [mean * shared + 1e-4 * draw.normal(200)[0].abs() for mean in means.values()]
    rules = dataclasses.replace(RULES, most_unexplained=most_unexplained)
    mean = torch.tensor(list(means.values())).double()
    apart = 3 * (mean - mean[:, None]).abs()[..., None]  # the model is a third of the way from one to the other
    return judge(list(means), torch.stack(own)[:, None], 1.0, rules, draw, apart)[0]


def test_the_nearest_is_named_with_its_margin(draw):
    verdict = said(draw, zero=1.0, gd=0.01, ridge=0.03)
    assert (verdict.status, verdict.names, verdict.runner_up) == ("named", ("gd",), "ridge")
    assert verdict.margin == pytest.approx(0.02, rel=0.05)
    assert verdict.margin_interval[0] < verdict.margin < verdict.margin_interval[1]


def test_what_contains_the_nearest_does_not_make_it_undecided(draw):
    verdict = said(draw, zero=1.0, momentum=0.01, gd=0.0101, ridge=0.03)
    assert (verdict.status, verdict.names, verdict.also) == ("named", ("gd",), ("momentum",))


def test_freedom_that_may_gain_something_is_not_ruled_out(draw):
    """5 % is within the margin, so gradient descent is a contender; but momentum is surely nearer, so it is another."""
    verdict = said(draw, zero=1.0, momentum=0.01, gd=0.0105, ridge=0.03)
    assert (verdict.status, verdict.names) == ("family", ("momentum", "gd"))


def blurred(draw, apart, truth):
    """How often what is said, in 100 draws of 400 prompts: the truth with noise of variance 1, another beside it."""
    noise, offset = draw.normal(100, 400)[0], apart**0.5 * draw.normal(100, 400)[0].sign()
    own = {"gd": noise + offset * (truth != "gd"), "momentum": noise + offset * (truth != "momentum")}
    distances = torch.stack([own["gd"].square(), own["momentum"].square()])
    rules = dataclasses.replace(RULES, most_unexplained=2.0)
    verdicts = judge(["gd", "momentum"], distances, 1.0, rules, draw, torch.full((2, 2, 100), apart).double())
    return Counter(verdict.names[0] if verdict.status == "named" else verdict.status for verdict in verdicts)


@pytest.mark.parametrize("apart", [0.03, 0.08])
def test_where_noise_hides_a_difference_the_simpler_one_is_not_named_wrongly(apart, draw):
    assert blurred(draw, apart, "momentum")["gd"] <= 5
    assert blurred(draw, apart, "gd")["momentum"] <= 5


def test_what_noise_does_not_hide_is_named(draw):
    assert blurred(draw, 0.5, "momentum")["momentum"] >= 95
    assert blurred(draw, 0.5, "gd")["gd"] >= 95
    assert blurred(draw, 1e-4, "gd")["gd"] >= 95  # as good as the same


def test_several_of_one_kind_are_a_family_and_of_more_are_undecided(draw):
    family = said(draw, zero=1.0, gd=0.01, ridge=0.0101)
    assert (family.status, set(family.names), family.kind) == ("family", {"gd", "ridge"}, "least squares")
    close = said(draw, zero=1.0, momentum=0.01, chebyshev=0.0101, gd=0.03)
    assert (close.status, close.group, "accelerated (momentum, chebyshev" in str(close)) == (
        "family",
        "accelerated",
        True,
    )
    undecided = said(draw, zero=1.0, gd=0.01, knn=0.0101)
    assert (undecided.status, set(undecided.names)) == ("undecided", {"gd", "knn"})


def test_a_small_but_certain_difference_names_nobody(draw):
    """5 % farther is within the margin, however many prompts are sure of it."""
    assert said(draw, zero=1.0, gd=0.02, ridge=0.021).status == "family"
    assert said(draw, zero=1.0, gd=0.02, ridge=0.026).status == "named"


def test_a_small_difference_names_a_model_that_is_at_its_end_of_the_way(draw):
    """5 % farther, and no nearer to the other one than noise would be."""
    noise, offset = draw.normal(1, 20_000)[0], 0.05**0.5 * draw.normal(1, 20_000)[0].sign()
    apart = torch.full((2, 2, 1), 0.05).double()
    rules = dataclasses.replace(RULES, most_unexplained=2.0)
    for share, names in ((0.0, ("gd",)), (0.4, ("gd", "ridge")), (1.0, ("ridge",))):
        distances = torch.stack([(noise + share * offset).square(), (noise - (1 - share) * offset).square()])
        assert judge(["gd", "ridge"], distances, 1.0, rules, draw, apart)[0].names == names


def test_nothing_near_is_none(draw):
    assert said(draw, zero=1.0, gd=0.4, ridge=0.9).status == "none"
    assert said(draw, most_unexplained=0.5, zero=1.0, gd=0.4, ridge=0.9).status == "named"


def test_a_candidate_that_was_asked_less_is_judged_where_it_was_asked(draw):
    distances = torch.tensor([0.01, 0.02, 0.5]).double()[:, None, None] * torch.ones(3, 1, 100).double()
    distances[2, :, 20:] = torch.nan
    verdict = judge(["gd", "ridge", "knn"], distances, 1.0, RULES, draw, torch.zeros(3, 3, 1).double())[0]
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
