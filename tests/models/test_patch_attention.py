"""Two-patch attention against a loop over neurons and patches."""

import math

import torch

from icl.models.patch_attention import PatchAttention
from icl.rng import Draw
from icl.tasks.two_patch import TwoPatch
from tolerances import EXACT


def test_it_is_a_loop_over_patches():
    sample = TwoPatch(dim=5, n_noisy=2, noise_std=1.0).sample(3, Draw([0, 1], "t", dtype=torch.float64))
    model = PatchAttention(dim=5, key_size=2, n_seeds=2, init_std=1.0, dtype=torch.float64)
    model.reset(Draw([0, 1], "init", dtype=torch.float64))
    found = model.requires_grad_(False)(sample.prompt)
    assert not found[0].any()
    for m in range(2):
        for b in range(3):
            patches = [sample.prompt.x[m, b, 0], sample.prompt.x_query[m, b]]
            total = 0.0
            for asking in patches:
                scores = [math.exp((model.W_Q[m] @ asking) @ (model.W_K[m] @ key)) for key in patches]
                values = [((model.V[m, 0] - model.V[m, 1]) @ key).item() for key in patches]
                total += sum(s * v for s, v in zip(scores, values, strict=True)) / sum(scores)
            torch.testing.assert_close(found[1, m, b].item(), total, **EXACT)
