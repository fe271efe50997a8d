"""The network of every prompt against one torch.nn model a prompt; prefixes; what it can learn; bad input."""

import pytest
import torch
from torch import nn

from icl.algorithms.neural_network import NeuralNetwork
from icl.core import Prompt, every_prefix


def alone(algorithm, x, y, query):
    """The trajectory of one prompt by torch.nn and torch.optim."""
    W, b, *_ = algorithm._first_values(query[None, None])
    net = nn.Sequential(nn.Linear(x.shape[1], algorithm.n_hidden), nn.ReLU(), nn.Linear(algorithm.n_hidden, 1)).double()
    with torch.no_grad():
        net[0].weight.copy_(W[0, 0])
        net[0].bias.copy_(b[0, 0])
        net[2].weight.zero_()
        net[2].bias.zero_()
    optimizer = torch.optim.Adam(net.parameters(), lr=algorithm.lr)
    guesses = [net(query[None])[0, 0].detach()]
    for _ in range(algorithm.steps):
        optimizer.zero_grad()
        (net(x)[:, 0] - y).square().mean().backward()
        optimizer.step()
        guesses.append(net(query[None])[0, 0].detach())
    return torch.stack(guesses)


def test_all_prompts_at_once_are_one_model_a_prompt(draw):
    algorithm = NeuralNetwork(n_hidden=7, steps=12)
    x, y, query = draw.normal(4, 9, 3), draw.normal(4, 9), draw.normal(4, 3)
    found = algorithm(Prompt(x, y, query))
    assert found.shape == (13, 1, 4)
    for b in range(4):
        torch.testing.assert_close(
            found[:, 0, b], alone(algorithm, x[0, b], y[0, b], query[0, b]), rtol=1e-8, atol=1e-10
        )


def test_every_prefix_is_one_call_a_prefix(draw):
    algorithm = NeuralNetwork(n_hidden=5, steps=6)
    x, y = draw.normal(3, 5, 2), draw.normal(3, 5)
    obvious = every_prefix(lambda prompt: algorithm(prompt), x, y)
    torch.testing.assert_close(algorithm.every_prefix(x, y), obvious, rtol=1e-8, atol=1e-10)
    assert not algorithm.every_prefix(x, y)[..., 0].any()  # nothing seen, nothing learned


def test_it_learns_and_leaves_no_gradients_behind(draw):
    x, query = draw.normal(10, 60, 2), draw.normal(10, 2)

    def f(x):
        return (x[..., 0] - 0.5 * x[..., 1]).relu()

    with torch.no_grad():
        guess = NeuralNetwork(steps=300)(Prompt(x, f(x), query))
    error = (guess - f(query)).square().mean((1, 2))
    assert error[-1] < 0.05 * error[0]
    assert not guess.requires_grad


def test_impossible_values_are_refused(draw):
    for fields, line in (({"n_hidden": 0}, "n_hidden=0"), ({"lr": 0.0}, "lr=0.0"), ({"steps": -1}, "steps=-1")):
        with pytest.raises(ValueError, match=line):
            NeuralNetwork(**fields)
