"""The disentangled transformer: its fast form, its construction as an induction head, and what it refuses."""

import pytest
import torch

from icl.algorithms.graph_posterior import matching
from icl.models.disentangled_transformer import DisentangledTransformer
from icl.rng import Draw
from icl.tasks.causal_graph import CausalGraph
from tolerances import EXACT


def filled(n_heads=(1, 1), n_seeds=2, scale=0.5, **options):
    model = DisentangledTransformer(
        dim=3, n_context=6, n_heads=n_heads, n_seeds=n_seeds, dtype=torch.float64, **options
    )
    with torch.no_grad():
        for index, weight in enumerate(model.parameters()):
            draw = Draw(range(n_seeds), f"w{index}", dtype=torch.float64)
            weight.copy_(scale * draw.normal(*weight.shape[1:]))
    return model


@pytest.mark.parametrize("n_heads", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("n_context", [6, 4])
@pytest.mark.parametrize("seeds", [[0, 1], [0]])
def test_the_fast_form_is_the_plain_one_with_its_gradients(n_heads, n_context, seeds):
    model = filled(n_heads)
    sample = CausalGraph(dim=3, n_context=n_context).sample(5, Draw(seeds, "t", dtype=torch.float64))
    fast, plain = model.last(sample.prompt), model(sample.prompt)[-1]
    torch.testing.assert_close(fast, plain, **EXACT)
    ours, theirs = (torch.autograd.grad(y.sin().sum(), list(model.parameters())) for y in (fast, plain))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, **EXACT)


def test_zero_weights_are_the_uniform_guess_and_uniform_attention():
    model = DisentangledTransformer(dim=3, n_context=6)
    prompt = CausalGraph(dim=3, n_context=6).sample(4, Draw([0], "t")).prompt
    assert not model(prompt).any()
    attention = model.attention(model.stream(prompt), 0)[0, 0, 0]
    torch.testing.assert_close(attention[4], torch.tensor([0.2] * 5 + [0.0, 0.0]))


def test_the_construction_is_an_induction_head():
    """A[0] points to the parent, A[1] to positions whose copied token is the query's, W reads their tokens."""
    task = CausalGraph(dim=3, n_context=6, graph=[-1, 0, 0, 1, 3, 2])
    model = DisentangledTransformer(dim=3, n_context=6, dtype=torch.float64)
    parents = task.parents(Draw([0], "x"))[0, :, 0].tolist()
    with torch.no_grad():
        for child, parent in enumerate(parents):
            model.A[0][0, 0, 3 + child, 3 + (parent if parent >= 0 else child)] = 100.0
        model.copied_block(0).copy_(100.0 * torch.eye(3))
        model.A[1][0, 0, :3, [3, 9]] = -200.0  # the root and the query copied nothing of use
        model.W[0, :, model.A[1].shape[-1] : model.A[1].shape[-1] + 3] = torch.eye(3)
    prompt = task.sample(50, Draw([0], "t", dtype=torch.float64)).prompt
    same = matching(prompt, task.parents(Draw([0], "x")))[:, :, 0]
    some = same.sum(-1) > 0
    expected = torch.einsum("mbn,mbnv->mbv", same, prompt.x) / same.sum(-1, keepdim=True)
    torch.testing.assert_close(model(prompt)[-1][some], expected[some], rtol=1e-9, atol=1e-11)


def test_layers_that_differ_cannot_be_repeated_and_positions_are_bounded():
    model, prompt = filled(), CausalGraph(dim=3, n_context=7).sample(2, Draw([0], "t", dtype=torch.float64)).prompt
    with pytest.raises(ValueError, match="8 positions, the model 7"):
        model(prompt)
    with pytest.raises(ValueError, match=r"steps=3 must be in 0\.\.2"):
        model(prompt, steps=3)


def test_the_copied_block_may_start_at_a_multiple_of_one():
    model = DisentangledTransformer(dim=3, n_context=6, copy_init=0.7)
    model.requires_grad_(False).reset(Draw([0], "init"))
    assert torch.equal(model.copied_block(0)[0, 0], 0.7 * torch.eye(3))
    assert model.A[1].sum().item() == pytest.approx(2.1)
