"""When all rules are held for good; a table of windows; refusals."""

import math

import torch

from icl.comparisons.learning_time import first_of_all
from icl.comparisons.translated import looked_up, windows
from icl.rng import Draw
from icl.tasks.multilevel_translation import MultilevelTranslation


def test_the_first_step_from_which_on_the_share_is_one():
    share = torch.tensor([[0.5, 1.0, 0.9, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0, 0.9], [1.0] * 5], dtype=torch.float64)
    found = first_of_all([0, 10, 20, 30, 40], share).tolist()
    assert found[0] == 30
    assert math.isnan(found[1])
    assert found[2] == 0


def test_a_window_decides_the_answer_and_a_table_of_all_windows_knows_it():
    task = MultilevelTranslation(n_letters=2, n_levels=2, n_characters=40, pool=20)
    draw = Draw([0, 1], "t")
    sample = task.sample(8, draw)
    rows, answers = windows(sample.prompt.source[0], task), sample.target[0, :, -1].flatten()
    table = {}
    for row, answer in zip(rows.tolist(), answers.tolist(), strict=True):
        assert table.setdefault(tuple(row), answer) == answer
    assert looked_up(task, draw, 8).min() > 0.99  # 400 pairs show all 16 windows
    few = MultilevelTranslation(n_letters=4, n_levels=3, n_characters=40, pool=1)
    assert looked_up(few, draw, 8).max() < 0.4
