"""`scripts/lab compare`: see icl/pipelines/compare.py."""

from icl.config import main

if __name__ == "__main__":
    main("compare")()
