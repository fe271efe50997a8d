"""Ask the trained model and every reference the same prompts, and keep what came out in the run folder."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from icl.comparisons.measured import Measured, record
from icl.comparisons.walk import compare
from icl.config import ConfigError, build, torch_dtype
from icl.config.schema import plain
from icl.pipelines.train import trained_beside, trained_job
from icl.rng import Draw
from icl.runs import Run, load

EVALUATION_SEED = 0  # evaluation data is the same for every model


def run(cfg: Any, *, in_sweep: bool = False) -> dict[str, float]:
    """Compare the run at `run=DIR`, or the one that `cfg` trains, with the references. Returns medians over seeds."""
    opened = load(cfg.run, cfg.plugins) if cfg.run else _trained(cfg, in_sweep)
    asked = cfg if cfg.references else opened.config
    if not asked.references or not asked.comparisons:
        raise ConfigError(
            "nothing to compare with; name an experiment (experiment=one_layer_is_one_gd_step), or mount parts: "
            "+algorithm@references.gd=gradient_descent_optimal +comparison@comparisons.loss=loss_ratio"
        )
    found = measure(opened, asked, cfg.max_prompts)
    if not in_sweep:
        from icl.reporting.report import write_report

        for name, values in found["numbers"].items():
            print(f"{name:58s} {' '.join('nan' if v is None else f'{v:.5g}' for v in values)}")
        print(f"report: {write_report(opened.folder)}")
    return {name: _median(values) for name, values in found["numbers"].items()}


def _trained(cfg: Any, in_sweep: bool) -> Run:
    job, mirror = trained_job(cfg, in_sweep=in_sweep)
    mirror.close()
    return Run(job.folder, tuple(cfg.plugins))


def _median(values: list[float | None]) -> float:
    import statistics

    return statistics.median([float("nan") if v is None else v for v in values])


def measure(opened: Run, cfg: Any, max_prompts: int | None = None) -> dict[str, Any]:
    """Every comparison of `cfg` against every reference; written to comparisons.json and returned."""
    model = opened.model.requires_grad_(False)
    parameter = next(model.parameters())
    measured: dict[str, Measured] = {}
    for reference_name, node in plain(cfg.references).items():
        reference = build_reference(node, opened, f"references.{reference_name}")
        for name, comparison_node in plain(cfg.comparisons).items():
            comparison = capped(build(comparison_node, plugins=opened.plugins, key=f"comparisons.{name}"), max_prompts)
            draw = Draw(
                [EVALUATION_SEED], "comparison", device=parameter.device, dtype=torch_dtype(opened.config.dtype)
            )
            measured[f"{reference_name}/{name}"] = compare(comparison, model, reference, opened.task, draw)
    found = record(measured)
    opened.folder.write_record("comparisons", found)
    return found


def build_reference(node: Mapping[str, Any], opened: Run, key: str) -> Any:
    """An algorithm; or `{run: DIR}`, another run's model; or `{model: ...}`, a model trained beside this one."""
    if "run" in node:
        return load(node["run"], opened.plugins).model
    if "model" in node:
        return trained_beside(opened, node["model"], key).model
    return build(node, plugins=opened.plugins, key=key)


def capped(comparison: Any, max_prompts: int | None) -> Any:
    """The comparison on at most `max_prompts` prompts."""
    n_prompts = getattr(comparison, "n_prompts", None)
    if max_prompts is None or n_prompts is None:
        return comparison
    return replace(comparison, n_prompts=min(n_prompts, max_prompts))
