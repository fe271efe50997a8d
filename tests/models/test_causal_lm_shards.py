"""A language model cut over two real ranks says and learns what it does whole."""

import pytest
import torch

import sharded_lm
from icl.training.elastic import over_ranks
from tolerances import EXACT


@pytest.mark.slow
def test_two_ranks_hold_half_of_every_layer_and_compute_the_same():
    alone = sharded_lm.answers(False)
    shared = over_ranks(sharded_lm.answers, True, devices=2)
    lm = sharded_lm.CausalLm(name="tiny").weights()[0]
    layers = sum(p.numel() for layer in lm.base_model.layers for p in layer.parameters())
    assert shared.pop("held") == alone.pop("held") - layers // 2
    for name, value in alone.items():
        torch.testing.assert_close(
            torch.tensor(shared[name]), torch.tensor(value), **EXACT, msg=lambda m, n=name: f"{n}: {m}"
        )
        moved = torch.tensor(value)
        assert name in ("logits", "attention") or not torch.equal(moved[0], moved[-1]), f"{name}: nothing was trained"
