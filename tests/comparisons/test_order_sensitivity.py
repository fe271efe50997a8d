"""By hand on three distributions; zero for what does not see the order."""

import pytest
import torch

from icl.algorithms.fine_tune import FineTune
from icl.comparisons.order_sensitivity import OrderSensitivity, few, sensitivity
from icl.rng import Draw
from text_prompts import member


def test_by_hand():
    p = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])  # two orders, one query, two words
    assert sensitivity(p).item() == pytest.approx(0.5 + 0.5)
    assert sensitivity(p[:1].expand(3, 1, 2)).item() == 0


def test_orders_are_permutations_and_the_queries_stay():
    one = member()
    question = OrderSensitivity(n_orders=3, n_demos=3, n_queries=2)
    orders = question.orders(one)
    assert orders.sort(-1).values.tolist() == [[0, 1, 2]] * 3
    prompts = [few(one.prompt, 2, order) for order in orders]
    assert all(torch.equal(p.query, one.prompt.query[:2]) for p in prompts)
    assert torch.equal(prompts[0].demo(0), one.prompt.demo(int(orders[0, 0])))


def test_only_one_demonstration_after_the_other_sees_the_order():
    one = member()
    question = OrderSensitivity(n_orders=3, n_demos=4, n_queries=2)
    found = {}
    for order in ("sequential", "full_batch"):
        algorithm = FineTune(lr=[0.01, 0.1], order=order)
        measured = question.measure(one, algorithm, one.task, Draw([0], "t"))
        found[order] = measured.numbers
        assert measured.curves["sensitivity_by_learning_rate"].x == [0.01, 0.1]
    assert found["full_batch"]["reference_most"].item() < 1e-6  # the probabilities are kept in float32
    assert found["sequential"]["reference_most"].item() > 1e-5
    assert found["sequential"]["icl"].item() == found["full_batch"]["icl"].item() > 1e-3
    assert found["sequential"]["reference_least"] < found["sequential"]["reference_most"]


def test_an_arm_without_learning_rate_does_not_fit():
    from icl.algorithms.reordered_context import ReorderedContext

    assert not OrderSensitivity().fits(ReorderedContext())
    with pytest.raises(ValueError, match="n_orders=1 must be >= 2"):
        OrderSensitivity(n_orders=1)
