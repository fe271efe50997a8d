"""`scripts/lab train`: see icl/pipelines/train.py."""

from icl.config import main

if __name__ == "__main__":
    main("train")()
