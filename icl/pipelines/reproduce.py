"""Train an experiment, compare it with its references, and judge its claims over seeds."""

import time
from collections.abc import Sequence
from typing import Any

from icl.claims import Claim, judge, line, metrics, read, record, unknown_metrics
from icl.config import ConfigError, JobFailed, build, build_model, nearest, validate
from icl.config.beside import is_run
from icl.config.build import locate, on_this_machine
from icl.config.kinds import reads_words
from icl.config.schema import conf_dir, plain
from icl.pipelines.compare import measure
from icl.pipelines.train import trained_job
from icl.reporting.report import write_report
from icl.runs import Run, RunError


def run(cfg: Any, *, in_sweep: bool = False) -> dict[str, float]:
    """Returns the share of claims that hold, and their number. Raises JobFailed if one fails."""
    if cfg.tag is not None:
        return run_tag(cfg)
    begun = time.process_time()
    claims = checked_claims(cfg)
    if reads_words(cfg):
        from icl.pipelines.language import study

        done = study(cfg)
        folder, seeds, found, mirror = done.folder, done.seeds, done.found, done.mirror
    else:
        job, mirror = trained_job(cfg, in_sweep=in_sweep, command="reproduce")
        folder, seeds = job.folder, job.seeds
        found = measure(Run(folder, tuple(cfg.plugins)), cfg, cfg.max_prompts)
    judgements = judge(claims, found["numbers"], seeds)
    folder.write_record("claims", record(cfg.name, judgements))
    for judgement in judgements:
        print(line(judgement))
    n_held = sum(judgement.holds for judgement in judgements)
    total = f"{n_held} of {len(judgements)} claims hold over {len(seeds)} seeds"
    report = write_report(folder)
    mirror.close()
    print(f"{cfg.name}: {total}; {time.process_time() - begun:.1f} CPU s\nreport: {report}", flush=True)
    if n_held < len(judgements):
        raise JobFailed(f"{cfg.name}: {total}")
    return {"claims_held": float(n_held), "claims": float(len(judgements))}


def checked_claims(cfg: Any) -> dict[str, Claim]:
    """The claims; everything that could go wrong after the training is looked at before it.

    Raises:
        ConfigError: there are no claims, or one names a number that no mounted comparison or probe gives.
    """
    if not cfg.claims:
        raise ConfigError("nothing to judge: the configuration has no claims; name an experiment (experiment=...)")
    claims = read(plain(cfg.claims))
    comparisons, probes = (
        {name: locate(f"{mount}.{name}", node["_target_"], cfg.plugins) for name, node in plain(cfg[mount]).items()}
        for mount in ("comparisons", "probes")
    )
    runs = [name for name, node in plain(cfg.references).items() if is_run(node)]
    if lines := unknown_metrics(claims, metrics(cfg.references, comparisons, probes, runs)):
        raise ConfigError(lines[0])
    check_model(cfg)
    return claims


def check_model(cfg: Any) -> None:
    """Show every comparison that wants to see it the model as it will be trained.

    Raises:
        ConfigError: the model has not what a comparison measures.
    """
    wanted = {name: node for name, node in plain(cfg.comparisons).items()
              if hasattr(locate(f"comparisons.{name}", node["_target_"], cfg.plugins), "suits")}  # fmt: skip
    model = build_model(on_this_machine(cfg), n_seeds=1) if wanted else None
    for name, node in wanted.items():
        try:
            build(node, plugins=cfg.plugins, key=f"comparisons.{name}").suits(model)
        except ConfigError as error:
            raise ConfigError(f"comparisons.{name}: {error}") from None


def run_tag(cfg: Any) -> dict[str, float]:
    """Every experiment with the tag, one after the other; one that fails does not stop the others."""
    held = total = 0.0
    failures = []
    for name in experiments(cfg.tag):
        print(f"\n== {name}")
        try:
            one = compose([f"experiment={name}", *passed_on(cfg)])
            validate(one)
            counts = run(one)
            held, total = held + counts["claims_held"], total + counts["claims"]
        except (ConfigError, JobFailed, RunError) as error:
            failures.append(str(error))
    if failures:
        raise JobFailed(f"{len(failures)} of the experiments with tag={cfg.tag} failed:\n" + "\n".join(failures))
    return {"claims_held": held, "claims": total}


def experiments(tag: str) -> list[str]:
    """Names of the experiments with `tag` (`all`: every one).

    Raises:
        ConfigError: no experiment has it.
    """
    from omegaconf import OmegaConf

    tags: dict[str, set[str]] = {}
    for path in sorted(conf_dir().glob("experiment/*.yaml")):
        head: Any = OmegaConf.load(path)
        tags[path.stem] = set(head.get("tags", []))
    found = [name for name, own in tags.items() if tag == "all" or tag in own]
    if not found:
        raise ConfigError(f"tag={tag!r} has no experiment{nearest(tag, set().union(*tags.values()) | {'all'})}")
    return found


def compose(overrides: Sequence[str]) -> Any:
    """A configuration composed inside the running app."""
    from hydra import compose as hydra_compose
    from hydra.core.global_hydra import GlobalHydra

    from icl.config.app import register_schema

    if GlobalHydra.instance().is_initialized():
        return hydra_compose("lab", overrides=list(overrides))
    from hydra import initialize_config_dir

    register_schema()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return hydra_compose("lab", overrides=list(overrides))


def passed_on(cfg: Any) -> list[str]:
    """What the user typed beside the tag, for every experiment of it."""
    from icl.pipelines.train import overrides

    return [o for o in overrides() if not o.lstrip("+~").startswith(("tag=", "experiment="))]
