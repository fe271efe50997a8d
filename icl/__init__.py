"""The in-context-learning lab: which algorithm does a transformer run in its forward pass?

`icl.load(DIR)` opens a run folder. `icl/core.py` holds the one idea of the package; start there.
"""

from icl.runs import Run, load

__all__ = ["Run", "load"]
