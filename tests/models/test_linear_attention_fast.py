"""Every fast form against the token form, in float64, values and gradients, where high orders matter."""

import pytest
import torch

from icl.core import Prompt
from icl.models import columns, linear_attention_fast
from icl.models.columns import gram, product, times, tokens
from icl.models.linear_attention import LinearAttention
from icl.models.linear_attention_deep_fast import several_layers
from icl.rng import Draw
from tolerances import EXACT, SINGLE

N_CONTEXT, DIM, BATCH = 6, 4, 5


def bank(n_seeds, **sizes):
    model = LinearAttention(dim=DIM, n_seeds=n_seeds, init="normal", init_scale=0.25, dtype=torch.float64, **sizes)
    seeds = range(n_seeds)
    model.reset(Draw(seeds, "init", dtype=torch.float64))
    model.w_init.copy_(Draw(seeds, "start", dtype=torch.float64).normal(*model.w_init.shape[1:]))
    return model


def prompts(n_streams, n_outputs=None, n_context=N_CONTEXT):
    draw = Draw(range(n_streams), "data", dtype=torch.float64)
    out = () if n_outputs is None else (n_outputs,)
    x, y, x_query = (
        draw.normal(BATCH, n_context, DIM),
        draw.normal(BATCH, n_context, *out),
        draw.normal(BATCH, DIM),
    )
    return Prompt(*(t.requires_grad_() for t in (x, y, x_query)))


def assert_same_with_gradients(model, prompt, guess, expected):
    """Values, and gradients of weights and prompt along a random direction, to EXACT of the largest entry."""
    assert guess.shape == expected.shape
    torch.testing.assert_close(guess, expected, **EXACT)
    direction = Draw([0], "direction", dtype=torch.float64).normal(*expected.shape)[0]
    inputs = [*model.parameters(), prompt.x, prompt.y, prompt.x_query]
    ours, theirs = (torch.autograd.grad((direction * v).sum(), inputs) for v in (guess, expected))
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a / b.abs().max(), b / b.abs().max(), **EXACT)


@pytest.mark.parametrize("n_layers", [1, 2, 3, 4])
@pytest.mark.parametrize(("n_seeds", "n_streams"), [(1, 1), (3, 3), (3, 1), (1, 3), (33, 1)])
def test_last_is_the_last_entry_of_the_token_form(n_layers, n_seeds, n_streams):
    model, prompt = bank(n_seeds, n_layers=n_layers), prompts(n_streams)
    assert_same_with_gradients(model, prompt, model.last(prompt), model(prompt)[-1])


@pytest.mark.parametrize(
    "sizes",
    [
        {"tied": True, "n_layers": 3},
        {"n_outputs": 2},
        {"n_outputs": 2, "n_layers": 3, "normalize": True},
        {"parametrization": "merged", "normalize": True},
        {"parametrization": "merged", "n_layers": 2, "n_outputs": 1},
    ],
)
@pytest.mark.parametrize(("n_seeds", "n_streams"), [(3, 3), (3, 1), (33, 1)])
def test_last_knows_every_kind_of_layer(sizes, n_seeds, n_streams):
    model, prompt = bank(n_seeds, **sizes), prompts(n_streams, sizes.get("n_outputs"))
    assert_same_with_gradients(model, prompt, model.last(prompt), model(prompt)[-1])


@pytest.mark.parametrize(("n_layers", "degree"), [(1, 3), (2, 6), (4, 20)])
def test_the_weights_of_these_tests_make_high_orders_matter(n_layers, degree):
    """Twice the inputs make at least 2^degree times what the layers add; the highest degree is 3^n_layers."""
    model, prompt = bank(3, n_layers=n_layers), prompts(1)
    twice = Prompt(2 * prompt.x, 2 * prompt.y, 2 * prompt.x_query)
    added, added_twice = (model(p)[-1] - model(p)[0] for p in (prompt, twice))
    assert (added_twice.norm() / added.norm()).log2().item() > degree - 1e-9


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_the_forms_of_one_layer_agree(n_outputs, draw):
    P_y, QS = draw.normal(n_outputs, DIM + n_outputs), draw.normal(DIM + n_outputs, DIM)
    x, y, x_query = (
        draw.normal(DIM, N_CONTEXT, BATCH),
        draw.normal(n_outputs, N_CONTEXT, BATCH),
        draw.normal(DIM, BATCH),
    )
    G = gram(tokens(x, y))
    expected = torch.einsum("moa,macb,mcd,mdb->mob", P_y, G, QS, x_query)
    vectors = linear_attention_fast.one_layer_by_vectors(P_y, QS, x, y, x_query)
    torch.testing.assert_close(vectors, expected, **EXACT)
    for form in (linear_attention_fast.one_layer_by_gram, linear_attention_fast.one_layer_by_features):
        torch.testing.assert_close(form(P_y, QS, G, x_query), expected, **EXACT)


