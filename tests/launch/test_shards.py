"""How a sweep is cut: every job once, no shard too large, and an interrupted bank whole."""

import pytest

from icl.atomic import write_json
from icl.launch.shards import Ticket, cut, pack
from icl.training.bank_folders import MEMBERS, bank_folder
from icl.training.jobs import make_job
from options import composed


def jobs(tmp_path, *settings: str):
    return [make_job(composed("task.dim=3", f"paths.outputs={tmp_path}", *one.split())) for one in settings]


def sizes(pieces) -> list[int]:
    return [sum(len(job.seeds) for job in piece) for piece in pieces]


@pytest.mark.parametrize("largest", [0, 1, 2, 3, 100])
def test_every_job_is_in_one_piece_and_no_piece_is_too_large(largest, tmp_path):
    all_jobs = jobs(tmp_path, *(f"seed={s} task.n_context={n}" for s in range(5) for n in (4, 6)))
    pieces = cut(all_jobs, largest)
    assert sorted(job.key for piece in pieces for job in piece) == sorted(job.key for job in all_jobs)
    assert max(sizes(pieces)) <= max(largest, 1)
    assert all(len({job.signature for job in piece}) == 1 for piece in pieces)
    assert len(pieces) == {0: 10, 1: 10, 2: 6, 3: 4, 100: 2}[largest]


def test_an_interrupted_bank_stays_whole(tmp_path):
    all_jobs = jobs(tmp_path, *(f"seed={s}" for s in range(6)))
    keys = [job.key for job in all_jobs[:4]]
    folder = bank_folder(tmp_path, keys)
    folder.mkdir(parents=True)
    write_json(folder / MEMBERS, keys)
    assert sorted(sizes(cut(all_jobs, 1))) == [1, 1, 4]


def test_the_same_job_twice_is_one(tmp_path):
    assert sizes(cut(jobs(tmp_path, "seed=1", "seed=1"), 1)) == [1]


def test_shards_are_about_equal(tmp_path):
    pieces = [[job] for job in jobs(tmp_path, "n_seeds=4", "n_seeds=3 seed=9", "n_seeds=2 seed=20", "n_seeds=1")]
    assert sorted(sizes(pack(pieces, 2))) == [5, 5]
    assert len(pack(pieces, 99)) == 4


def test_a_ticket_is_the_job(tmp_path):
    (job,) = jobs(tmp_path, "seed=3 train.lr=1e-3")
    again = Ticket.of(job).job()
    assert (again.key, again.seeds, again.signature) == (job.key, job.seeds, job.signature)
