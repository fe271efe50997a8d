"""The embedding against torch's own layers, the layer on top against linear attention on the embedded tokens."""

import pytest
import torch
from torch import nn

from icl.core import Prompt
from icl.models.embedded_attention import EmbeddedAttention
from icl.rng import Draw
from tolerances import EXACT


def bank(n_seeds=3, seed=0, **sizes):
    sizes = {"dim": 2, "width": 5, "n_hidden": 7, "init_scale": 1.0} | sizes
    model = EmbeddedAttention(n_seeds=n_seeds, dtype=torch.float64, **sizes)
    model.reset(Draw(range(seed, seed + n_seeds), "init", dtype=torch.float64))
    for i, bias in enumerate((model.embedding.b_in, model.embedding.b_1, model.embedding.b_2)):
        draw = Draw(range(seed, seed + n_seeds), f"b{i}", dtype=torch.float64)
        bias.data.copy_(draw.normal(*bias.shape[1:]))
    return model.requires_grad_(False)


def prompts(n_streams=1, batch_size=4, n_context=6, dim=2):
    draw = Draw(range(n_streams), "data", dtype=torch.float64)
    x, y = draw.normal(batch_size, n_context, dim), draw.normal(batch_size, n_context)
    return Prompt(x, y, draw.normal(batch_size, dim))


def torch_embedding(embedding, member):
    """The same map of one member, of torch's layers."""
    into, up, down = (
        nn.Linear(*W.shape[1:], dtype=torch.float64) for W in (embedding.W_in, embedding.W_1, embedding.W_2)
    )
    pairs = (
        (into, embedding.W_in, embedding.b_in),
        (up, embedding.W_1, embedding.b_1),
        (down, embedding.W_2, embedding.b_2),
    )
    for layer, W, b in pairs:
        layer.weight.data.copy_(W[member].T)
        layer.bias.data.copy_(b[member, 0])

    def phi(t):
        e = into(embedding.scales * t)
        return e + down(nn.GELU()(up(e)))

    return phi


@pytest.mark.parametrize("n_streams", [1, 3])
def test_the_guess_is_the_equation(n_streams):
    model, prompt = bank(), prompts(n_streams)
    trajectory = model(prompt)
    assert trajectory[0].abs().max() == 0
    for member in range(3):
        x, y, x_query = (t[min(member, n_streams - 1)] for t in (prompt.x, prompt.y, prompt.x_query))
        phi = torch_embedding(model.embedding, member)
        h = phi(torch.cat([x, y[..., None]], -1))
        h_query = phi(torch.cat([x_query, torch.zeros(4, 1).double()], -1))
        scores = ((h @ model.A[member]) * h_query[:, None]).sum(-1)
        torch.testing.assert_close(trajectory[1, member], -(scores * (h @ model.p[member])).mean(-1), **EXACT)


def test_a_member_of_a_bank_is_the_model_alone():
    whole, alone, prompt = bank(3), bank(1, seed=2), prompts(3)
    for name, value in alone.state_dict().items():
        assert torch.equal(whole.state_dict()[name][2:], value)
    last = Prompt(prompt.x[2:], prompt.y[2:], prompt.x_query[2:])
    torch.testing.assert_close(whole(prompt)[:, 2:], alone(last), **EXACT)


def test_first_values_have_the_deviation_of_torchs_layers():
    model = EmbeddedAttention(dim=1, n_seeds=50, init_scale=0.3)
    model.reset(Draw(range(50), "init"))
    torch.manual_seed(0)
    for fan_in, parameters in ((40, ("W_1", "b_1")), (160, ("W_2", "b_2"))):
        layer = nn.Linear(fan_in, 4000)
        for name, twin in zip(parameters, (layer.weight, layer.bias), strict=True):
            values = getattr(model.embedding, name)
            assert values.std().item() == pytest.approx(twin.std().item(), rel=0.03)
            assert values.abs().max().item() == pytest.approx(fan_in**-0.5, rel=0.01)
    assert model.A.std().item() == pytest.approx((0.3 / 40) ** 0.5, rel=0.01)


def test_the_layer_is_not_applied_again():
    with pytest.raises(ValueError, match="steps=2 must be 0 or 1"):
        bank()(prompts(), steps=2)


@pytest.mark.parametrize(
    "bad", [{"dim": 0}, {"width": 0}, {"n_hidden": 0}, {"n_seeds": 0}, {"init_scale": -1.0}, {"x_scale": 0.0}]
)
def test_impossible_values_are_refused(bad):
    with pytest.raises(ValueError, match="scales" if "x_scale" in bad else next(iter(bad))):
        EmbeddedAttention(**{"dim": 2} | bad)
