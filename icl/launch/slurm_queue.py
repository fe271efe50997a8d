"""What became of Slurm jobs, asked of the queue itself. Needs the extra `slurm`.

submitit asks `sacct`, which needs an accounting database that many clusters do not have, and without an answer it waits
for ever; it also takes a suspended job for an ended one, and one preempted for good for one that goes on. The queue
knows: what waits or runs stands in it, and what it has forgotten has ended.
"""

import subprocess
import time

from submitit.slurm.slurm import SlurmInfoWatcher

FORGOTTEN = "Invalid job id"  # what squeue says of one job that ended long ago
GONE = "gone from the queue"
ENDED = ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED",
         "REVOKED", "TIMEOUT", GONE)  # fmt: skip
COLUMNS = "JobID|State|NodeList"


class Queue(SlurmInfoWatcher):
    """The state of every job that was registered, by one call of `squeue` for all."""

    def command(self) -> list[str] | None:
        """None when no job is left to ask about."""
        asked = {job.split("_")[0] for job in self._registered - self._finished}
        if not asked:
            return None
        listed = ["--noheader", "--array", "--states=all", "--format=%i|%T|%N"]
        return ["squeue", *listed, f"--jobs={','.join(sorted(asked))}"]

    def update(self) -> None:
        """A queue that does not answer leaves what was known."""
        if (command := self.command()) is None:
            return
        self._num_calls += 1
        self._last_status_check = time.time()
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=120)
        except (OSError, subprocess.TimeoutExpired):
            return
        if said.returncode == 0 or FORGOTTEN in said.stderr:
            self.note(said.stdout)

    def note(self, listing: str) -> None:
        """Lines of squeue, `job|state|nodes` each; one of our jobs that is not among them has ended."""
        seen = self.read_info(f"{COLUMNS}\n{listing}") if listing.strip() else {}
        for job in self._registered - self._finished:
            self._info_dict[job] = seen.get(job, {"State": GONE})
            if self.is_done(job, mode="cache"):
                self._finished.add(job)

    def is_done(self, job_id: str, mode: str = "standard") -> bool:
        """Whether the job has ended; a preempted one that is queued again stands in the queue as pending."""
        return self.get_state(job_id, mode=mode) in ENDED
