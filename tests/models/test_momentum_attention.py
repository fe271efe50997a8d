"""Momentum attention token by token, by the recurrence; without momentum it is the plain transformer."""

import pytest
import torch

from icl.models.momentum_attention import MomentumAttention
from icl.models.transformer import Transformer
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=3, n_context=4)


def bank(**options):
    model = MomentumAttention(
        dim=3, n_context=4, width=8, n_heads=2, n_seeds=2, dtype=torch.float64, **{"eta": 0.4} | options
    )
    model.reset(Draw([0, 1], "init", dtype=torch.float64))
    return model


def prompt_of(draw):
    return TASK.sample(5, draw).prompt


def test_without_momentum_it_is_the_transformer(draw):
    model = bank(eta=0.0)
    plain = Transformer(dim=3, n_context=4, n_layers=2, width=8, n_heads=2, n_seeds=2, dtype=torch.float64)
    plain.load_state_dict(model.state_dict())
    prompt = prompt_of(draw)
    torch.testing.assert_close(model(prompt), plain(prompt), **EXACT)
    torch.testing.assert_close(model.last(prompt), plain.last(prompt), **EXACT)


@pytest.mark.parametrize("kind", ["momentum", "previous"])
def test_what_is_carried_is_the_recurrence(kind, draw):
    v, s, rows = draw.normal(6, 2)[0], torch.zeros(2).double(), []
    for t in range(6):
        before = v[t - 1] if t else torch.zeros(2).double()
        s = 0.4 * (s + before) if kind == "momentum" else 0.4 * before
        rows.append(s)
    torch.testing.assert_close(bank(kind=kind).carried(6, v) @ v, torch.stack(rows), **EXACT)


@pytest.mark.parametrize("tokens", ["interleaved", "paired"])
@pytest.mark.parametrize("kind", ["momentum", "previous"])
def test_a_layer_is_what_its_equation_says(kind, tokens, draw):
    """One member, prompt and head after another, by loops over tokens."""
    model = bank(kind=kind, tokens=tokens)
    prompt = prompt_of(draw)
    x, y = prompt.positions()
    p = {name: value[1] for name, value in model.gpt.named_parameters()}

    def norm(h, gain, shift):
        return (h - h.mean()) / (h.var(unbiased=False) + 1e-5).sqrt() * gain[0] + shift[0]

    guesses = torch.zeros(5, 5).double()
    for b in range(5):
        x_b, y_b = x[0, b], y[0, b]
        if tokens == "paired":
            zero = torch.zeros(4).double()
            rows = [torch.cat([x_b[t], torch.cat([x_b[t - 1], y_b[t - 1, None]]) if t else zero]) for t in range(5)]
        else:
            rows = [r for t in range(5) for r in (x_b[t], torch.cat([y_b[t, None], torch.zeros(2).double()]))][:-1]
        h = [row @ p["read_in"] + p["read_in_bias"][0] + p["positions"][t] for t, row in enumerate(rows)]
        for l in range(2):
            qkv = [norm(t, p["gain_1"][l], p["shift_1"][l]) @ p["W_qkv"][l] + p["b_qkv"][l, 0] for t in h]
            brought = []
            for t in range(len(h)):
                heads = []
                for head in (slice(0, 4), slice(4, 8)):
                    q, k, v = ([row[i : i + 8][head] for row in qkv] for i in (0, 8, 16))
                    a = torch.stack([q[t] @ k[i] / 2 for i in range(t + 1)]).softmax(0)
                    own = sum(a[i] * v[i] for i in range(t + 1))
                    reach = range(t) if kind == "momentum" else range(max(t - 1, 0), t)
                    heads.append(own + sum((0.4 ** (t - i) * v[i] for i in reach), torch.zeros(4).double()))
                brought.append(torch.cat(heads) @ p["W_o"][l] + p["b_o"][l, 0])
            h = [a + b for a, b in zip(h, brought)]
            wide = [norm(t, p["gain_2"][l], p["shift_2"][l]) @ p["W_up"][l] + p["b_up"][l, 0] for t in h]
            gelu = torch.nn.functional.gelu
            h = [t + gelu(w, approximate="tanh") @ p["W_down"][l] + p["b_down"][l, 0] for t, w in zip(h, wide)]
        at = h if tokens == "paired" else h[::2]
        read = [norm(t, p["gain"], p["shift"]) @ p["read_out"] + p["read_out_bias"][0] for t in at]
        guesses[b] = torch.cat(read)
    torch.testing.assert_close(model.every_prefix(x, y)[-1, 1], guesses, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(model.last_every_prefix(x, y)[1], guesses, rtol=1e-8, atol=1e-10)


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match=r"eta=1\.0 must be in \[0, 1\)"):
        bank(eta=1.0)
    with pytest.raises(ValueError, match="at most 5 positions"):
        bank(tokens="paired").last(LinearRegression(dim=3, n_context=5).sample(2, Draw([0], "t")).prompt)
