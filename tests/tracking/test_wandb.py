"""The W&B mirror, run for real without a key and without a net, in a process and a home of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from command import SCRIPTS, finish, start
from icl.tracking.wandb import Wandb

PROGRAM = """
import json, sys
from pathlib import Path
from icl.tracking.wandb import Wandb

folder = Path(sys.argv[1]) / "ab12cd34ef"
folder.mkdir()
CURVE = {"kind": "line", "x_label": "step", "y_label": "loss", "x": [0, 1], "model": [[3, 2], [4, None]],
         "reference": [[3, 1]], "reference_label": "gd"}
tracker = Wandb(project="lab", group="sweep", tags=["cpu"])
config = {"seed": 3, "n_seeds": 2, "train": {"lr": 0.1}}
tracker.start(name="n", run_id=folder.name, config=config, folder=folder, command="reproduce")
tracker.log({"loss": [0.5, float("nan")]}, step=0)
tracker.log({"loss": [0.25, 0.75], "speed": 7}, step=10)
for name, content in {
    "claims.json": {"claims": [{"id": "loss", "bound": "<= 1", "worst": 0.3, "holds": True}]},
    "comparisons.json": {"numbers": {"gd/loss/loss_ratio": [1.5]}, "curves": {"gd/loss/by_step": CURVE}},
    "result.json": {"final_loss": [0.25, 0.75]},
}.items():
    (folder / name).write_text(json.dumps(content))
    tracker.artifact(folder / name)
(folder / "report.html").write_text("<!DOCTYPE html><title>r</title>")
tracker.artifact(folder / "report.html")
tracker.show("figures/Training", "<svg></svg>")
tracker.finish()
"""


def run(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program in an empty home, where no key can be found, without a terminal to ask at."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB") and key != "NETRC"}
    home = tmp_path / "home"
    home.mkdir()
    environment = kept | {"HOME": str(home), "WANDB_ERROR_REPORTING": "false"} | environment
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    closed = subprocess.DEVNULL
    return subprocess.run(
        command, env=environment, stdin=closed, capture_output=True, text=True, timeout=120, cwd=tmp_path
    )


def records(folder: Path) -> list[dict]:
    """What the only W&B run below `folder` holds, as `wandb leet` reads it back."""
    (file,) = folder.glob("wandb/offline-run-*-ab12cd34ef/run-ab12cd34ef.wandb")
    return inspected(file)


def inspected(file: Path) -> list[dict]:
    command = [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(file)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.slow
def test_without_a_key_it_is_offline_says_so_once_and_mirrors_everything(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (done.stdout.count("\n"), done.stderr) == (1, "")
    assert done.stdout.startswith("W&B: no API key found")
    found = records(tmp_path)
    (start,) = [record["run"] for record in found if record["type"] == "run"]
    assert (start["run_id"], start["project"], start["run_group"]) == ("ab12cd34ef", "lab", "sweep")
    assert start["job_type"] == "reproduce"
    (metric,) = [record["metric"] for record in found if record["type"] == "metric"]
    assert (metric["glob_name"], metric["summary"]) == ("loss/*", {"last": True, "min": True})
    assert start["config"]["update"]["train"] == {"lr": 0.1}
    history = [record["history"]["item"] for record in found if record["type"] == "history"]
    assert (history[0]["loss/seed_3"], history[0]["loss/seed_4"], history[0]["loss/median"]) == (
        0.5,
        "NaN",
        0.5,
    )
    assert (history[1]["_step"], history[1]["loss/median"], history[1]["speed"]) == (10, 0.5, 7)
    summary = {k: v for r in found if r["type"] == "summary" for k, v in r["summary"]["update"].items()}
    assert summary["gd/loss/loss_ratio/seed_4"] == 1.5
    assert summary["final_loss/median"] == 0.5
    assert summary["loss/seed_3"] == {"last": 0.25, "min": 0.25}
    (media,) = tmp_path.glob("wandb/offline-run-*/files/media")
    found = sorted(str(path.relative_to(media)).rsplit("_", 2)[0] for path in media.rglob("*.*"))
    assert found == ["html/figures/Training", "html/report", "table/claims", "table/curves/gd/loss/by_step"]
    (table,) = media.glob("table/curves/gd/loss/by_step*.json")
    assert json.loads(table.read_text())["data"] == [
        ["seed_3", 0, 3], ["seed_3", 1, 2], ["seed_4", 0, 4], ["seed_4", 1, None], ["gd", 0, 3], ["gd", 1, 1],
    ]  # fmt: skip


@pytest.mark.slow
def test_a_sweep_is_a_group_and_its_page_a_run_of_its_own(tmp_path):
    sweep = ("debug=tiny", "seed=0,2", "launcher=bank", "tracker=wandb", "paths.outputs=o")
    finished = finish(start("train", *sweep, cwd=tmp_path, WANDB_MODE="offline"))
    assert finished.code == 0, finished
    runs = []
    for file in tmp_path.glob("o/run/wandb/offline-run-*/run-*.wandb"):
        runs += [record["run"] for record in inspected(file) if record["type"] == "run"]
    (folder,) = tmp_path.glob("o/run/sweep-*")
    assert {run["run_group"] for run in runs} == {folder.name}
    assert sorted(run["job_type"] for run in runs) == ["sweep", "train", "train"]
    assert len(list(tmp_path.glob("o/run/wandb/offline-run-*/files/media/table/jobs*.json"))) == 1


@pytest.mark.slow
def test_the_sweep_file_drives_the_lab(tmp_path):
    """The line that W&B's agent would run, made by its own functions; the agent chooses the id of the run."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    sweep = yaml.safe_load((SCRIPTS / "wandb_sweep.yaml").read_text())
    assert set(sweep["parameters"]) == {"train.lr", "train.batch_size"}
    values = {"train.lr": {"value": 0.01}, "train.batch_size": {"value": 128}}
    macros = create_sweep_command_args({"args": values}) | {"env": ["/usr/bin/env"]}
    line = [word for part in sweep["command"] for word in macros.get(part.strip("${}"), [part])]
    assert line[-2:] == ["train.lr=0.01", "train.batch_size=128"]
    environment = os.environ | {"WANDB_SWEEP_ID": "s1", "WANDB_RUN_ID": "agents", "WANDB_MODE": "offline"}
    environment |= {"LAB_NO_INSTALL": "1", "LAB_PYTHON": sys.executable}
    small = ["train.steps=3", f"paths.outputs={tmp_path}"]
    done = subprocess.run([*line, *small], cwd=SCRIPTS.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("*/wandb/offline-run-*-agents/run-agents.wandb")
    found = inspected(file)
    (start,) = [record["run"] for record in found if record["type"] == "run"]
    assert start["config"]["update"]["train"]["batch_size"] == 128
    summary = {k for r in found if r["type"] == "summary" for k in r["summary"]["update"]}
    assert sweep["metric"]["name"] in summary


@pytest.mark.slow
def test_an_explicit_mode_is_obeyed_without_a_word(tmp_path):
    done = run(tmp_path, WANDB_MODE="offline")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert records(tmp_path)


def test_building_one_loads_and_writes_nothing(tmp_path):
    code = "import sys; import icl.tracking.wandb as t; t.Wandb(project='p'); assert 'wandb' not in sys.modules"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stderr, list(tmp_path.iterdir())) == (0, "", [])


def test_finish_before_start_is_nothing():
    Wandb(project="lab").finish()


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match=r"mode='on' must be online, offline, disabled or null"):
        Wandb(project="lab", mode="on")