@pytest.mark.parametrize("n_context", [3, 20])
@pytest.mark.parametrize("by_gram", [False, True])
@pytest.mark.parametrize("n_layers", [2, 3, 5])
def test_tokens_and_their_gram_go_through_the_layers_alike(n_context, by_gram, n_layers):
    model = LinearAttention(dim=DIM, n_layers=n_layers, n_seeds=2, init="normal", init_scale=0.1, dtype=torch.float64)
    model.reset(Draw([0, 1], "init", dtype=torch.float64))
    prompt = prompts(1, n_context=n_context)
    P, Q, start, x, y, x_query = model._columns(prompt)
    context = tokens(x, y)
    added = several_layers(P, Q, start, x_query, context, gram(context), n_layers=n_layers, by_gram=by_gram)
    assert_same_with_gradients(model, prompt, -added[:, 0], model(prompt)[-1])


@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("n_streams", [1, 5])
def test_members_in_chunks_are_the_members(n_layers, n_streams, monkeypatch):
    model, prompt = bank(5, n_layers=n_layers), prompts(n_streams)
    monkeypatch.setattr(columns, "CHUNK_FLOATS", 2 * 7 * (DIM + 1) * BATCH)
    assert_same_with_gradients(model, prompt, model.last(prompt), model(prompt)[-1])


def test_a_member_of_a_bank_is_the_member_alone():
    model, prompt = bank(3), prompts(3)
    for m in range(3):
        alone = LinearAttention(dim=DIM, dtype=torch.float64)
        alone.load_state_dict({k: v[m : m + 1] for k, v in model.state_dict().items()})
        own = Prompt(*(t[m : m + 1] for t in (prompt.x, prompt.y, prompt.x_query)))
        torch.testing.assert_close(model.last(prompt)[m : m + 1], alone.last(own), **EXACT)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize("n_streams", [1, 3])
def test_without_context_the_guess_is_the_start(n_layers, n_streams):
    model, prompt = bank(3, n_layers=n_layers, normalize=True), prompts(n_streams, n_context=0)
    torch.testing.assert_close(model.last(prompt), model(prompt)[0], **EXACT)
    torch.testing.assert_close(model(prompt)[-1], model(prompt)[0], **EXACT)


def test_memory_layout_does_not_matter():
    model, prompt = bank(3), prompts(3)
    rows = [t.detach().contiguous() for t in (prompt.x, prompt.y, prompt.x_query)]
    prompts_last = [t.movedim(1, -1).contiguous().movedim(-1, 1) for t in rows]
    assert prompts_last[0].stride() != rows[0].stride()
    torch.testing.assert_close(model.last(Prompt(*prompts_last)), model.last(Prompt(*rows)), **EXACT)


def test_float32_stays_close_to_float64():
    model, prompt = bank(3), prompts(3)
    single = LinearAttention(dim=DIM, n_seeds=3)
    single.load_state_dict(model.state_dict())
    rounded = Prompt(*(t.detach().float() for t in (prompt.x, prompt.y, prompt.x_query)))
    torch.testing.assert_close(single.last(rounded).double(), model(prompt)[-1], **SINGLE)


@pytest.mark.parametrize(("left", "right"), [(2, 2), (1, 2), (2, 1)])
def test_a_product_and_both_its_gradients(left, right, draw):
    X = draw.normal(left, 3, 4, 5)[0].requires_grad_()
    Y = draw.normal(right, 4, 2, 5)[0].requires_grad_()
    torch.testing.assert_close(product(X, Y), torch.einsum("mikb,mkjb->mijb", X, Y), **EXACT)
    assert torch.autograd.gradcheck(product, (X, Y))
    assert torch.autograd.gradgradcheck(product, (X, Y))


def test_second_derivatives_of_the_weights_are_those_of_the_token_form():
    model, prompt = bank(2, parametrization="merged"), prompts(2)

    def curvature(guess):
        first = torch.autograd.grad(guess.square().sum(), model.parameters(), create_graph=True)
        return torch.autograd.grad(sum(g.square().sum() for g in first), model.parameters())

    for ours, theirs in zip(curvature(model.last(prompt)), curvature(model(prompt)[-1])):
        torch.testing.assert_close(ours / theirs.abs().max(), theirs / theirs.abs().max(), **EXACT)


def test_times_is_a_product_for_every_prompt(draw):
    W, t = draw.normal(3, 4), draw.normal(4, 2, 5)
    torch.testing.assert_close(times(W, t)[0, :, 1, 3], W[0] @ t[0, :, 1, 3], **EXACT)
