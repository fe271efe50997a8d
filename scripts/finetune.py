"""`scripts/lab finetune`: see icl/pipelines/finetune.py."""

from icl.config import main

if __name__ == "__main__":
    main("finetune", experiment="context_small_llama")()
