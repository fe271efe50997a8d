"""The layer token by token, and what of it is trained."""

import math

import pytest
import torch

from icl.models.kernel_attention import KernelAttention
from icl.rng import Draw
from icl.tasks.random_sequences import RandomSequences
from tolerances import EXACT


def bank(**options):
    model = KernelAttention(dim=3, n_context=2, key_size=4, n_seeds=2, dtype=torch.float64, **options)
    model.reset(Draw([0, 1], "init", dtype=torch.float64))
    return model


@pytest.mark.parametrize("kernel", ["softmax", "gaussian"])
def test_it_is_its_equation(kernel, draw):
    model = bank(kernel=kernel).requires_grad_(False)
    prompt = RandomSequences(dim=3, n_context=2).sample(2, draw).prompt
    tokens = torch.cat([prompt.x, prompt.x_query[:, :, None]], 2)[0, 1]
    Q, K, V, a = (getattr(model, name)[1] for name in ("W_Q", "W_K", "W_V", "a"))
    f = 0.0
    for i in range(3):
        if kernel == "softmax":
            e = [math.exp((Q @ tokens[i]) @ (K @ t) / 2) for t in tokens]
            S = [value / sum(e) for value in e]
        else:
            S = [math.exp(-(Q @ tokens[i] - K @ t).square().sum() / 2) for t in tokens]
        f = f + sum(s * (a[i] @ (V @ t)) for s, t in zip(S, tokens))
    torch.testing.assert_close(model(prompt)[1, 1, 1], f, **EXACT)


@pytest.mark.parametrize(
    ("trained", "names"), [("query", {"W_Q"}), ("value", {"W_V"}), ("all", {"W_Q", "W_K", "W_V", "a"})]
)
def test_only_what_is_named_is_trained_from_the_same_first_values(trained, names):
    model = bank(trained=trained)
    assert {name for name, _ in model.named_parameters()} == names
    everything = bank(trained="all")
    for name, value in everything.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_bad_values_are_refused(draw):
    with pytest.raises(ValueError, match="key_size=0 must be >= 1"):
        KernelAttention(dim=3, n_context=2, key_size=0)
    with pytest.raises(ValueError, match=r"4 tokens must be <= 3"):
        bank().last(RandomSequences(dim=3, n_context=3).sample(1, draw).prompt)
    with pytest.raises(ValueError, match="label_std=0"):
        RandomSequences(dim=3, n_context=2, label_std=0.0)
