"""Tokens and labels of the attention SVM."""

import pytest
import torch

from icl.rng import Draw
from icl.tasks.token_separation import TokenSeparation


def test_labels_are_signs_and_the_query_is_the_first_token():
    sample = TokenSeparation(dim=4, n_context=3).sample(200, Draw([0, 1], "t"))
    assert set(sample.target.unique().tolist()) == {-1.0, 1.0}
    assert torch.equal(sample.prompt.x_query, sample.prompt.x[:, :, 0])
    assert sample.prompt.y.shape == (2, 200, 3, 0)


def test_one_token_is_no_choice():
    with pytest.raises(ValueError, match="n_context=1 must be >= 2"):
        TokenSeparation(dim=4, n_context=1)
