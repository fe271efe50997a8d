"""The shapes of core.py, and the obvious twin of `every_prefix`."""

from dataclasses import dataclass

import pytest
import torch

from icl.core import Prompt, Sample, every_prefix, last_step
from icl.rng import Draw


@dataclass(frozen=True)
class Mean:
    """ŷ = the mean of the labels seen, 0 without any."""

    def __call__(self, prompt: Prompt, *, steps: int | None = None):
        n = prompt.y.shape[-1]
        mean = prompt.y.sum(-1) / max(n, 1)
        return torch.stack([torch.zeros_like(mean), mean])


def make_prompt(draw: Draw, m: int = 1, b: int = 4, n: int = 6, d: int = 3) -> Prompt:
    draw = Draw(range(m), draw.name, dtype=draw.dtype)
    return Prompt(draw.normal(b, n, d), draw.normal(b, n), draw.normal(b, d))


def test_a_prompt_whose_fields_disagree_is_refused(draw):
    prompt = make_prompt(draw)
    with pytest.raises(TypeError, match="y"):
        Prompt(prompt.x, prompt.y[:, :, 1:], prompt.x_query)
    with pytest.raises(TypeError, match="w_star"):
        Sample(prompt, prompt.y[:, 1:, 0], prompt.x_query)


def test_expand_gives_every_field_the_bank_axis(draw):
    prompt = make_prompt(draw).expand(5)
    assert [t.shape[0] for t in (prompt.x, prompt.y, prompt.x_query)] == [5, 5, 5]


def test_last_step_is_the_end_of_the_trajectory(draw):
    prompt = make_prompt(draw)
    torch.testing.assert_close(last_step(Mean(), prompt), Mean()(prompt)[-1])


def test_every_prefix_sees_only_the_pairs_before(draw):
    prompt = make_prompt(draw, m=2)
    found = every_prefix(Mean(), prompt.x, prompt.y)
    assert found.shape == (2, 2, 4, 6)
    for i in range(6):
        expected = prompt.y[:, :, :i].mean(-1) if i else torch.zeros(2, 4, dtype=torch.float64)
        torch.testing.assert_close(found[-1, :, :, i], expected)
