"""`scripts/lab probe`: see icl/pipelines/probe.py."""

from icl.config import main

if __name__ == "__main__":
    main("probe", experiment="icl_behaves_like_finetuning")()
