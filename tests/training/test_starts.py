"""A run that goes on from another: found or trained first, a part of its identity, the same weights at step 0."""

import pytest
import torch

import icl
from command import call
from icl.config import ConfigError, identity, validate
from icl.pipelines.train import trained_beside, trained_job
from options import composed

SMALL = (
    "model.dim=2",
    "task.dim=2",
    "task.n_context=3",
    "train.steps=3",
    "train.batch_size=4",
    "progress=false",
    "name=s",
)
BEFORE = "start={train:{steps:2,lr:0.5},objective:{unit:mse}}"


def run_of(*overrides):
    cfg = composed(*SMALL, *overrides)
    validate(cfg)
    job, mirror = trained_job(cfg)
    mirror.close()
    return icl.load(job.folder.path)


@pytest.mark.parametrize("large", [(), ("accelerate=multi_cpu",)])
def test_a_run_begins_with_the_weights_that_the_run_before_it_ended_with(tmp_path, large):
    outputs = f"paths.outputs={tmp_path}"
    run = run_of(outputs, "n_seeds=2", BEFORE, *large)
    before = run_of(outputs, "n_seeds=2", "train.steps=2", "train.lr=0.5", "objective.unit=mse", *large)
    assert len([path for path in (tmp_path / "s").iterdir() if not path.is_symlink()]) == 2  # the start was found
    first = dict(run.snapshots())[0].state_dict()
    for name, value in before.model.state_dict().items():
        assert torch.equal(first[name], value)
    assert not torch.equal(run.model.state_dict()[next(iter(first))], first[next(iter(first))])


def test_a_start_of_one_member_is_that_of_every_member(tmp_path):
    start = run_of(f"paths.outputs={tmp_path}")
    run = run_of(f"paths.outputs={tmp_path}", "n_seeds=3", f"start={start.folder.path}")
    first = dict(run.snapshots())[0].state_dict()
    for name, value in start.model.state_dict().items():
        assert torch.equal(first[name], value.expand_as(first[name]))


def test_the_start_is_a_part_of_what_a_run_is(tmp_path):
    ids = {identity(composed(*SMALL, *more)) for more in ((), (BEFORE,), (BEFORE, "start.train.lr=0.4"))}
    assert len(ids) == 3
    assert identity(composed(*SMALL, "start=null")) == identity(composed(*SMALL))
    start = run_of(f"paths.outputs={tmp_path}")
    by_link = composed(*SMALL, f"start={start.folder.path.with_name('latest')}")
    assert identity(by_link) == identity(composed(*SMALL, f"start={start.folder.path}"))


def test_two_members_cannot_start_three(tmp_path):
    start = run_of(f"paths.outputs={tmp_path}", "n_seeds=2")
    with pytest.raises(ConfigError, match=r"has 2 members, this run 3 \(allowed: 1 or as many\)"):
        run_of(f"paths.outputs={tmp_path}", "n_seeds=3", f"start={start.folder.path}")


def test_weights_of_another_model_are_refused(tmp_path):
    start = run_of(f"paths.outputs={tmp_path}")
    with pytest.raises(ValueError, match="start: its weights do not fit this model"):
        run_of(f"paths.outputs={tmp_path}", f"start={start.folder.path}", "model.n_layers=2")


def test_a_run_beside_another_has_the_same_start_though_its_task_changes(tmp_path):
    run = run_of(f"paths.outputs={tmp_path}", BEFORE)
    other = trained_beside(run, {"task": {"noise_std": 1.0}}, "references.x")
    assert other.task.noise_std == 1.0
    assert other.config.task.n_context == 3
    mine, its = (dict(r.snapshots())[0].state_dict() for r in (run, other))
    assert all(torch.equal(mine[name], its[name]) for name in mine)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["start=nowhere"], ["start=nowhere", "no finished run"]),
        (["start=3"], ["start=3", "folder"]),
        (["start={trian:{lr:1}}"], ["start.trian", "train"]),
        (["start={train:{lr:-1}}"], ["train.lr=-1", ">= 0"]),
        (["++train.ramp={task.dropuot:{0:0.0}}"], ["train.ramp.task.dropuot"]),
        (["++train.ramp={task.noise_std:{0:high}}"], ["train.ramp.task.noise_std", "finite numbers"]),
        (["++train.ramp={task.noise_std:{0:-1.0}}"], ["noise_std=-1.0"]),
    ],
)
def test_bad_input(overrides, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    finished = call(monkeypatch, capsys, "train", *overrides)
    assert finished.code == 2, finished
    assert finished.err.count("\n") == 1, finished.err
    for word in words:
        assert word in finished.err
    assert list(tmp_path.iterdir()) == []


def test_a_ramp_is_linear_between_its_steps():
    from icl.config import Train
    from icl.objectives.last import Last
    from icl.tasks.linear_regression import LinearRegression
    from icl.training.curricula import Curriculum

    train = Train(ramp={"task.noise_std": {10: 0.0, 30: 1.0}}, curriculum={"task.n_context": {20: 7}})
    curriculum = Curriculum(train, task=LinearRegression(dim=2, n_context=3), objective=Last())
    found = [curriculum.at(step)[0] for step in (0, 10, 15, 20, 30, 99)]
    assert [task.noise_std for task in found] == [0.0, 0.0, 0.25, 0.5, 1.0, 1.0]
    assert [task.n_context for task in found] == [3, 3, 3, 7, 7, 7]
