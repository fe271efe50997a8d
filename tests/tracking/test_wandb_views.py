"""Dashboard and report as code: built without an account, with every claim in them."""

import json

import pytest

pytest.importorskip("wandb_workspaces", reason="needs the extra `wandb-report`")

from icl.config import ConfigError
from icl.pipelines.dashboard import dashboard, shown_of
from icl.tracking import wandb_views as views

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style")  # by the library, when it is imported
NAME = "one_layer_is_one_gd_step"


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> dict:
    file = tmp_path_factory.mktemp("views") / "d.json"
    dashboard([f"experiment={NAME}", f"file={file}", "entity=team", "project=lab"])
    return json.loads(file.read_text())


def test_both_views_are_in_the_file_and_name_their_project(written):
    assert set(written) == {"workspace", "report"}
    assert (written["workspace"]["entity"], written["workspace"]["project"]) == ("team", "lab")
    assert written["report"]["project"]["entityName"] == "team"


@pytest.mark.parametrize("view", ["workspace", "report"])
def test_every_claim_is_shown_with_the_key_that_a_run_has(view, written):
    text = json.dumps(written[view])
    for metric in shown_of(NAME).metrics:
        assert f"{metric}/median" in text
    for key in ("loss/median", views.FINAL, "claims", "train.value.lr", views.PER_SEED, NAME):
        assert key in text


def panels(node):
    if isinstance(node, dict):
        if "layout" in node and "viewType" in node:
            yield node
        for value in node.values():
            yield from panels(value)
    elif isinstance(node, list):
        for value in node:
            yield from panels(value)


def test_no_two_panels_of_a_report_overlap(written):
    grids = [b for b in written["report"]["spec"]["blocks"] if b["type"] == "panel-grid"]
    assert len(grids) == 4
    for grid in grids:
        taken = set()
        for panel in panels(grid):
            at = panel["layout"]
            cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
            assert not taken & cells
            taken |= cells


def test_creating_one_without_a_key_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(ConfigError, match=r"^W&B did not take it: .*\Z"):
        dashboard([f"experiment={NAME}", "create=true", "entity=team"])


@pytest.mark.parametrize(
    ("argument", "line"),
    [("experiment=nosuch", "does not exist"), ("experimnt=x", "did you mean 'experiment'"), ("x", "'x' is unknown"),
     ("create=maybe", "must be true or false"), ("create=true", "needs entity=NAME")],
)  # fmt: skip
def test_bad_arguments_are_one_line(argument, line):
    with pytest.raises(ConfigError, match=line):
        dashboard([f"experiment={NAME}", argument])
