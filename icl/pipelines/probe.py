"""Look inside a finished run, or one that is trained now, and add what the probes found to its folder.

With a text task and a language model it asks that model instead, arm by arm: see icl/pipelines/language.py.
"""

from typing import Any

from icl.comparisons.measured import record
from icl.config import ConfigError
from icl.config.kinds import reads_words
from icl.pipelines.compare import add, asked_run, probed, show


def run(cfg: Any, *, in_sweep: bool = False) -> dict[str, float]:
    """Probe the run at `run=DIR`, or the one that `cfg` trains. Returns medians over seeds."""
    if cfg.run is None and reads_words(cfg):
        from icl.pipelines import language

        return language.run(cfg, in_sweep=in_sweep)
    if cfg.probe.plan:
        raise ConfigError("probe.plan=true plans a language model; take e.g. task=label_words model=llama3_8b")
    with asked_run(cfg, in_sweep, "probe") as opened:
        asked = cfg if cfg.probes else opened.config
        if not asked.get("probes"):
            raise ConfigError("nothing to probe; mount a probe, e.g. +probe@probes.norms=parameter_norms")
        found = record(probed(opened, asked, cfg.max_prompts))
        add(opened.folder, found)
        return show(opened, found, in_sweep)
