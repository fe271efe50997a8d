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

CLAIM_COLUMNS = ("id", "metric", "bound", "source", "source_value", "worst", "median", "min", "max", "holds")
SECONDS_TO_CONNECT = 30
LATER = "`wandb sync` sends it later"


class Wandb:
    """One W&B run a run folder, with the folder's id: the same command again goes on in the same W&B run.

    A member's number is `<metric>/seed_<s>`; `<metric>/median` is the median over the finite members.
    `mode` is online, offline or disabled; None takes WANDB_MODE, or else online. Without a key, online turns
    into offline, and one line says so. Files go to `wandb/` beside the run folder.
    """

    def __init__(
        self,
        *,
        project: str,
        entity: str | None = None,
        group: str | None = None,
        job_type: str = "train",
        tags: Sequence[str] = (),
        mode: str | None = None,
    ):
        if mode not in (None, "online", "offline", "disabled"):
            raise ValueError(f"mode={mode!r} must be online, offline, disabled or null")
        self.project, self.entity, self.group = project, entity, group
        self.job_type, self.tags, self.mode = job_type, tuple(tags), mode
        self._seeds: list[int] = []
        self._run: Any = None

    def start(self, *, name: str, run_id: str, config: dict[str, Any], folder: Path) -> None:
        """Open (or go on with) the W&B run `run_id`; `config` is plain data with `seed` and `n_seeds`."""
        import wandb

        folder.parent.mkdir(parents=True, exist_ok=True)  # W&B goes elsewhere when its folder is missing
        first = config.get("seed", 0)
        self._seeds = [first + i for i in range(config.get("n_seeds", 1))]
        mode = self._resolved_mode(wandb)
        run: dict[str, Any] = {
            "project": self.project, "entity": self.entity, "group": self.group, "job_type": self.job_type,
            "tags": self.tags, "name": name, "id": run_id, "config": config, "dir": str(folder.parent),
            "mode": mode, "resume": "allow" if mode == "online" else None, "reinit": "create_new",
            "settings": wandb.Settings(silent=True, console="off", disable_git=True, init_timeout=SECONDS_TO_CONNECT),
        }  # fmt: skip
        try:
            self._run = wandb.init(**run)
        except wandb.Error as error:
            if mode != "online":
                raise
            print(f"W&B: {str(error).splitlines()[0]}: this run is kept offline; {LATER}", flush=True)
            free = f"{run_id}-offline"  # W&B holds on to an id that failed until the process ends
            self._run = wandb.init(**run | {"mode": "offline", "resume": None, "id": free})

    def log(self, metrics: Mapping[str, Any], *, step: int) -> None:
        self._run.log(self._members(metrics), step=step)

    def artifact(self, path: Path) -> None:
        """Keep the file; show pages and pictures, claims as a table, comparisons in the summary."""
        import wandb

        if path.name == "claims.json":
            claims = json.loads(path.read_text())["claims"]
            rows: list[Any] = [[_cell(claim.get(column)) for column in CLAIM_COLUMNS] for claim in claims]
            self._run.log({"claims": wandb.Table(columns=list(CLAIM_COLUMNS), data=rows)})
        elif path.name == "comparisons.json":
            self._run.summary.update(self._members(json.loads(path.read_text())["numbers"]))
        elif path.suffix == ".html":
            self._run.log({path.stem: wandb.Html(path.read_text(), inject=False)})
        elif path.suffix in (".png", ".jpg"):
            self._run.log({path.stem: wandb.Image(str(path))})
        kept = wandb.Artifact(f"{self._run.id}-{path.stem}", type=path.suffix.lstrip(".") or "file")
        kept.add_file(str(path))
        self._run.log_artifact(kept)

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


def _cell(value: Any) -> str | None:
    """A column of a W&B table has one type, and a source's value may be a number or words."""
    return None if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


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
