"""`scripts/lab explain experiment=NAME`: what an experiment asks, what it must show, and the formulas behind it."""

from icl.pipelines.catalogue import explain, plain_main

if __name__ == "__main__":
    plain_main(explain)
