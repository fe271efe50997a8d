"""The figures of training dynamics, from the curves that their experiments leave."""

import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from icl.runs import RunFolder
from options import composed

ANALYSIS = Path(__file__).parents[2] / "analysis"
LINE = {"kind": "line", "title": "a title", "x_label": "training step", "y_label": "a measure", "x": [0, 1, 10],
        "model": [[0.1, 0.5, 0.9], [0.2, 0.6, 0.8]]}  # fmt: skip
MAP = LINE | {"kind": "map", "x": [0, 1], "y": [0, 1], "model": [[1.0, 0.0], [0.4, 0.6]], "reference": [[0, 0], [1, 0]]}
STAGES = ("head", "noise_alignment", "noise_query", "signal_query", "signal_alignment")
FIGURES = {
    "fig_causal_graph.py": ("attention_recovers_the_causal_graph",
                            {"probes/graph/parent_attention": LINE, "probes/graph/attention_0_0": MAP}),
    "fig_sign_stages.py": ("sign_descent_memorises_noise",
                           {f"{rule}/stages/{stage}": LINE for stage in STAGES
                            for rule in ("strong_sign", "strong_adam", "strong_gd")}),
    "fig_max_margin.py": ("attention_is_a_max_margin_classifier",
                          {"probes/at_60/cosine": LINE, "probes/at_60/size": LINE}),
    "fig_class_losses.py": ("rare_words_starve_gradient_descent",
                            {f"{rule}/words/classes_{group}": LINE for rule in ("probes", "adam")
                             for group in ("1_8", "9_512")}),
}  # fmt: skip


@pytest.mark.parametrize("script", FIGURES)
def test_it_is_drawn(script, tmp_path):
    experiment, curves = FIGURES[script]
    folder = RunFolder(tmp_path / "run")
    folder.open(OmegaConf.to_yaml(composed(f"experiment={experiment}"), resolve=True), [])
    folder.write_record("comparisons", {"curves": curves})
    target = tmp_path / "figure.svg"
    command = [sys.executable, "-W", "error", str(ANALYSIS / script), str(folder.path), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", str(target))
    assert target.read_text().count("</svg>") == 1
