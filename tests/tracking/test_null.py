"""The tracker that is none: every call of the protocol, and no trace."""

from pathlib import Path

from icl.tracking import Tracker
from icl.tracking.null import Null


def test_it_leaves_nothing_behind(tmp_path):
    tracker: Tracker = Null()
    tracker.start(name="n", run_id="ab12", config={"seed": 0}, folder=tmp_path / "run")
    tracker.log({"loss": [0.5]}, step=0)
    tracker.artifact(Path("missing.html"))
    tracker.finish()
    assert list(tmp_path.iterdir()) == []
