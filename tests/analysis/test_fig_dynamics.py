"""The figures of the training dynamics from records, and the page of verdicts."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from icl.runs import RunFolder
from options import composed

ANALYSIS = Path(__file__).parents[2] / "analysis"
LINE = {"x": [20, 100, 800], "model": [[1.0, 9.0, 14.0], [2.0, 8.0, 20.0]], "reference": [[16.0, 16.0, 16.0]]}
GAINS = {f"{control}/paired/gain": [0.1, -0.02, 0.03] for control in ("plain", "shift")}
CLAIM = {"id": "a_claim", "bound": ">= 1", "median": 2.0, "worst": 1.5, "seeds": [0, 1], "over": "every_seed",
         "source": "Somebody 2020", "failing_seeds": [], "holds": True, "only_if": ""}  # fmt: skip


def folder_of(experiment: str, path: Path, **records) -> Path:
    folder = RunFolder(path)
    folder.open(OmegaConf.to_yaml(composed(f"experiment={experiment}"), resolve=True), [])
    for name, record in records.items():
        folder.write_record(name, record)
    return path


def draw(script: str, *arguments: Path) -> str:
    command = [sys.executable, "-W", "error", str(ANALYSIS / f"{script}.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", str(arguments[-1]))
    return arguments[-1].read_text()


@pytest.mark.parametrize(
    ("script", "experiment", "record"),
    [
        ("fig_edge_of_stability", "progressive_sharpening_reaches_the_edge",
         {"curves": {f"{at}/edge/{name}": LINE for at in ("probes", "below") for name in ("sharpness", "centre")}}),
        ("fig_kernels", "kernels_differ_in_speed_not_in_success",
         {"curves": {f"{at}/race/loss": LINE for at in ("softmax", "softmax_best")}}),
        ("fig_momentum_attention", "momentum_attention_is_a_shift", {"numbers": GAINS}),
    ],
)  # fmt: skip
def test_it_draws_a_record(script, experiment, record, tmp_path):
    folder = folder_of(experiment, tmp_path / "run", comparisons=record)
    assert draw(script, folder, tmp_path / "figure.svg").count("</svg>") == 1


def test_the_page_says_what_became_of_each_claim(tmp_path):
    claims = [CLAIM, CLAIM | {"id": "another", "only_if": "it is early"},
              CLAIM | {"id": "a_third", "holds": False, "failing_seeds": [1], "source": "Nobody 2021"}]  # fmt: skip
    record = {"experiment": "sgd_steps_are_sharper", "claims": claims, "holds": False}
    folder = folder_of("sgd_steps_are_sharper", tmp_path / "run", claims=record)
    bare = folder_of("sgd_steps_are_sharper", tmp_path / "bare")
    page = draw("fig_dynamics_verdicts", folder, bare, tmp_path / "page.html")
    for text in ("✓ holds: 1", "◐ holds only if: 1", "✗ did not hold: 1", "it is early", "1 of 2 seeds break it"):
        assert text in page
    assert page.index("Nobody 2021") < page.index("Somebody 2020")
