"""Shards of a sweep as processes of this machine: one bank a core, which is how a CPU runs small models fastest."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from icl.launch.shards import Outcome, Ticket, cut, pack, work
from icl.training.jobs import Job


def over_processes(pipeline: str, jobs: Sequence[Job], n_processes: int | None) -> dict[str, Outcome]:
    """`work` on all jobs, in n processes (default: the cores that this process may use).

    A process that is killed fails its own jobs only. When this process ends, however it ends, the others stop with it
    and leave checkpoints.
    """
    n = n_processes or len(os.sched_getaffinity(0))
    members = sum(len(job.seeds) for job in jobs)
    shards = pack(cut(jobs, -(-members // n)), n)
    context = multiprocessing.get_context("spawn")
    running: dict[Any, tuple[Connection, list[Job]]] = {}
    for shard in shards:
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_worker, args=(theirs, pipeline, [Ticket.of(job) for job in shard]))
        process.start()
        theirs.close()
        running[process] = ours, shard
    print(f"sweep: {len(shards)} processes", flush=True)
    found: dict[str, Outcome] = {}
    try:
        for process, (connection, shard) in running.items():
            found |= _received(process, connection, shard)
    except KeyboardInterrupt:
        for process in running:
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, signal.SIGINT)
        for process in running:
            process.join()
        raise
    return found


def _received(process: Any, connection: Connection, shard: Sequence[Job]) -> dict[str, Outcome]:
    """What the process sends before it ends, or how it ended."""
    try:
        found = connection.recv()
    except EOFError:
        found = {}
    process.join()
    code = process.exitcode
    how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    lost = Outcome(error=f"its process was {how}; the same command resumes")
    return {job.key: found.get(job.key, lost) for job in shard}


def _worker(connection: Connection, pipeline: str, tickets: Sequence[Ticket]) -> None:
    from icl.config.interrupts import interruptible

    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with interruptible():
            connection.send(work(pipeline, tickets))
    except KeyboardInterrupt as stop:
        sys.exit(getattr(stop, "code", 130))


def _end_with_parent() -> None:
    """Nobody is left to hear of it: leave a checkpoint and end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
