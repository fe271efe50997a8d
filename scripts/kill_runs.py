"""`scripts/lab kill_runs n=200 seed=0`: trainings killed at random moments must resume to the same bits."""

import sys

from icl.benchmarks.faults import campaign

if __name__ == "__main__":
    asked = dict(argument.split("=") for argument in sys.argv[1:])
    sys.exit(1 if campaign(int(asked.get("n", 200)), int(asked.get("seed", 0))) else 0)
