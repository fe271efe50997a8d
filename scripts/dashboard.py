"""`scripts/lab dashboard experiment=NAME`: a W&B dashboard and report of an experiment, to a file or to an account."""

from icl.pipelines.catalogue import plain_main
from icl.pipelines.dashboard import dashboard

if __name__ == "__main__":
    plain_main(dashboard)
