"""`scripts/lab identify`: see icl/pipelines/identify.py."""

from icl.config import main

if __name__ == "__main__":
    main("identify")()
