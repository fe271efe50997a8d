"""Weights & Biases as a mirror of the record: offline without a key, never asking for one."""

import json
import math
import netrc
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from icl.tracking import wandb_tables

SECONDS_TO_CONNECT = 30
LATER = "`wandb sync` sends it later"


class Wandb:
    """One W&B run a run folder, with the folder's id: the same command again goes on in the same W&B run.

    A member's number is `<metric>/seed_<s>`; `<metric>/median` is the median over the finite members. The summary of
    a loss is its least and its last value. A sweep's runs have the sweep's folder as their group; the job type is the
    command. A W&B sweep agent decides project and id by itself.
    `mode` is online, offline or disabled; None takes WANDB_MODE, or else online. Without a key, online turns
    into offline, and one line says so. Files go to `wandb/` beside the run folder.
    """

    def __init__(
        self,
        *,
        project: str,
        entity: str | None = None,
        group: str | None = None,
        job_type: str | None = None,
        tags: Sequence[str] = (),
        mode: str | None = None,
    ):
        if mode not in (None, "online", "offline", "disabled"):
            raise ValueError(f"mode={mode!r} must be online, offline, disabled or null")
        self.project, self.entity, self.group = project, entity, group
        self.job_type, self.tags, self.mode = job_type, tuple(tags), mode
        self._seeds: list[int] = []
        self._run: Any = None

    def start(self, *, name: str, run_id: str, config: dict[str, Any], folder: Path, command: str = "train") -> None:
        """Open (or go on with) the W&B run `run_id`; `config` is plain data with `seed` and `n_seeds`."""
        import wandb

        folder.parent.mkdir(parents=True, exist_ok=True)  # W&B goes elsewhere when its folder is missing
        first = config.get("seed", 0)
        self._seeds = [first + i for i in range(config.get("n_seeds", 1))]
        mode = self._resolved_mode(wandb)
        run: dict[str, Any] = {
            "project": self.project, "entity": self.entity, "group": self.group, "tags": self.tags,
            "job_type": self.job_type or command, "name": name, "id": run_id, "config": config,
            "dir": str(folder.parent), "mode": mode, "resume": "allow" if mode == "online" else None,
            "reinit": "create_new",
            "settings": wandb.Settings(silent=True, console="off", disable_git=True, init_timeout=SECONDS_TO_CONNECT),
        }  # fmt: skip
        if os.environ.get("WANDB_SWEEP_ID"):
            run |= {"project": None, "entity": None, "id": None, "resume": None}
        try:
            self._run = wandb.init(**run)
        except wandb.Error as error:
            if mode != "online":
                raise
            print(f"W&B: {str(error).splitlines()[0]}: this run is kept offline; {LATER}", flush=True)
            free = f"{run_id}-offline"  # W&B holds on to an id that failed until the process ends
            self._run = wandb.init(**run | {"mode": "offline", "resume": None, "id": free})
        self._run.define_metric("loss/*", summary="min,last")

    def log(self, metrics: Mapping[str, Any], *, step: int) -> None:
        self._run.log(self._members(metrics), step=step)

    def artifact(self, path: Path) -> None:
        """Keep the file; show pages and pictures, records as tables, final numbers in the summary."""
        import wandb

        if path.suffix == ".json":
            self._record(path.stem, json.loads(path.read_text()))
        elif path.suffix == ".html":
            self.show(path.stem, path.read_text())
        elif path.suffix in (".png", ".jpg"):
            self._run.log({path.stem: wandb.Image(str(path))})
        kept = wandb.Artifact(f"{self._run.id}-{path.stem}", type=path.suffix.lstrip(".") or "file")
        kept.add_file(str(path))
        self._run.log_artifact(kept)

    def show(self, name: str, html: str) -> None:
        """A page or a figure, as media."""
        import wandb

        self._run.log({name: wandb.Html(html, inject=False)})

    def _record(self, name: str, record: dict[str, Any]) -> None:
        if name == "claims":
            self._table("claims", wandb_tables.claims(record))
        elif name == "sweep":
            self._table("jobs", wandb_tables.jobs(record))
        elif name == "result":
            self._run.summary.update(self._members({"final_loss": record["final_loss"]}))
        elif name == "comparisons":
            self._run.summary.update(self._members(record["numbers"]))
            for key, drawn in record.get("curves", {}).items():
                self._table(f"curves/{key}", wandb_tables.curve(drawn, self._seeds))

    def _table(self, name: str, table: wandb_tables.Table) -> None:
        import wandb

        columns, rows = table
        data: list[Any] = rows
        self._run.log({name: wandb.Table(columns=list(columns), data=data, allow_mixed_types=True)})

    def finish(self) -> None:
        if self._run is not None:
            self._run.finish()
            self._run = None

    def _members(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """A sequence of one number a member as one key a member, and their median."""
        row: dict[str, Any] = {}
        for key, value in metrics.items():
            if isinstance(value, str) or not isinstance(value, Sequence):
                row[key] = value
                continue
            value = list(value) * len(self._seeds) if len(value) == 1 else value  # one number for all members
            row |= {f"{key}/seed_{seed}": member for seed, member in zip(self._seeds, value, strict=True)}
            finite = [member for member in value if member is not None and math.isfinite(member)]
            row |= {f"{key}/median": statistics.median(finite)} if finite else {}
        return row

    def _resolved_mode(self, wandb: Any) -> str:
        mode = self.mode or os.environ.get("WANDB_MODE") or "online"
        if mode != "online" or _has_key(wandb):
            return mode
        print(f"W&B: no API key found, so this run is kept offline; {LATER}", flush=True)
        return "offline"


def _has_key(wandb: Any) -> bool:
    """Whether W&B finds credentials without asking: in the environment, its settings files, or netrc."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    settings = wandb.setup().settings
    if getattr(settings, "api_key", None):
        return True
    files = [os.environ["NETRC"]] if "NETRC" in os.environ else ["~/.netrc", "~/_netrc"]
    for file in map(os.path.expanduser, files):
        try:
            if netrc.netrc(file).authenticators(urlparse(settings.base_url).hostname or "") is not None:
                return True
        except (OSError, netrc.NetrcParseError):
            continue
    return False
