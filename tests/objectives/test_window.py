"""The window against its definition by hand."""

import pytest
import torch
from torch import nn

from icl.core import Prompt, Sample
from icl.objectives.last import Last
from icl.objectives.window import Window


class Loop(nn.Module):
    """z ← a z + x_query¹, z_0 = 0; M = 2."""

    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor([0.5, 2.0]).double())

    def step(self, z, prompt):
        return self.a[:, None] * z + prompt.x_query[..., 0]

    def forward(self, prompt, *, steps=3):
        z, out = torch.zeros(2, prompt.x.shape[1]).double(), []
        for _ in range(steps):
            z = self.step(z, prompt)
            out.append(z)
        return torch.stack(out)

    def windowed(self, prompt, *, n_loops, window):
        z = self(prompt, steps=n_loops - window)[-1].detach() if n_loops > window else torch.zeros(2, 4).double()
        out = []
        for _ in range(window):
            z = self.step(z, prompt)
            out.append(z)
        return torch.stack(out)


def sample_of(draw):
    return Sample(Prompt(draw.normal(4, 3, 2), draw.normal(4, 3), draw.normal(4, 2)), draw.normal(4), None)


@pytest.mark.parametrize(("n_loops", "window"), [(3, 1), (3, 2), (3, 3)])
def test_it_is_the_mean_over_the_last_loops(n_loops, window, draw):
    model, sample = Loop(), sample_of(draw)
    found = Window(n_loops=n_loops, window=window)(model, sample)
    errors = (model(sample.prompt, steps=n_loops) - sample.target).square()
    torch.testing.assert_close(found, errors[-window:].mean(0).mean(-1))
    half = Window(n_loops=n_loops, window=window, unit="half_mse")(model, sample)
    torch.testing.assert_close(2 * half, found)


def test_positions_are_averaged_and_a_window_of_one_is_the_last(draw):
    model, sample = Loop(), sample_of(draw)
    one = Window(n_loops=3, window=1, unit="half_mse")(model, sample)
    torch.testing.assert_close(one, Last()(model, sample))

    class Everywhere:
        def windowed(self, prompt, *, n_loops, window):
            return model.windowed(prompt, n_loops=n_loops, window=window)[..., None].expand(-1, -1, -1, 5)

    target = sample.target[..., None].expand(-1, -1, 5)
    found = Window(n_loops=3, window=2)(Everywhere(), Sample(sample.prompt, target, None))
    torch.testing.assert_close(found, Window(n_loops=3, window=2)(model, sample))


@pytest.mark.parametrize(("n_loops", "window"), [(3, 4), (3, 0), (3, -1)])
def test_a_window_that_is_none_is_refused(n_loops, window):
    with pytest.raises(ValueError, match=f"window={window} must be in 1..{n_loops}") as error:
        Window(n_loops=n_loops, window=window)
    assert "\n" not in str(error.value)


def test_no_loops_are_refused():
    with pytest.raises(ValueError, match="n_loops=0 must be >= 1"):
        Window(n_loops=0, window=0)


def test_a_model_without_loops_is_refused(draw):
    with pytest.raises(ValueError, match="Linear has no loops"):
        Window(n_loops=2, window=1)(nn.Linear(2, 2), sample_of(draw))
