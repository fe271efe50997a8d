"""Identification, its layers and its known truths as probes; and the command that prints the evidence."""

import json
from dataclasses import replace

import pytest
import torch

from command import call
from icl.comparisons.identification.layers import Layers, layers_of
from icl.comparisons.identification.slots import drawn, joined
from icl.comparisons.identification.verdict import Verdict
from icl.constructions.linear_attention_as_gd import linear_attention_as_gd
from icl.models.linear_attention import LinearAttention
from icl.models.transformer import Transformer
from icl.pipelines.compare import capped
from icl.probes.identification import Identification
from icl.probes.known_algorithms import KnownAlgorithms, says
from icl.probes.layer_steps import LayerSteps
from icl.rng import Draw
from icl.tasks.linear_regression import LinearRegression

QUERY = LinearRegression(dim=3, n_context=8)
SMALL = {"n_fit": 40, "n_prompts": 48}


def steps_of_descent(n_layers):
    """A stack whose layer l is the l-th step."""
    model = LinearAttention(dim=3, n_layers=n_layers, n_seeds=2, dtype=torch.float64)
    state = linear_attention_as_gd(dim=3, n_context=8, n_layers=n_layers, step_size=0.08)
    model.load_state_dict({name: value.expand(2, *value.shape[1:]).clone() for name, value in state.items()})
    return model


def test_the_probe_gives_its_numbers_and_maps(draw):
    probe = Identification(**SMALL, learners=False, reaches=(1.0,))
    found = probe.measure(steps_of_descent(2), QUERY, draw)
    assert set(found.numbers) == set(probe.numbers)
    assert found.numbers["is_gradient_descent"].tolist() == [1, 1]
    assert found.numbers["linearity"].min() > 1 - 1e-9
    assert found.numbers["best_weight_similarity"].min() > 1 - 1e-6
    for name in ("distance", "similarity_of_errors", "response", "separation", "shifts"):
        curve = found.curves[name]
        assert len(curve.model) == len(curve.y)
        assert {len(row) for row in curve.model} == {len(curve.x)}
    row = dict(zip(found.curves["shifts"].y, found.curves["shifts"].model))
    assert row["model"] == pytest.approx(row["gradient_descent"], rel=1e-3)


@pytest.mark.slow
def test_every_layer_is_its_step(draw):
    """Layers without hidden states say what they say; layer l of this stack is l steps of one algorithm."""
    found = LayerSteps(**SMALL).measure(steps_of_descent(4), QUERY, draw)
    assert found.numbers["gd_steps_first"].tolist() == [1, 1]
    assert found.numbers["gd_steps_last_but_one"].tolist() == [3, 3]
    assert found.numbers["gd_steps_last"].tolist() == [4, 4]
    assert found.numbers["gd_similarity_last"].min() > 0.999  # its unit is estimated
    assert [len(row) for row in found.curves["candidates"].model] == [4] * len(found.curves["candidates"].y)


def test_read_outs_of_layers_are_least_squares_on_prompts_of_their_own(draw):
    task = LinearRegression(dim=3, n_context=5, positions="every")
    model = Transformer(dim=3, n_context=5, n_layers=2, width=8, n_heads=2, n_seeds=2, dtype=torch.float64)
    model.reset(Draw([0, 1], "init", dtype=torch.float64))
    layers = layers_of(model, task, True, 300, draw)
    assert (layers.n_layers, tuple(layers.readouts.shape)) == (2, (2, 2, 9))
    slots = joined(drawn(task, 300, True, draw))  # the same prompts
    x, y = slots.prompt.positions()
    h = model.hidden(x, y)[2, 1, :, 2::2].detach()
    rows = torch.nn.functional.layer_norm(h, (8,)).flatten(0, 1)
    rows = torch.cat([rows, torch.ones(len(rows), 1).double()], 1)
    left = rows.T @ (rows @ layers.readouts[1, 1] - slots.target.flatten())
    assert left.norm() < 1e-2 * (rows.T @ slots.target.flatten()).norm()  # normal equations, but the ridge
    assert layers.last_every_prefix(x, y).shape == (4, 300, 6)


def test_layers_of_a_model_without_hidden_states_are_its_steps(draw):
    model = steps_of_descent(2)
    prompt = QUERY.sample(5, draw).prompt
    torch.testing.assert_close(Layers(model, 2, None).last(prompt), model(prompt)[1:].flatten(0, 1))


@pytest.mark.slow
def test_every_known_algorithm_is_named():
    """`scripts/lab reproduce experiment=identification_finds_the_truth` asks forty draws; this asks four of each."""
    probe = KnownAlgorithms(n_prompts=2000, draws=4)
    found = probe.measure(None, LinearRegression(dim=5, n_context=20), Draw([0], "probe", dtype=torch.float32))
    assert found.numbers["wrong_rate_low"].item() == 0
    assert found.numbers["rate_low"].item() >= 0.95


