"""A run folder written by hand: a plateau that breaks at another step in every seed, and Γ grows with it."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from icl.reporting import canvas
from icl.runs import RunFolder

NAME, BEST, ZERO, STEP_SIZE = "one_layer_is_one_gd_step", 0.206229, 0.416667, 12 / 19.8
STEPS = np.arange(0, 3001, 10)
SNAPSHOTS = (0, 1, 10, 100, 200, 300, 400, 500, 700, 1000, 3000)
CONFIG = """\
name: {name}
question: Is one layer one step?
seed: {seed}
n_seeds: {n_seeds}
device: cuda
dtype: float32
plugins: []
task: {{_target_: icl.tasks.linear_regression.LinearRegression, dim: 10, n_context: 10, inputs: uniform}}
model: {{_target_: icl.models.linear_attention.LinearAttention, dim: 10, parametrization: merged}}
train: {{lr: {lr}, stream: own}}
"""
VOID = {"meta", "wbr", "br", "path", "use", "rect", "image"}


def progress(steps: Any, n_members: int) -> np.ndarray:
    """From 0 to 1, (K, M); member m is half-way at step 300 + 60 m."""
    half = 300 + 60 * np.arange(n_members)
    return 1 / (1 + np.exp((half - np.asarray(steps)[:, None]) / 40))


def write_run(path: Path, *, n_seeds: int = 8, seed: int = 0, lr: float = 1e-3, shift: float = 0.0) -> RunFolder:
    """A finished run without weights, comparisons or claims; `shift` is added to its losses."""
    folder = RunFolder(path)
    config = CONFIG.format(name=NAME, seed=seed, n_seeds=n_seeds, lr=lr)
    folder.open(config, [f"seed={seed}", f"n_seeds={n_seeds}", f"train.lr={lr}"])
    noise = 0.001 * np.random.default_rng(seed).standard_normal((len(STEPS), n_seeds))
    loss = ZERO + (1.002 * BEST - ZERO) * progress(STEPS, n_seeds) + noise + shift
    folder.write_metrics([{"step": int(s), "loss": row.tolist()} for s, row in zip(STEPS, loss, strict=True)])
    folder.write_record("result", result(seed, [1.002 * BEST + shift] * n_seeds))
    folder.finish()
    return folder


def result(seed: int, final_loss: Sequence[float]) -> dict[str, Any]:
    return {
        "name": NAME, "question": "Is one layer one step?", "loss_name": "half_mse",
        "final_loss": list(final_loss),
        "seeds": list(range(seed, seed + len(final_loss))), "theory": {"best_one_step": BEST, "zero": ZERO},
        "stream": "own", "steps": 3000, "diverged": [], "versions": {"python": "3.11.7", "torch": "2.13.0"},
        "device": "cuda", "dtype": "float32", "wall_seconds": 12.3, "cpu_seconds": 10.1,
        "git_commit": "0123abc",
    }  # fmt: skip


def comparisons(n_members: int) -> dict[str, Any]:
    """Two numbers, a line whose worst member is 0.3 % a member away, and a scatter."""
    scales = np.linspace(0.5, 2, 7)
    reference = (0.02 * scales**4 + BEST * scales**2).tolist()
    predictions = np.random.default_rng(0).standard_normal((n_members, 500))
    return {
        "numbers": {
            "gd/loss/loss_ratio": [1.002 + 0.001 * m for m in range(n_members)],
            "gd/exact/exact_loss_ratio": [1.001] * n_members,
        },
        "intervals": {"gd/loss/loss_ratio": [[1.0 + 0.001 * m, 1.004 + 0.001 * m] for m in range(n_members)]},
        "n_prompts": {"gd/loss": 100_000, "gd/exact": 0},
        "curves": {
            "gd/out_of_distribution/input_scale": {
                "kind": "line", "title": "Trained at 1, asked elsewhere", "x_label": "scale of the inputs, α",
                "y_label": "half MSE", "x": scales.tolist(), "log_x": False, "log_y": True,
                "model": [[v * (1 + 0.003 * m) for v in reference] for m in range(n_members)],
                "reference": [reference], "reference_label": "one GD step", "note": "20,000 prompts a point",
            },
            "gd/distance/predictions": {
                "kind": "scatter", "title": "Two predictors", "x_label": "the reference's guess",
                "y_label": "the model's guess", "x": predictions.tolist(), "note": "",
                "model": (1.02 * predictions).tolist(),
            },
        },
    }  # fmt: skip


def claims(n_members: int) -> dict[str, Any]:
    """One claim that holds in every seed and one on the mean that fails."""
    common = {"seeds": list(range(n_members)), "min": 1.002, "max": 1.009, "median": 1.005, "mean": 1.0055}
    return {
        "experiment": NAME,
        "holds": False,
        "claims": [
            common | {
                "id": "loss", "metric": "gd/loss/loss_ratio", "over": "every_seed", "bound": "<= 1.01",
                "source": "Mahankali et al. 2023, Thm 1", "source_value": 1.0, "worst": 1.009,
                "interval": None, "values": [1.002] * n_members, "holds": True, "failing_seeds": [],
            },
            common | {
                "id": "strict", "metric": "gd/loss/loss_ratio", "over": "mean", "bound": "<= 1.001",
                "source": "<b>derived</b> & tested", "source_value": None, "worst": None,
                "interval": [1.003, None], "values": [None] * n_members, "holds": False, "failing_seeds": [3],
            },
        ],
    }  # fmt: skip


def weights(gamma: np.ndarray) -> dict[str, torch.Tensor]:
    """Merged weights of a one-layer model with the given Γ (M, D, D):  P = −1 at its last entry, Q = Γᵀ."""
    members, dim = gamma.shape[:2]
    P, Q = torch.zeros(2, members, 1, dim + 1, dim + 1)
    P[:, 0, -1, -1] = -1
    Q[:, 0, :dim, :dim] = torch.as_tensor(gamma).mT
    return {"P": P, "Q": Q, "w_init": torch.zeros(members, 1, dim)}


def gammas(n_members: int) -> np.ndarray:
    """Γ at the snapshots (S, M, D, D): the optimum times the progress, member m another m % too large."""
    larger = 1 + 0.01 * np.arange(n_members)
    return (progress(SNAPSHOTS, n_members) * larger * STEP_SIZE)[..., None, None] * np.eye(10)


@pytest.fixture
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are made, but not rendered: for tests of what stands around them."""
    monkeypatch.setattr(canvas, "to_svg", lambda *_: '<svg role="img"></svg>')


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Everything that a run can leave."""
    made = write_run(tmp_path / "outputs" / NAME / "ab12cd34ef")
    made.write_record("comparisons", comparisons(8))
    made.write_record("claims", claims(8))
    grown = gammas(8)
    made.write_tensors("weights", weights(grown[-1]))
    states = zip(SNAPSHOTS, map(weights, grown), strict=True)
    made.write_tensors("snapshots", {f"{s:08d}/{name}": t for s, state in states for name, t in state.items()})
    return made


class Page(HTMLParser):
    """A page as a browser reads it: its visible text, and the faults that a browser would hide."""

    def __init__(self, path: Path):
        super().__init__()
        self.path, self.open, self.ids, self.faults = path, [], [], []
        self.words: list[str] = []
        self.source = path.read_text()
        self.feed(self.source)
        self.close()
        self.faults += [f"<{tag}> is never closed" for tag in self.open]
        self.faults += [f"id {name!r} twice" for name in set(self.ids) if self.ids.count(name) > 1]
        references = re.findall(r'(?:href="#|url\(#)([\w.-]+)', self.source)
        self.faults += [f"no id {name!r}" for name in set(references) - set(self.ids)]
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href") and not (value or "").startswith(("#", "data:")):
                self.check_link(value or "")
        if tag == "script":
            self.faults.append("a script")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID and (not self.open or self.open.pop() != tag):
            self.faults.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        if not {"style", "title"} & set(self.open):
            self.words.append(data)

    def check_link(self, value: str) -> None:
        if not (self.path.parent / value).exists():
            self.faults.append(f"a link to {value!r}, which is not there")
