"""The figures of a language model's study, from folders made by hand."""

import subprocess
import sys
from pathlib import Path

import pytest

from icl.runs import RunFolder

ANALYSIS = Path(__file__).parents[2] / "analysis"


def curve(x_label, y_label, x, model, reference=()):
    return {"kind": "line", "x_label": x_label, "y_label": y_label, "x": x, "model": model, "reference": reference}


COMPARISONS = {
    "numbers": {
        "sequential/order/icl": [0.2, 0.1], "sequential/order/reference_least": [1e-3, 2e-3],
        "sequential/order/reference_most": [0.5, 0.6], "sequential/order/lr_least": [1e-4, 1e-4],
        "sequential/order/lr_most": [1e-2, 1e-2], "gd/updates/sim_aou": [0.3, 0.4], "probes/icl/icl": [0.9, None],
    },
    "curves": {
        "gd/updates/sim_aou_by_layer": curve("layer", "SimAOU", [0, 1], [[0.1, 0.2], [0.2, 0.3]], [[0, 0], [0, 0]]),
        "untrained/updates/sim_aou_by_layer": curve("layer", "SimAOU", [0, 1], [[0.1, None], [0.2, 0.1]]),
        "gd/attention/delta": curve("layer", "SimAM-delta", [0, 1], [[0.1, 0.2], [0.2, 0.3]]),
        "sequential/order/sensitivity_by_learning_rate": curve("lr", "Sen", [1e-4, 1e-2], [[1e-3, 0.5], [2e-3, None]],
                                                               [[0.2, 0.2], [0.1, 0.1]]),
        "probes/icl/accuracy_by_demonstrations": curve("k", "accuracy", [0, 4], [[0.5, 0.9]] * 2, [[0.5, 0.5]] * 2),
        "probes/icl/histogram": curve("", "", ["a", "b"], [[0.5, 0.5], [0.1, 0.9]]) | {"y": ["true", "raw"]},
    },
}  # fmt: skip


@pytest.mark.parametrize("script", ["language_layers", "order_sensitivity", "demonstrations", "three_papers"])
def test_it_draws_a_study(script, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.open("name: a_study\nmodel: {name: tiny}\ntask: {hub: some/sst2, n_demos: 4, n_queries: 6}\n", [])
    folder.write_record("result", {"seeds": [0, 1]})
    folder.write_record("comparisons", COMPARISONS)
    target = tmp_path / ("page.html" if script == "three_papers" else "figure.svg")
    command = [sys.executable, "-W", "error", str(ANALYSIS / f"fig_{script}.py"), str(folder.path), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr, done.stdout.strip()) == (0, "", str(target))
    text = target.read_text()
    if script == "three_papers":
        assert "<td>0.350<small>0.300 … 0.400</small></td>" in text
        assert "<td>0.900</td>" in text
        assert "sst2<small>4 demonstrations, 6 queries, 2 seeds<br>a study</small>" in text
    else:
        assert text.count("</svg>") == 1
