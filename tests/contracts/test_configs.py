"""Every option composes, validates and builds; every experiment runs two steps; names agree."""

import importlib
import inspect

import pytest
from omegaconf import OmegaConf

from icl.config import conf_dir, validate
from icl.config.build import ROOMS, locate
from icl.pipelines.reproduce import checked_claims
from icl.pipelines.reproduce import run as reproduce
from options import composed, fitting, options, target

PACKAGE = conf_dir().parent / "icl"
GROUPS = {"task": "tasks", "model": "models", "algorithm": "algorithms", "objective": "objectives",
          "comparison": "comparisons", "probe": "probes", "tracker": "tracking"}  # fmt: skip
METHOD = {"tasks": "sample", "models": "forward", "algorithms": "__call__", "objectives": "__call__",
          "comparisons": ("measure", "measure_runs"), "probes": ("measure", "measure_run"),
          "tracking": "log"}  # fmt: skip


def components(room: str) -> set[str]:
    """Modules whose concrete class of the same name does what the room is for; the others are parts of those."""
    found = set()
    for path in (PACKAGE / room).glob("*.py"):
        kind = getattr(importlib.import_module(f"icl.{room}.{path.stem}"), camel_case(path.stem), None)
        methods = METHOD[room] if isinstance(METHOD[room], tuple) else (METHOD[room],)
        concrete = inspect.isclass(kind) and not (inspect.isabstract(kind) or getattr(kind, "_is_protocol", False))
        if concrete and any(hasattr(kind, method) for method in methods):
            found.add(path.stem)
    return found


def camel_case(stem: str) -> str:
    return "".join(word.capitalize() for word in stem.split("_"))


@pytest.mark.parametrize("option", options("task"))
def test_tasks_build(option):
    validate(fitting("task", option))


@pytest.mark.parametrize("option", options("model"))
def test_models_build(option):
    validate(fitting("model", option))


@pytest.mark.parametrize("option", options("train"))
def test_recipes_are_valid(option):
    validate(composed(f"train={option}"))


@pytest.mark.parametrize("option", options("objective"))
def test_objectives_build(option):
    validate(fitting("objective", option))


@pytest.mark.parametrize("option", options("tracker"))
def test_trackers_build(option):
    validate(composed(f"tracker={option}"))


@pytest.mark.parametrize("option", options("comparison"))
def test_comparisons_build(option):
    validate(fitting("+comparison@comparisons.c", option))


@pytest.mark.parametrize("option", options("probe"))
def test_probes_build(option):
    validate(fitting("+probe@probes.p", option))


@pytest.mark.parametrize("option", options("algorithm"))
def test_algorithms_build(option):
    validate(fitting("+algorithm@references.a", option))


def small_parts(name):
    """Language models here are random ones of a few thousand numbers; real ones are the tests' marked `llm`."""
    cfg = composed(f"experiment={name}")
    if "pretrained" in cfg.model:
        sizes = ("task.n_letters=2", "task.n_levels=2", "task.n_characters=4")
        return ("model.pretrained=tiny", "model.trained_layers=null", "accelerate.sharding=none", *sizes)
    return ("model=causal_lm_tiny", "task=label_words_tiny", "task.n_demos=2") if "llm" in cfg.tags else ()


def by_cost(name: str) -> object:
    """Two steps at the sizes of a GPU take long on a CPU."""
    tags = OmegaConf.load(conf_dir() / "experiment" / f"{name}.yaml").get("tags", [])
    return pytest.param(name, marks=pytest.mark.slow) if "gpu" in tags else name


@pytest.mark.filterwarnings("ignore::icl.theory.stability.UnstableSteps")  # after two steps everything diverges
@pytest.mark.parametrize("name", [by_cost(name) for name in options("experiment")])
def test_every_experiment_runs_two_steps(name, tmp_path, monkeypatch):
    cfg = composed(f"experiment={name}", "debug=tiny", f"paths.outputs={tmp_path}", *small_parts(name))
    validate(cfg)
    for node in cfg.references.values():  # trainings beside have as few steps as the run
        if "steps" in (node.get("train") or {}):
            node.train.steps = cfg.train.steps
    if "gpu" in cfg.tags and "width" in cfg.model:  # the sizes of a GPU are only slow here
        cfg.model.width = 2 * cfg.model.n_heads
    monkeypatch.setattr("icl.pipelines.reproduce.write_report", lambda folder: folder.path / "report.html")
    assert cfg.name == name
    assert checked_claims(cfg)
    from icl.config import JobFailed

    try:
        reproduce(cfg)
    except JobFailed as failure:  # two steps prove nothing; that they are judged is the test
        assert "claims hold over 2 seeds" in str(failure)  # noqa: PT017
    assert (tmp_path / name / "latest" / "claims.json").exists()


@pytest.mark.parametrize("name", options("experiment"))
def test_every_experiment_says_what_it_asks(name):
    head = (conf_dir() / "experiment" / f"{name}.yaml").read_text()
    for word in ("# Question  ", "# Source    ", "# Expect    ", "# Cost      ", f"experiment={name}"):
        assert word in head
    assert OmegaConf.load(conf_dir() / "experiment" / f"{name}.yaml").get("question")


@pytest.mark.parametrize("group", [g for g in GROUPS if options(g)])
def test_a_file_is_called_like_its_module_and_every_module_has_one(group):
    found = set()
    for option in options(group):
        module = target(group, option).split(".")[2]
        found.add(module)
        locate(group, target(group, option))
    assert components(GROUPS[group]) <= found
    assert set(GROUPS.values()) <= set(ROOMS)
