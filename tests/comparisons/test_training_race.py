"""A race of which the times are known."""

import pytest

from icl.comparisons.training_race import TrainingRace
from icl.rng import Draw
from icl.runs import Run, RunFolder


def run_of(path, *rows):
    path.mkdir()
    RunFolder(path).write_metrics([{"step": 10 * i, "loss": list(row)} for i, row in enumerate(rows)])
    return Run(RunFolder(path))


def test_numbers_are_of_the_step_and_of_the_end(tmp_path):
    own = run_of(tmp_path / "own", (8.0, 8.0), (1.0, 4.0), (1e-9, 0.5))
    other = run_of(tmp_path / "other", (8.0, 8.0), (2.0, 2.0), (1e-9, 1e-8))
    found = TrainingRace(step=15).measure_runs(own, other, Draw([0], "race")).numbers
    assert found["ratio"].tolist() == [0.5, 2.0]
    assert found["median_ratio"].tolist() == [0.5, 0.5]  # the lower of two is torch's median
    assert found["faster_share"].tolist() == [0.5, 0.5]
    assert found["solved_share"][0] == 0.5
    assert found["reference_solved_share"][0] == 1
    with pytest.raises(ValueError, match="logged at different steps"):
        TrainingRace().measure_runs(own, run_of(tmp_path / "short", (1.0, 1.0)), Draw([0], "race"))
    with pytest.raises(ValueError, match="step=-1"):
        TrainingRace(step=-1)
