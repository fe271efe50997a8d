"""Two patches: a signal of the label, sparse noise orthogonal to it."""

import pytest
import torch

from icl.rng import Draw
from icl.tasks.two_patch import TwoPatch


def test_the_signal_is_the_label_and_the_noise_is_sparse():
    sample = TwoPatch(dim=50, n_noisy=10, noise_std=2.0).sample(500, Draw([0, 1], "t"))
    assert torch.equal(sample.prompt.x[:, :, 0, 0], sample.target)
    assert not sample.prompt.x[..., 1:].any()
    noise = sample.prompt.x_query
    assert not noise[..., 0].any()
    assert ((noise != 0).sum(-1) == 10).all()
    assert noise[noise != 0].std().item() == pytest.approx(2.0, rel=0.05)
    assert (noise != 0).float().mean((0, 1))[1:].std() < 0.03  # every coordinate as often


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"n_noisy": 5}, r"n_noisy=5 must be in 1\.\.4"),
        ({"noise_std": -1.0}, "noise_std"),
        ({"n_context": 2}, "must be 1"),
    ],
)
def test_impossible_patches_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        TwoPatch(**{"dim": 5, "n_noisy": 2, "noise_std": 1.0} | fields)
