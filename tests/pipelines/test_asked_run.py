"""A tracker is closed when everything that a command asks is in the folder, also when the asking fails."""

import json

import pytest

from icl.config import ConfigError, validate
from icl.pipelines import compare, probe
from icl.pipelines.mirror import Mirror
from options import composed

SMALL = ("debug=tiny", "+algorithm@references.gd=gradient_descent_optimal", "+comparison@comparisons.loss=loss_ratio")


@pytest.fixture
def closed(monkeypatch):
    """The files that were there when a tracker was closed."""
    seen = []
    monkeypatch.setattr(Mirror, "close", lambda self: seen.append({p.name for p in self.folder.path.iterdir()}))
    return seen


def test_a_comparison_reaches_the_tracker(tmp_path, closed):
    cfg = composed(*SMALL, f"paths.outputs={tmp_path}")
    validate(cfg)
    compare.run(cfg)
    (files,) = closed
    assert {"comparisons.json", "report.html"} <= files


def test_a_command_that_fails_closes_the_tracker(tmp_path, closed):
    cfg = composed("debug=tiny", f"paths.outputs={tmp_path}")
    validate(cfg)
    with pytest.raises(ConfigError, match="nothing to probe"):
        probe.run(cfg)
    assert len(closed) == 1


def test_a_run_that_is_asked_something_else_keeps_its_answers(tmp_path, closed):
    cfg = composed(*SMALL, f"paths.outputs={tmp_path}")
    compare.run(cfg)
    (folder,) = {path.parent.resolve() for path in tmp_path.glob("*/*/comparisons.json")}
    again = composed(
        "+algorithm@references.averaging=averaging", "+comparison@comparisons.loss=loss_ratio", f"run={folder}"
    )
    compare.run(again)
    numbers = json.loads((folder / "comparisons.json").read_text())["numbers"]
    assert {name.split("/")[0] for name in numbers} == {"gd", "averaging"}
