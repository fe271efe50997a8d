"""`scripts/lab bench`: how fast the lab is on this machine, against its goals; `--help` says what can be asked."""

from icl.benchmarks.command import bench
from icl.pipelines.catalogue import plain_main

if __name__ == "__main__":
    plain_main(bench)
