"""A finished run of objects instead of files, for probes that look into one."""

from pathlib import Path
from types import SimpleNamespace

from icl.runs import Run, RunFolder


class Opened(Run):
    """`states` are its snapshots by step, the last one the trained model."""

    def __init__(self, task, states, seeds=(0,), **train):
        super().__init__(RunFolder(Path("nowhere")))
        fields = {"n_batches": 1, "batch_size": 50, "stream": "own", "data_seed": 0, "lr": 1.0} | train
        self.__dict__.update(task=task, model=states[max(states)], states=states, seeds=list(seeds),
                             config=SimpleNamespace(train=SimpleNamespace(**fields)))  # fmt: skip

    @property
    def result(self):
        return {"seeds": self.seeds}

    def snapshots(self):
        yield from self.states.items()
