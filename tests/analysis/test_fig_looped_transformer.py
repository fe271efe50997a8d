"""The figure of the looped transformer, from two run folders."""

import subprocess
import sys
from pathlib import Path

from omegaconf import OmegaConf

from icl.runs import RunFolder
from options import composed

SCRIPT = Path(__file__).parents[2] / "analysis" / "fig_looped_transformer.py"


def folder_of(experiment: str, n_passes: int, path: Path) -> Path:
    folder = RunFolder(path)
    folder.open(OmegaConf.to_yaml(composed(f"experiment={experiment}"), resolve=True), [])

    def curve(n: int) -> dict:
        falling = [0.9**k for k in range(n)]
        return {"x": [float(k) for k in range(1, n + 1)], "model": [falling, [None] * n], "reference": [falling]}

    curves = {"least_squares/loops/passes": curve(n_passes), "least_squares/loops/positions": curve(11)}
    folder.write_record("comparisons", {"curves": curves})
    return path


def test_it_draws_two_runs(tmp_path):
    folders = [
        folder_of("looped_transformer_holds_beyond_training", 32, tmp_path / "looped"),
        folder_of("untied_stack_does_not_loop", 4, tmp_path / "untied"),
    ]
    target = tmp_path / "figure.svg"
    command = [sys.executable, "-W", "error", str(SCRIPT), *map(str, folders), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", str(target))
    assert target.read_text().count("</svg>") == 1
