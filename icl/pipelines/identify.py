"""Name the algorithm that a trained model runs, with the evidence, and keep that in its run folder."""

import time
from typing import Any

from icl.claims.judgement import student_interval
from icl.comparisons.identification.report import Evidence
from icl.comparisons.identification.verdict import together
from icl.comparisons.measured import record
from icl.config import build
from icl.config.schema import plain
from icl.pipelines.compare import add, asked_run, capped, evaluation_draw, median_over_seeds
from icl.probes.identification import Identification
from icl.runs import Run


def run(cfg: Any, *, in_sweep: bool = False) -> dict[str, float]:
    """Identify the run at `run=DIR`, or the one that `cfg` trains. Returns medians over seeds.

    The settings are those of a mounted probe `identification`, if there is one; mounted references are candidates too.
    """
    begun = time.process_time()
    with asked_run(cfg, in_sweep, "identify") as opened:
        found, evidence = identified(opened, cfg)
        if not in_sweep:
            from icl.reporting.report import write_report

            print("\n".join(lines(evidence)))
            print(f"{time.process_time() - begun:.1f} CPU s\nreport: {write_report(opened.folder)}")
    return {key: median_over_seeds(values) for key, values in found["numbers"].items()}


def identified(opened: Run, cfg: Any) -> tuple[dict[str, Any], Evidence]:
    """What was measured, and the evidence; both are in the run's folder."""
    name, probe = mounted(opened, cfg)
    also = {
        key: build(node, plugins=opened.plugins, key=f"references.{key}")
        for key, node in plain(cfg.references).items()
        if "_target_" in node
    }
    model = opened.model.requires_grad_(False)
    evidence = probe.evidence(model, opened.task, evaluation_draw(opened, "probe"), also)
    found = record({f"probes/{name}": probe.measured(evidence)})
    add(opened.folder, found)
    opened.folder.write_record("identification", as_record(evidence))
    return found, evidence


def mounted(opened: Run, cfg: Any) -> tuple[str, Identification]:
    """The probe that is mounted in the command or in the run, under its name."""
    for asked in (cfg, opened.config):
        for name, node in plain(asked.get("probes") or {}).items():
            if node["_target_"].endswith(".Identification"):
                return name, capped(build(node, plugins=opened.plugins, key=f"probes.{name}"), cfg.max_prompts)
    return "identification", capped(Identification(), cfg.max_prompts)


def as_record(evidence: Evidence) -> dict[str, Any]:
    """The content of identification.json: verdicts, what was fitted, what was left out."""
    found = evidence.found
    members = range(len(found.verdicts))
    return {
        "verdicts": [vars(v) for v in evidence.verdicts],
        "on_training_prompts": [vars(v) for v in found.verdicts],
        "on_designed_prompts": [
            {"reach": s.spectrum.reach, "eigenvalues": s.spectrum.eigenvalues.tolist(),
             "disagreement": s.spectrum.disagreement, "verdicts": [vars(v) for v in s.found.verdicts]}
            for s in evidence.separated
        ],
        "fitted": {name: [member.describe(m) for m in members] for name, member in found.fitted.items()},
        "unstable": dict(found.unstable),
        "left_out": dict(found.left_out),
    }  # fmt: skip


def lines(evidence: Evidence) -> list[str]:
    """The evidence for a person: a table of candidates over seeds, the verdicts, and what all seeds say."""
    found = evidence.found
    power = found.slots.label_square
    distance = found.distances.nanmean(-1) / power
    out = [f"{'candidate':33s} {'distance / E y², mean over seeds':36s} similarity  fitted to the first seed"]
    for c in distance.mean(1).argsort().tolist():
        low, high = student_interval(distance[c].tolist())
        spread = f" [{low:.4g}, {high:.4g}]" if distance.shape[1] > 1 else ""
        text = f"{distance[c].mean().item():.4g}{spread}"
        name = found.names[c]
        out.append(f"{name:33s} {text:36s} {found.similarity[c].mean().item():10.4f}  {found.fitted[name].describe(0)}")
    out += [f"unstable: {name}, {100 * share:.2g} % of its guesses" for name, share in found.unstable.items()]
    out += [f"left out: {name} {why}" for name, why in found.left_out.items()]
    out += [f"seed {m}: {verdict}" for m, verdict in enumerate(found.verdicts)]
    for s in evidence.separated:
        spectrum = " ".join(f"{v:.3g}" for v in s.spectrum.eigenvalues.tolist())
        out.append(
            f"designed prompts, eigenvalues of A/n {spectrum} (within {s.spectrum.reach:g} times those in training), "
            f"where rivals differ by {s.spectrum.disagreement:.3g} of E y²:"
        )
        out += [f"  seed {m}: {verdict}" for m, verdict in enumerate(s.found.verdicts)]
    if evidence.weights is not None:
        out.append(f"linear in the query: R² = {evidence.weights.r_squared.mean().item():.4f}")
    return [*out, f"verdict: {together(evidence.verdicts)}"]
