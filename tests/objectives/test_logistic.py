"""The logistic loss against a loop, and log 2 for no guess."""

import math

import torch

from icl.models.patch_attention import PatchAttention
from icl.objectives.logistic import Logistic
from icl.rng import Draw
from icl.tasks.two_patch import TwoPatch
from tolerances import EXACT


def test_it_is_the_mean_of_log_one_plus_exp():
    sample = TwoPatch(dim=6, n_noisy=3, noise_std=1.0).sample(4, Draw([0, 1], "t", dtype=torch.float64))
    model = PatchAttention(dim=6, n_seeds=2, init_std=1.0, dtype=torch.float64)
    model.reset(Draw([0, 1], "init", dtype=torch.float64))
    guess, found = model.last(sample.prompt), Logistic()(model, sample)
    for m in range(2):
        losses = [math.log(1 + math.exp(-(y * f).item())) for y, f in zip(sample.target[m], guess[m], strict=True)]
        torch.testing.assert_close(found[m].item(), sum(losses) / 4, **EXACT)


def test_no_guess_costs_log_two():
    sample = TwoPatch(dim=6, n_noisy=3, noise_std=1.0).sample(4, Draw([0], "t"))
    assert Logistic()(PatchAttention(dim=6), sample).item() == torch.tensor(2.0).log().item()
