"""Probes into a transformer: attention against its definition, patching and read-outs where the answer is known."""

import math

import pytest
import torch

from icl.config import ConfigError
from icl.core import Prompt
from icl.models.linear_attention import LinearAttention
from icl.models.transformer import Transformer
from icl.probes.activation_patching import ActivationPatching
from icl.probes.attention_maps import AttentionMaps
from icl.probes.implicit_weights import ImplicitWeights
from icl.probes.linear_readout import LinearReadout, targets_of
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from tolerances import EXACT

TASK = LinearRegression(dim=3, n_context=5, positions="every")


@pytest.fixture
def model():
    bank = Transformer(dim=3, n_context=5, n_layers=2, width=8, n_heads=2, n_seeds=2, dtype=torch.float64)
    bank.reset(Draw([0, 1], "init", dtype=torch.float64))
    return bank


@pytest.mark.parametrize("kernel", ["softmax", "linear", "gaussian"])
def test_attention_weights_are_those_that_the_layer_uses(kernel, draw):
    """Σ_j a_ij v_j with these weights is what the heads bring; and softmax against its own formula."""
    bank = Transformer(dim=3, n_context=5, n_layers=1, width=8, n_heads=2, attention=kernel, dtype=torch.float64)
    bank.reset(Draw([0], "init", dtype=torch.float64))
    x, y = TASK.sample(4, draw).prompt.positions()
    weights = bank.attention_weights(x, y)[0, 0]  # B H S S
    ((decoders, x, y),) = bank.gpt.chunks(x, y)
    layer, h = decoders.layers[0], decoders.embed(x, y)
    n = torch.nn.functional.layer_norm(h, h.shape[-1:])
    q, k, v = (torch.baddbmm(layer.b_qkv, n.flatten(1, 2), layer.W_qkv).view(4, 11, 3, 2, 4)).permute(2, 0, 3, 1, 4)
    attended = (weights @ v).transpose(1, 2).reshape(1, -1, 8)
    torch.testing.assert_close(attended, layer._attended(n, 2, kernel, False), **EXACT)
    if kernel == "softmax":
        logits = (q @ k.mT / math.sqrt(4)).masked_fill(torch.ones(11, 11).triu(1).bool(), -torch.inf)
        torch.testing.assert_close(weights, logits.softmax(-1), **EXACT)


def test_hidden_states_end_in_the_guess(model, draw):
    x, y = TASK.sample(4, draw).prompt.positions()
    stream = model.hidden(x, y)
    assert stream.shape == (3, 2, 4, 11, 8)
    ((decoders, *_),) = model.gpt.chunks(x, y)
    guess = decoders.guess(torch.nn.functional.layer_norm(stream[-1, :, :, ::2], (8,)))
    torch.testing.assert_close(guess, model.last_every_prefix(x, y), **EXACT)


def test_attention_maps_are_shares(model, draw):
    found = AttentionMaps(n_prompts=20).measure(model, TASK, draw)
    total = found.numbers["labels"] + found.numbers["inputs"]
    assert (total < 1).all()  # the rest is the query's own token
    assert (total > 0.5).all()
    for row in found.curves["copying_head"].model:
        assert sum(row) == pytest.approx(1)


def test_patching_everything_restores_everything(model, draw):
    """Labels are all that differs, so they restore all at the embedding; after the last layer the query alone does."""
    numbers = ActivationPatching(n_prompts=20).measure(model, TASK, draw).numbers
    one, zero = torch.ones(2).double(), torch.zeros(2).double()
    for name, value in {"labels_embedding": one, "query_last": one, "labels_last": zero, "query_embedding": zero,
                        "inputs_embedding": zero, "inputs_last": zero}.items():  # fmt: skip
        torch.testing.assert_close(numbers[name], value, rtol=1e-9, atol=1e-9)
    assert ((numbers["labels_first"] - 1).abs() > 1e-6).any()


def test_implicit_weights_of_linear_attention_are_its_step(draw):
    model = LinearAttention(dim=3, n_seeds=2, parametrization="merged", dtype=torch.float64)
    model.reset(Draw([0, 1], "init", dtype=torch.float64))
    model.Q.data.normal_(generator=torch.Generator().manual_seed(0))
    model.P.data.normal_(generator=torch.Generator().manual_seed(1))
    found = ImplicitWeights(n_prompts=30).measure(model, LinearRegression(dim=3, n_context=5), draw)
    torch.testing.assert_close(found.numbers["explained"], torch.ones(2).double())
    torch.testing.assert_close(found.numbers["constancy"], torch.ones(2).double())
    assert len(found.curves["pairs"].model) == 2


def test_targets_of_a_read_out_by_hand(draw):
    prompt = TASK.sample(3, draw).prompt
    found = targets_of(prompt)
    x, y = prompt.x[0, 1], prompt.y[0, 1]
    torch.testing.assert_close(found["moment"][1], sum(y[i] * x[i] for i in range(5)) / 5)
    torch.testing.assert_close(found["weights"][1], torch.linalg.lstsq(x, y[:, None]).solution[:, 0])
    torch.testing.assert_close(
        found["second_moments"][1][:2], torch.stack([(x[:, 0] ** 2).mean(), (x[:, 0] * x[:, 1]).mean()])
    )


class Reads(Transformer):
    """A model whose hidden states hold the moment after layer 1, once it is trained, and nothing before."""

    trained = True

    def reset(self, draw):
        self.trained = False

    def hidden(self, x, y):
        stream = torch.zeros(2, 2, x.shape[1], 2 * x.shape[2] - 1, 8, dtype=torch.float64)
        if self.trained:
            moment = targets_of(Prompt(x[:, :, :-1], y[:, :, :-1], x[:, :, -1]))["moment"]
            stream[1, :, :, -1, :3], stream[1, :, :, -1, 3:6] = moment, -moment  # a LayerNorm takes a mean away
        stream[..., 6], stream[..., 7] = 30.0, -30.0  # and, beside these, hardly scales them
        return stream


def test_what_is_there_is_read_and_what_is_not_is_not(draw):
    model = Reads(dim=3, n_context=5, n_layers=1, width=8, n_seeds=2, dtype=torch.float64)
    found = LinearReadout(n_fit=2000, n_prompts=300).measure(model, TASK, draw)
    assert found.numbers["moment_best"].min() > 0.95
    assert found.numbers["moment_shuffled"].max() < 0.05
    assert found.numbers["moment_untrained"].max() < 0.05
    assert found.numbers["moment_selectivity"].min() > 0.9
    assert max(row[0] for row in found.curves["moment"].model) < 0.05


def test_models_without_such_parts_are_refused(draw):
    model = LinearAttention(dim=3)
    for probe in (AttentionMaps(), ActivationPatching(), LinearReadout()):
        with pytest.raises(ConfigError, match="LinearAttention has no"):
            probe.measure(model, TASK, draw)
    relu = LinearRegression(dim=3, n_context=5, target="relu")
    with pytest.raises(ConfigError, match="w\\*"):
        ImplicitWeights(n_prompts=4).measure(model, relu, draw)


@pytest.mark.parametrize("probe", [AttentionMaps, ActivationPatching, ImplicitWeights, LinearReadout])
def test_too_few_prompts_are_refused(probe):
    with pytest.raises(ValueError, match="n_prompts=0"):
        probe(n_prompts=0)
