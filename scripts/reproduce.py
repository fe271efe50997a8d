"""`scripts/lab reproduce`: see icl/pipelines/reproduce.py."""

from icl.config import main

if __name__ == "__main__":
    main("reproduce", experiment="one_layer_is_one_gd_step")()
