"""The run folder: the only module that knows its paths. `icl.load(DIR)` opens one.

    outputs/<name>/<id>/
        config.yaml          the resolved configuration        overrides.txt          what the user typed
        metrics.jsonl        the record: one row a logged step, one number a member
        snapshots.safetensors   weights at log-spaced steps, keys <step>/<parameter>
        weights.safetensors     final weights, leading axis M = one seed a member
        result.json          final numbers, versions, device, time
        comparisons.json     what the comparisons measured (numbers a member, curves, intervals over prompts)
        claims.json          the judged claims                 report.html            the figures
        done.json            written last: this run is finished

Everything is written atomically (`icl.atomic`), so no reader ever sees half a file.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from icl.atomic import write_bytes, write_json, write_link

FORMAT = 1  # of the folder; a reader refuses another


class RunError(RuntimeError):
    """A run folder that cannot be used: one line that says which and why."""


def digest(value: Any) -> str:
    """A short hash of plain data, the same on every machine."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:10]


@dataclass(frozen=True)
class RunFolder:
    """One run on disk. Reading methods raise RunError when the file is missing or unreadable."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def finished(self) -> bool:
        return (self.path / "done.json").exists()

    @property
    def report(self) -> Path:
        """The page with this run's figures; a sweep has one in its own folder."""
        return self.path / "report.html"

    # ---- writing
    def open(self, config_yaml: str, overrides: Sequence[str]) -> None:
        """Make the folder and record what is about to run."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_bytes(self.path / "config.yaml", config_yaml.encode())
        write_bytes(self.path / "overrides.txt", "".join(f"{o}\n" for o in overrides).encode())

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        write_bytes(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in rows).encode())

    def write_tensors(self, name: str, tensors: Mapping[str, Any]) -> None:
        """`weights` or `snapshots`, as safetensors: loading one never runs code."""
        from safetensors.torch import save

        plain = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
        write_bytes(self.path / f"{name}.safetensors", save(plain, {"format": str(FORMAT)}))

    def write_record(self, name: str, value: Any) -> None:
        """`result`, `comparisons` or `claims`."""
        write_json(self.path / f"{name}.json", value)

    def finish(self) -> None:
        write_json(self.path / "done.json", {"format": FORMAT, "id": self.id})

    def make_latest(self) -> None:
        """`outputs/<name>/latest` points here, where the file system has links."""
        write_link(self.path.with_name("latest"), self.id)

    # ---- reading
    def record(self, name: str) -> Any:
        path = self.path / f"{name}.json"
        try:
            return json.loads(path.read_text())
        except FileNotFoundError:
            raise RunError(f"{path} is missing; is {self.path} a finished run folder?") from None
        except ValueError as error:
            raise RunError(f"{path} is not valid JSON: {error}") from None

    def has(self, name: str) -> bool:
        """Whether `name` (with its suffix) is there."""
        return (self.path / name).exists()

    def text(self, name: str) -> str:
        """`config.yaml`, `overrides.txt` or `metrics.jsonl` as written, empty when it is not there."""
        path = self.path / name
        return path.read_text() if path.exists() else ""

    def tensors(self, name: str) -> dict[str, Any]:
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self.path / f"{name}.safetensors"
        if not path.exists():
            raise RunError(f"{path} is missing; is {self.path} a finished run folder?")
        try:
            return load_file(path)
        except SafetensorError as error:
            raise RunError(f"{path} is truncated or foreign: {error}") from None

    def metrics(self, most: int | None = None) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; keys `step` and, a list over members each, the logged numbers.

        `most` asks for at most that many rows, evenly spread, with the first and the last.
        """
        lines = self.text("metrics.jsonl").splitlines()
        if most is not None and len(lines) > most:
            lines = [lines[i * (len(lines) - 1) // (most - 1)] for i in range(most)]
        return [json.loads(line) for line in lines]


@dataclass(frozen=True)
class Run:
    """A finished run, opened: `icl.load(DIR)`."""

    folder: RunFolder
    plugins: Sequence[str] = ()  # whose classes it may build; never taken from the folder, which may be a stranger's

    @cached_property
    def config(self) -> Any:
        """The resolved configuration (an OmegaConf node)."""
        from omegaconf import OmegaConf

        path = self.folder.path / "config.yaml"
        if not path.exists():
            raise RunError(f"{self.folder.path} is not a run folder: it has no config.yaml")
        return OmegaConf.load(path)

    @cached_property
    def task(self) -> Any:
        from icl.config import build

        return build(self.config.task, plugins=self.plugins, key="task")

    @cached_property
    def model(self) -> Any:
        """The trained bank, one member a seed."""
        return self._filled(self.folder.tensors("weights"))

    @property
    def result(self) -> dict[str, Any]:
        return self.folder.record("result")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        return self.folder.metrics()

    def snapshots(self) -> Iterator[tuple[int, Any]]:
        """(step, the bank as it was then), in the order of training."""
        tensors = self.folder.tensors("snapshots")
        for step in sorted({key.split("/")[0] for key in tensors}, key=int):
            state = {k.split("/", 1)[1]: v for k, v in tensors.items() if k.startswith(f"{step}/")}
            yield int(step), self._filled(state)

    def sample(self, batch_size: int) -> Any:
        """Prompts of the run's task for a figure: the same every time, and shared by all members that share a law."""
        from icl.rng import Draw

        first = next(self.model.parameters())
        seeds = self.result["seeds"] if getattr(self.task, "own_law", False) else [0]
        return self.task.sample(batch_size, Draw(seeds, "figure", device=first.device, dtype=first.dtype))

    def _filled(self, state: Mapping[str, Any]) -> Any:
        from icl.config import build_model

        model = build_model(self.config, plugins=self.plugins)
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            what = str(error).splitlines()[-1].strip()
            raise RunError(f"{self.folder.path}: the weights do not fit the model of config.yaml: {what}") from None
        return model


def load(path: str | Path, plugins: Sequence[str] = ()) -> Run:
    """Open the run folder at `path`; `plugins` are packages of your own whose classes it may build.

    Raises:
        RunError: `path` is no run folder, or of another version.
    """
    run = Run(RunFolder(Path(path)), tuple(plugins))
    _ = run.config
    if run.folder.finished and (form := run.folder.record("done").get("format")) != FORMAT:
        raise RunError(f"{path} has format {form}, this version reads {FORMAT}")
    return run
