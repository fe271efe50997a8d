"""Bigrams: a chain a seed, and a training set that is the same bigrams put together."""

import pytest
import torch

from icl.models.linear_softmax import LinearSoftmax
from icl.objectives.cross_entropy import CrossEntropy
from icl.rng import Draw
from icl.tasks.zipf_bigrams import ZipfBigrams
from tolerances import EXACT

TASK = ZipfBigrams(dim=6)


def test_put_together_or_one_by_one_the_loss_is_the_same_with_its_gradient(draw):
    model = LinearSoftmax(dim=6, n_labels=6, n_seeds=2, dtype=torch.float64)
    with torch.no_grad():
        model.W.copy_(draw.normal(2, 6, 6)[0])
    stream = Draw([0, 1], "t", dtype=torch.float64)
    found = []
    for sample in (TASK.sample(300, stream.at(0)), TASK.training_set(300, stream.at(0))):
        loss = CrossEntropy()(model, sample)
        found.append((loss, torch.autograd.grad(loss.sum(), model.W)[0]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **EXACT)


def test_bigrams_follow_the_chain_of_their_seed():
    stream = Draw([0, 1], "t", dtype=torch.float64)
    P, mu = TASK.chain(stream)
    assert not torch.equal(P[0], P[1])
    torch.testing.assert_close(torch.einsum("ma,mab->mb", mu, P), mu, **EXACT)
    pairs = TASK.words(200_000, stream)
    for m in range(2):
        shares = pairs[m].bincount(minlength=36).view(6, 6) / 200_000
        assert (shares - mu[m, :, None] * P[m]).abs().max() < 0.005


def test_the_chain_of_a_seed_is_that_of_every_step_and_stream():
    one, other = TASK.chain(Draw([4], "train", step=9))[0], TASK.chain(Draw([3, 4], "probe"))[0]
    assert torch.equal(one[0], other[1])


def test_impossible_bigrams_are_refused():
    with pytest.raises(ValueError, match="spread=-1"):
        ZipfBigrams(dim=6, spread=-1.0)
