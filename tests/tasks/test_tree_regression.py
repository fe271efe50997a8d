"""Trees against one walked down node by node; moments; bad input."""

from dataclasses import replace

import pytest
import torch

from icl.rng import Draw
from icl.tasks.function_classes import tree
from icl.tasks.tree_regression import TreeRegression

TASK = TreeRegression(dim=4, n_context=6, depth=3, positions="every")


def test_a_label_is_the_leaf_that_a_walk_ends_at(draw):
    x = draw.normal(5, 4, 7)
    labels = tree(x, draw.at(0, "tree"), depth=3)
    again = draw.at(0, "tree")
    coordinate, leaf = again.integers(4, 7, 7), again.normal(8, 7)
    for prompt in range(7):
        for point in range(5):
            node = 0
            for _ in range(3):
                goes_right = x[0, point, coordinate[0, node, prompt], prompt] > 0
                node = 2 * node + (2 if goes_right else 1)
            assert labels[0, point, prompt] == leaf[0, node - 7, prompt]


def test_labels_have_the_variance_of_a_leaf():
    task = TreeRegression(dim=20, n_context=20, weight_scale=2.0)
    target = task.sample(4000, Draw([0], "t", dtype=torch.float64)).target
    assert target.square().mean().item() == pytest.approx(2 * task.zero_half_mse(), rel=0.05)
    assert task.known_half_mse() == {"zero": 2.0}
    assert replace(task, positions="every").known_half_mse() == {}


def test_points_on_the_same_side_of_everything_have_the_same_label():
    sample = TASK.sample(50, Draw([0], "t", dtype=torch.float64))
    x, _ = sample.prompt.positions()
    for labels, points in zip(sample.target[0], x[0] > 0):
        same = (points[:, None] == points[None]).all(-1)
        assert (labels[:, None] == labels[None])[same].all()


def test_inactive_coordinates_go_left():
    sample = replace(TASK, n_active=1).sample(50, Draw([0], "t"))
    distinct = torch.tensor([len(row.unique()) for row in sample.target[0]])
    assert distinct.max() <= 2


def test_impossible_values_are_refused():
    for fields, line in (({"depth": 0}, "depth=0"), ({"dim": 0}, "dim=0"), ({"n_active": 9}, "n_active=9")):
        with pytest.raises(ValueError, match=line):
            replace(TASK, **fields)
