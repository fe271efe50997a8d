"""Ask the trained model and every reference the same prompts, look inside it, and keep what came out in its folder."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from icl.claims.claim import PROBES
from icl.comparisons.measured import Measured, record
from icl.comparisons.walk import compare, compare_runs
from icl.config import ConfigError, build, torch_dtype
from icl.config.beside import is_run
from icl.config.schema import plain
from icl.pipelines.train import trained_beside, trained_job
from icl.probes.probe import probe
from icl.rng import Draw
from icl.runs import Run, RunFolder, load

QUICK = 128  # a cap on the prompts below which a probe that can be `quick` is: its numbers mean nothing
EVALUATION_SEED = 0  # evaluation data is the same for every model


def run(cfg: Any, *, in_sweep: bool = False) -> dict[str, float]:
    """Compare the run at `run=DIR`, or the one that `cfg` trains, with the references. Returns medians over seeds."""
    with asked_run(cfg, in_sweep, "compare") as opened:
        asked = cfg if cfg.references or cfg.probes else opened.config
        if not (asked.references and asked.comparisons) and not asked.get("probes"):
            raise ConfigError(
                "nothing to ask; name an experiment (experiment=one_layer_is_one_gd_step), or mount parts: "
                "+algorithm@references.gd=gradient_descent_optimal +comparison@comparisons.loss=loss_ratio, "
                "or +probe@probes.norms=parameter_norms"
            )
        found = answers(opened, asked, cfg.max_prompts)
        add(opened.folder, found)  # a run may be asked the questions of another experiment and keep its own answers
        return show(opened, found, in_sweep)


def show(opened: Run, found: dict[str, Any], in_sweep: bool) -> dict[str, float]:
    """Print what was measured and draw the report; medians over seeds."""
    if not in_sweep:
        from icl.reporting.report import write_report

        for name, values in found["numbers"].items():
            print(f"{name:58s} {' '.join('nan' if v is None else f'{v:.5g}' for v in values)}")
        print(f"report: {write_report(opened.folder)}")
    return {name: median_over_seeds(values) for name, values in found["numbers"].items()}


@contextmanager
def asked_run(cfg: Any, in_sweep: bool, command: str) -> Iterator[Run]:
    """The run at `run=DIR`, or the one that `cfg` trains: its tracker stays open until all that is asked is known."""
    if cfg.run:
        yield load(cfg.run, cfg.plugins)
        return
    job, mirror = trained_job(cfg, in_sweep=in_sweep, command=command)
    try:
        yield Run(job.folder, tuple(cfg.plugins))
    finally:
        mirror.close()


def add(folder: RunFolder, found: dict[str, Any]) -> None:
    """What was measured, beside what comparisons.json already has."""
    known = folder.record("comparisons") if folder.has("comparisons.json") else {}
    folder.write_record("comparisons", {part: known.get(part, {}) | new for part, new in found.items()})


def median_over_seeds(values: list[float | None]) -> float:
    import statistics

    return statistics.median([float("nan") if v is None else v for v in values])


def measure(opened: Run, cfg: Any, max_prompts: int | None = None) -> dict[str, Any]:
    """`answers`, as all that comparisons.json holds."""
    found = answers(opened, cfg, max_prompts)
    opened.folder.write_record("comparisons", found)
    return found


def answers(opened: Run, cfg: Any, max_prompts: int | None = None) -> dict[str, Any]:
    """Every comparison of `cfg` against every reference, and every probe."""
    return record(compared(opened, cfg, max_prompts) | probed(opened, cfg, max_prompts))


def evaluation_draw(opened: Run, name: str) -> Draw:
    """One stream for all; where the law is a matter of the seed (`own_law`), that of each member."""
    parameter = next(opened.model.parameters())
    seeds = opened.result["seeds"] if getattr(opened.task, "own_law", False) else [EVALUATION_SEED]
    return Draw(seeds, name, device=parameter.device, dtype=torch_dtype(opened.config.dtype))


def compared(opened: Run, cfg: Any, max_prompts: int | None = None) -> dict[str, Measured]:
    """<reference>/<comparison> -> what was measured, and <reference>/<probe> for references that are runs.

    Raises:
        ConfigError: a comparison of runs has a reference that is none, or a probe finds no part that it reads.
    """
    model = opened.model.requires_grad_(False)
    measured: dict[str, Measured] = {}
    for reference_name, node in plain(cfg.references).items():
        reference, run = build_reference(node, opened, f"references.{reference_name}")
        for name, comparison_node in plain(cfg.comparisons).items():
            comparison = capped(build(comparison_node, plugins=opened.plugins, key=f"comparisons.{name}"), max_prompts)
            draw = evaluation_draw(opened, "comparison")
            if hasattr(comparison, "measure_runs"):
                if run is None:
                    raise ConfigError(f"references.{reference_name} must be a run for comparisons.{name}")
                found = compare_runs(comparison, opened, run, draw)
            else:
                found = compare(comparison, model, reference, opened.task, draw)
            measured[f"{reference_name}/{name}"] = found
        if run is not None:
            inside = probed(run, cfg, max_prompts)
            measured |= {f"{reference_name}/{at.removeprefix(f'{PROBES}/')}": found for at, found in inside.items()}
    return measured


def probed(opened: Run, cfg: Any, max_prompts: int | None = None) -> dict[str, Measured]:
    """probes/<probe> -> what was measured.

    Raises:
        ConfigError: the model has no part of the kind that a probe reads.
    """
    measured: dict[str, Measured] = {}
    for name, node in plain(cfg.get("probes") or {}).items():
        asked = capped(build(node, plugins=opened.plugins, key=f"probes.{name}"), max_prompts)
        try:
            measured[f"{PROBES}/{name}"] = probe(asked, opened, evaluation_draw(opened, "probe"))
        except ValueError as error:
            raise ConfigError(f"probes.{name}: {error}") from None
    return measured


def build_reference(node: Mapping[str, Any], opened: Run, key: str) -> tuple[Any, Run | None]:
    """An algorithm; or the model of a run, and the run: `{run: DIR}`, or one that is trained beside this one."""
    if not is_run(node):
        return build(node, plugins=opened.plugins, key=key), None
    run = load(node["run"], opened.plugins) if "run" in node else trained_beside(opened, node, key)
    return run.model, run


def capped(comparison: Any, max_prompts: int | None) -> Any:
    """The comparison or probe on at most `max_prompts` prompts."""
    n_prompts = getattr(comparison, "n_prompts", None)
    if max_prompts is None or n_prompts is None:
        return comparison
    quick = {"quick": True} if max_prompts < QUICK and hasattr(comparison, "quick") else {}
    return replace(comparison, n_prompts=min(n_prompts, max_prompts), **quick)
