"""Single-query attention in its three forms against a loop over tokens."""

import math

import pytest
import torch

from icl.models.single_query_attention import SingleQueryAttention
from icl.rng import Draw
from icl.tasks.token_separation import TokenSeparation
from tolerances import EXACT


@pytest.mark.parametrize("form", ["p", "W", "KQ"])
@pytest.mark.parametrize("relative", [False, True])
def test_it_is_a_softmax_over_tokens(form, relative):
    sample = TokenSeparation(dim=3, n_context=4).sample(3, Draw([0, 1], "t", dtype=torch.float64))
    model = SingleQueryAttention(dim=3, form=form, relative=relative, n_seeds=2, dtype=torch.float64)
    model.requires_grad_(False).reset(Draw([0, 1], "init", dtype=torch.float64))
    for weight in model.parameters():
        weight.copy_(Draw([0, 1], "w", dtype=torch.float64).normal(*weight.shape[1:]))
    found = model(sample.prompt)
    assert not found[0].any()
    for m in range(2):
        W = model.K[m] @ model.Q[m].T if form == "KQ" else model.W[m]
        for b in range(3):
            z = torch.ones(1).double() if form == "p" else sample.prompt.x_query[m, b]
            tokens = sample.prompt.x[m, b]
            weights = [math.exp(x @ W @ z) for x in tokens]
            expected = sum(w * (model.v[m] @ x).item() for w, x in zip(weights, tokens, strict=True)) / sum(weights)
            torch.testing.assert_close(found[1, m, b].item(), expected, **EXACT)
