"""Whatever is typed, a command either can run or says in one line why not; never a traceback, never a folder."""

import random
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from random_input import Wrong

from command import call
from icl.config import conf_dir, validate
from icl.config.app import message, register_schema
from icl.training.jobs import check_trainable, make_job

GIB = 2**30


@contextmanager
def memory_limit(size: int) -> Iterator[None]:
    """Absurd sizes are refused by the allocator, not by the kernel's killer."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def refusal(overrides: list[str]) -> str | None:
    """The line that a command prints about these overrides, None if they are valid; a bug is raised."""
    register_schema()
    try:
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose("lab", overrides=overrides)
        validate(cfg)
        check_trainable(cfg)
        make_job(cfg, overrides)
    except Exception as error:
        line = message(error)
        if line is None:
            raise
        return line
    return None


def judged(n: int, seed: int, folder: Path) -> tuple[dict[int, list[str]], list[str]]:
    """Case -> overrides of the valid ones, and the cases that were no clean refusal."""
    wrong = Wrong(seed)
    valid, bugs = {}, []
    for number in range(n):
        overrides = wrong.line(number, folder)
        try:
            line = refusal(overrides)
        except Exception as error:
            bugs.append(f"{number} {overrides}: {type(error).__name__}: {error}"[:300])
            continue
        if line is None:
            valid[number] = overrides
        elif "\n" in line or not line.strip():
            bugs.append(f"{number} {overrides}: {line!r}")
    return valid, bugs


def test_150_random_inputs(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with memory_limit(16 * GIB):
        valid, bugs = judged(150, 1, tmp_path / "conf")
    assert bugs == []
    assert 5 < len(valid) < 100
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["objective=answer_tokens"], "is for text"),
        (["objective=answer"], "is for text"),
        (["objective=cross_entropy"], "a guess and a target for every label"),
        (["task.w_covariance=''"], "w_covariance='' must be identity"),
        (["train.snapshot_at=${seed}"], "train.snapshot_at=0 must be a list"),
        (["plugins=${seed}"], "plugins=0 must be a list"),
        (["comparisons=${name}"], "comparisons='run' must be a mapping"),
        (["paths=${seed}"], "paths=0 must be a mapping"),
        (["model._target_={}"], "model._target_={} must be the name of a class"),
        (["experiment=icl_gains_on_sst2"], "a language model is not trained here"),
    ],
)
def test_what_random_inputs_have_found(overrides, words):
    assert words in (refusal(["debug=tiny", *overrides]) or "")


@pytest.mark.slow
def test_5000_random_inputs(tmp_path, monkeypatch, capsys):
    """And 50 of the valid ones run; 50 of the others exit with 2, one line, and leave nothing."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with memory_limit(16 * GIB):
        valid, bugs = judged(5000, 0, tmp_path / "conf")
    assert bugs == [], "\n".join(bugs)
    assert list((tmp_path / "here").iterdir()) == []
    wrong, numbers = Wrong(0), random.Random(0)
    refused = [number for number in range(5000) if number not in valid]
    for number in numbers.sample(refused, 50):
        finished = call(monkeypatch, capsys, "train", *wrong.line(number, tmp_path / "conf"))
        assert (finished.code, finished.err.count("\n")) == (2, 1), (number, finished)
        assert list((tmp_path / "here").iterdir()) == [], number
    here = [number for number, line in sorted(valid.items()) if not any("launcher=slurm" in o for o in line)]
    for number in numbers.sample(here, 50):
        overrides = wrong.line(number, tmp_path / "conf")
        finished = call(monkeypatch, capsys, "train", *overrides, f"paths.outputs={tmp_path / 'runs'}")
        clean = finished.code in (0, 1) or (finished.code, finished.err.count("\n")) == (2, 1)  # plugins in a file
        assert clean, (number, overrides, finished)
        assert "Traceback" not in finished.err
