"""What a listing of the queue means for a job."""

import subprocess

import pytest

pytest.importorskip("submitit", reason="needs the extra `slurm`")

from icl.launch.slurm_queue import FORGOTTEN, GONE, Queue


def queue(*jobs: str) -> Queue:
    one = Queue(delay_s=60)
    for job in jobs:
        one.register_job(job)
    return one


@pytest.mark.parametrize(
    ("state", "done"),
    [("PENDING", False), ("RUNNING", False), ("SUSPENDED", False), ("CONFIGURING", False), ("COMPLETING", False),
     ("REQUEUE_HOLD", False), ("COMPLETED", True), ("FAILED", True), ("CANCELLED", True), ("PREEMPTED", True),
     ("OUT_OF_MEMORY", True), ("NODE_FAIL", True), ("TIMEOUT", True)],
)  # fmt: skip
def test_suspended_jobs_go_on_and_those_preempted_for_good_have_ended(state, done):
    one = queue("7_0", "7_1")
    one.note(f"7_0|{state}|n1\n7_1|RUNNING|n2\n")
    assert one.is_done("7_0", mode="cache") == done
    assert not one.is_done("7_1", mode="cache")


def test_a_pending_range_of_an_array_is_all_its_jobs():
    one = queue("7_0", "7_3", "7_4")
    one.note("7_[3-4]|PENDING|\n7_0|RUNNING|n1\n")
    assert [one.get_state(f"7_{i}", mode="cache") for i in (0, 3, 4)] == ["RUNNING", "PENDING", "PENDING"]


def test_what_the_queue_has_forgotten_has_ended():
    one = queue("7", "8")
    one.note("7|RUNNING|n1\n")
    assert (one.get_state("8", mode="cache"), one.is_done("8", mode="cache")) == (GONE, True)
    assert one.command()[-1] == "--jobs=7"


@pytest.mark.parametrize(
    ("code", "err", "state"),
    [(1, "Unable to contact slurm controller", "RUNNING"), (1, FORGOTTEN, GONE), (0, "", GONE)],
)
def test_a_queue_that_does_not_answer_ends_nothing(code, err, state, monkeypatch):
    one = queue("7")
    one.note("7|RUNNING|n1\n")
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, code, "", err))
    one.update()
    assert one.get_state("7", mode="cache") == state
