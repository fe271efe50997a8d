"""`scripts/lab list`: every experiment with its question, source, cost and last result."""

from icl.pipelines.catalogue import list_experiments, plain_main

if __name__ == "__main__":
    plain_main(list_experiments)
