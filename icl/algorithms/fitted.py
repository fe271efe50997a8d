"""Learners of scikit-learn, fitted anew to every context: Lasso, a decision tree, gradient boosting.

One fit a prompt: these are judges on a few hundred prompts, not parts of a hot path.
"""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from icl.algorithms.steps import one_answer
from icl.core import Prompt


class Fitted(ABC):
    """A regressor of scikit-learn fitted to the context. Entry 0 is 0, and so is the guess without any pair."""

    @abstractmethod
    def regressor(self) -> Any:
        """A fresh one, with `fit` and `predict`."""

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B"]:
        x, y, query = (t.flatten(0, 1).double().cpu().numpy() for t in (prompt.x, prompt.y, prompt.x_query))
        guesses = np.zeros(len(query))
        if x.shape[1] and steps != 0:
            with _unconverged_is_fine():
                for i in range(len(query)):
                    guesses[i] = self.regressor().fit(x[i], y[i]).predict(query[i : i + 1])[0]
        return one_answer(torch.from_numpy(guesses).to(prompt.x).view(prompt.x_query.shape[:2]), steps)


@contextmanager
def _unconverged_is_fine() -> Iterator[None]:
    """With fewer pairs than coordinates a penalised fit has no unique end, and scikit-learn says so each time."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=ConvergenceWarning)
        yield
