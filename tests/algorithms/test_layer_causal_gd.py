"""Every layer learns from its own output alone; written out layer by layer, the loss and its gradients are the same."""

import pytest
import torch
import torch.nn.functional as F

from icl.algorithms.language_descent import gradient, matched, squares_by_layer
from icl.algorithms.language_losses import detached_layers
from icl.algorithms.language_weights import layer_of, trainable
from icl.algorithms.layer_causal_gd import LayerCausalGd
from text_prompts import sample, tiny


def by_hand(lm, tokens, first):
    """Loss of every layer, each from the detached output of the one below, through transformers' own layers."""
    positions = torch.arange(tokens.shape[1])[None]
    hidden = lm.base_model.embed_tokens(tokens)
    rotation = lm.base_model.rotary_emb(hidden, positions)
    losses = []
    for layer in lm.base_model.layers:
        hidden = layer(hidden.detach(), attention_mask=None, position_ids=positions, position_embeddings=rotation)
        logits = lm.lm_head(lm.base_model.norm(hidden))[0, first - 1 : -1]
        losses.append(F.cross_entropy(logits, tokens[0, first:]))
    return losses


@pytest.mark.parametrize("loss", ["all", "label"])
def test_the_loss_of_a_layer_has_no_gradient_in_another(loss):
    prompt, (lm, _) = sample().prompt, tiny().weights()
    tokens = torch.cat([prompt.start, prompt.demo(1)])[None]
    first = 1 if loss == "all" else tokens.shape[1] - 1
    with trainable(lm, "key_value") as parameters:
        value, found = gradient("layer_causal", lm, prompt, [1], loss, parameters)
        losses = by_hand(lm, tokens, first)
        for layer, one in enumerate(losses):
            each = torch.autograd.grad(one, list(parameters.values()), allow_unused=True, retain_graph=True)
            for name, g in zip(parameters, each, strict=True):
                if layer_of(name) == layer:
                    torch.testing.assert_close(found[name], g, rtol=1e-7, atol=1e-10)
                else:
                    assert g is None, name
    assert value == pytest.approx(sum(one.item() for one in losses), rel=1e-6)


def test_the_last_layer_s_outputs_are_the_model_s():
    prompt, (lm, _) = sample().prompt, tiny().weights()
    tokens = torch.cat([prompt.start, prompt.demo(0)])[None]
    with detached_layers(lm) as outputs:
        hidden = lm.base_model(input_ids=tokens).last_hidden_state
    assert torch.equal(lm.base_model.norm(outputs[-1]), hidden)


@pytest.mark.parametrize("match", ["layer", "total"])
def test_matched_steps_are_as_long_as_ordinary_ones(match):
    prompt, (lm, _) = sample().prompt, tiny().weights()
    with trainable(lm, "key_value") as parameters:
        _, ordinary = gradient("next_token", lm, prompt, [0], "all", parameters)
        _, own = gradient("layer_causal", lm, prompt, [0], "label", parameters)
    found, wanted = squares_by_layer(matched(own, ordinary, match)), squares_by_layer(ordinary)
    if match == "total":
        found, wanted = found.sum(), wanted.sum()
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=0)
    name = next(iter(own))
    assert F.cosine_similarity(matched(own, ordinary, match)[name].flatten(), own[name].flatten(), dim=0) > 1 - 1e-9


def test_matching_makes_the_recorded_steps_equal():
    from icl.algorithms.fine_tune import FineTune

    prompt = sample(n_demos=2).prompt.reordered(torch.tensor([0]))
    steps = [a.tuned(tiny(), prompt, lr=0.01, seed=0).step_norms for a in (FineTune(), LayerCausalGd(match="layer"))]
    torch.testing.assert_close(steps[0], steps[1], rtol=1e-9, atol=0)


def test_embeddings_have_no_layer_causal_loss():
    with pytest.raises(ValueError, match="scope=full"):
        LayerCausalGd(scope="full")
