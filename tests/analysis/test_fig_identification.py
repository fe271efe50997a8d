"""The figures of an identification, from one small run folder."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from icl.runs import RunFolder
from options import composed

ANALYSIS = Path(__file__).parents[2] / "analysis"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("run")
    run = RunFolder(path)
    run.open(
        OmegaConf.to_yaml(composed("experiment=small_transformers_are_regularised_least_squares"), resolve=True), []
    )
    names = ["zero", "least_squares", "ridge", "iterative_newton"]

    def table(x, y):
        return {"x": x, "y": y, "model": [[0.1 * (i + j) % 1 for j in range(len(x))] for i in range(len(y))]}

    def line(n):
        return {"x": [float(k) for k in range(n)], "model": [[0.5] * n, [None] * n], "reference": [[0.1] * n]}

    run.write_record("comparisons", {"curves": {
        "probes/identification/positions": table([1.0, 2.0], ["seed 0", "seed 1", *names]),
        "probes/identification/shifts": table(["none", "skewed"], ["model", *names]),
        "probes/identification/response": table([0.5, 1.0, 2.0], ["seed 0", "seed 1", *names]),
        "probes/identification/similarity_of_errors": table(["model", *names], ["model", *names]),
        "probes/layers/candidates": table(["layer 1", "layer 2"], names),
        "probes/layers/newton": table([1.0, 2.0, 3.0], ["layer 1", "layer 2"]),
        "probes/layers/gd": table([1.0, 2.0, 3.0], ["layer 1", "layer 2"]),
        **{f"probes/readout/{name}": line(3) for name in ("weights", "moment", "second_moments")},
    }})  # fmt: skip
    return path


@pytest.mark.parametrize("name", ["error_by_position", "similarity_matrix", "layers_and_algorithms", "probe_accuracy"])
def test_it_draws_a_run(name, folder, tmp_path):
    target = tmp_path / "figure.svg"
    command = [sys.executable, "-W", "error", str(ANALYSIS / f"fig_{name}.py"), str(folder), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", str(target))
    assert target.read_text().count("</svg>") == 1
