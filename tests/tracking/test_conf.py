"""The options of the group `tracker`: they compose, obey the environment, and build."""

import pytest
from omegaconf import OmegaConf

from icl.config import build, conf_dir
from icl.tracking.null import Null
from icl.tracking.wandb import Wandb


def node(name: str):
    cfg = OmegaConf.create({"tags": ["cpu"], "tracker": OmegaConf.load(conf_dir() / "tracker" / f"{name}.yaml")})
    return cfg.tracker


def test_none_is_the_null_tracker():
    assert isinstance(build(node("none")), Null)


@pytest.mark.parametrize("entity", [None, "team"])
def test_wandb_takes_project_and_entity_from_the_environment(monkeypatch, entity):
    monkeypatch.delenv("WANDB_ENTITY", raising=False)
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    if entity:
        monkeypatch.setenv("WANDB_ENTITY", entity)
    tracker = build(node("wandb"))
    assert isinstance(tracker, Wandb)
    assert (tracker.project, tracker.entity, tracker.tags, tracker.mode) == ("mine", entity, ("cpu",), None)
