"""A full batch is one training set at every step, a member's own; otherwise prompts are fresh."""

import torch

from icl.config import Train
from icl.models.linear_attention import LinearAttention
from icl.objectives.last import Last
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression
from icl.training.bank import Bank
from icl.training.batches import Batches, training_draw, training_set

TASK = LinearRegression(dim=3, n_context=4)


def test_a_training_set_stays_and_fresh_prompts_do_not():
    for full, same in ((True, True), (False, False)):
        train = Train(batch_size=6, n_batches=1 if full else None)
        batches = Batches(train, training_draw(train, [1, 2], device="cpu", dtype=torch.float32))
        first, later = (batches(TASK, step).prompt.x for step in (0, 5))
        assert torch.equal(first, later) == same


def test_it_is_the_first_batch_of_the_members_own_stream():
    train = Train(batch_size=6, n_batches=1)
    found = training_set(TASK, train, training_draw(train, [1, 2], device="cpu", dtype=torch.float32))
    assert torch.equal(found.prompt.x[1:], TASK.sample(6, Draw([2], "train")).prompt.x)


def test_gradient_descent_on_a_full_batch_falls_at_every_step():
    train = Train(steps=30, batch_size=4, n_batches=1, optimizer="sgd", lr=1e-3, log_every=1)
    model = LinearAttention(dim=3, n_seeds=2, init_scale=0.2)
    loss = torch.stack(Bank(task=TASK, model=model, objective=Last(), train=train, seeds=[0, 1]).run().loss)
    assert (loss.diff(dim=0) <= 0).all()
