"""The measures of the stages on weights written down, and what the probe needs."""

import pytest
import torch

from icl.models.patch_attention import PatchAttention
from icl.probes.patch_stages import PatchStages, first_below, noise_alignment, signal_alignment
from icl.rng import Draw
from icl.tasks.two_patch import TwoPatch
from opened import Opened

TASK = TwoPatch(dim=6, n_noisy=5, noise_std=1.0)
SAMPLE = TASK.sample(30, Draw([0, 1], "t", dtype=torch.float64))


def model_with(scale_k: float) -> PatchAttention:
    model = PatchAttention(dim=6, key_size=4, n_seeds=2, dtype=torch.float64).requires_grad_(False)
    model.W_Q.copy_(Draw([0, 1], "w", dtype=torch.float64).normal(4, 6))
    model.W_K.copy_(scale_k * model.W_Q)
    return model


def test_equal_and_opposite_queries_and_keys_are_aligned_wholly_and_never():
    assert noise_alignment(model_with(2.0), SAMPLE).tolist() == [1, 1]
    assert noise_alignment(model_with(-2.0), SAMPLE).tolist() == [0, 0]


def test_the_signal_of_the_queries_is_held_against_the_summed_noise_of_the_keys():
    model = model_with(1.0)
    summed = torch.einsum("mkd,mbd,mb->mk", model.W_K, SAMPLE.prompt.x_query, SAMPLE.target)
    model.W_Q[..., 0] = 3 * summed
    assert signal_alignment(model, SAMPLE).tolist() == [1, 1]


def test_the_first_snapshot_below_and_none():
    attention = {0: torch.tensor([[0.5, 0.5]]), 7: torch.tensor([[0.5, 0.04]]), 9: torch.tensor([[0.5, 0.01]])}
    assert first_below(attention, 1).item() == 7
    assert first_below(attention, 0).isnan().item()


def test_a_run_on_fresh_prompts_is_refused():
    run = Opened(TASK, {0: model_with(1.0)}, n_batches=None)
    with pytest.raises(ValueError, match="n_batches=1"):
        PatchStages().measure_run(run, Draw([0], "p"))
