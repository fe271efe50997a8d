"""What `scripts/bench.py` measures: one module a workload, all timed in pairs on one thread."""