@pytest.mark.parametrize("probe", [Identification, KnownAlgorithms, LayerSteps])
def test_a_capped_probe_takes_a_quick_look_only_below_the_cap(probe):
    assert capped(probe(), 64).quick
    assert not capped(probe(), 500).quick
    assert not capped(probe(), None).quick


def test_a_quick_look_names_the_candidates_that_it_has():
    probe = KnownAlgorithms(n_prompts=64, noise=(0.01, 0.02, 0.5), quick=True)
    found = probe.measure(None, LinearRegression(dim=5, n_context=20), Draw([0], "probe", dtype=torch.float32))
    assert set(found.numbers) == set(probe.numbers)
    assert len(found.curves["confusion_low"].y) == 6
    for level in ("low", "middle"):
        assert found.numbers[f"wrong_rate_{level}"].item() == 0
        assert found.numbers[f"found_rate_{level}"].item() >= found.numbers[f"rate_{level}"].item() >= 0.8
    assert found.numbers["rate_high"].item() < found.numbers["rate_low"].item()  # half of the labels is noise there


def test_noise_has_three_levels_and_is_not_negative():
    for noise in ((0.1, 0.2, -1), (0.1,)):
        with pytest.raises(ValueError, match="must be 3 numbers >= 0"):
            KnownAlgorithms(noise=noise)
    with pytest.raises(ValueError, match="draws=0 must be >= 1"):
        KnownAlgorithms(draws=0)


def test_what_is_said_to_a_known_algorithm():
    verdict = Verdict(status="family", best="chebyshev", distance=0, names=("chebyshev", "momentum"), also=("ridge",),
                      kind="least squares", runner_up=None, margin=0, margin_interval=(0, 0), group="g")  # fmt: skip
    groups = {"momentum": "g", "chebyshev": "g", "ridge": "", "zero": ""}
    assert [says(truth, verdict, groups) for truth in groups] == [
        "its group", "its group", "not told apart", "others, not told apart"
    ]  # fmt: skip
    named = replace(verdict, status="named", names=("chebyshev",))
    assert says("momentum", named, groups) == "chebyshev"


@pytest.mark.parametrize("probe", [Identification, KnownAlgorithms, LayerSteps])
def test_fewer_prompts_than_the_bootstrap_needs_are_refused(probe):
    with pytest.raises(ValueError, match="n_prompts=8 must be >= 32"):
        probe(n_prompts=8)


ASKED = ["+probe@probes.identification=identification", "probes.identification.learners=false",
         "probes.identification.reaches=[1]", "max_prompts=48"]  # fmt: skip


def test_the_command_prints_the_verdict_and_keeps_the_evidence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("icl.reporting.report.write_report", lambda folder: folder.path / "report.html")
    finished = call(monkeypatch, capsys, "identify", "debug=tiny", *ASKED, "+algorithm@references.mine=least_squares")
    assert finished.code == 0, finished.err
    assert "verdict: " in finished.out
    (run,) = [p for p in (tmp_path / "outputs" / "run").iterdir() if not p.is_symlink()]
    kept = json.loads((run / "identification.json").read_text())
    assert len(kept["verdicts"]) == 2
    assert "mine" in kept["fitted"]
    assert "probes/identification/distance" in json.loads((run / "comparisons.json").read_text())["curves"]


def test_run_folders_that_cannot_be_identified_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, capsys, "train", "debug=tiny", "train.steps=0").code == 0
    (run,) = [p for p in (tmp_path / "outputs" / "run").iterdir() if not p.is_symlink()]
    (run / "weights.safetensors").rename(run / "kept")
    finished = call(monkeypatch, capsys, "identify", f"run={run}", *ASKED)
    assert (finished.code, finished.err.count("\n"), "weights.safetensors is missing" in finished.err) == (2, 1, True)
    (run / "kept").rename(run / "weights.safetensors")
    (run / "done.json").write_text('{"format": 99}')
    finished = call(monkeypatch, capsys, "identify", f"run={run}", *ASKED)
    assert (finished.code, finished.err.count("\n"), "has format 99, this version reads" in finished.err) == (
        2,
        1,
        True,
    )
    (run / "done.json").write_text('{"format": 1}')
    finished = call(monkeypatch, capsys, "identify", f"run={run}", *ASKED[:3], "probes.identification.n_prompts=9")
    assert (finished.code, finished.err.count("\n"), "n_prompts=9 must be >= 32" in finished.err) == (2, 1, True)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("task:", "task_before:").replace("model:", "task:\n  _target_: "
        "icl.tasks.linear_regression.LinearRegression\n  dim: 7\n  n_context: 20\nmodel:", 1))  # fmt: skip
    finished = call(monkeypatch, capsys, "identify", f"run={run}", *ASKED)
    assert (finished.code, finished.err.count("\n"), "cannot read the prompts" in finished.err) == (2, 1, True)
