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

from icl.core import Prompt


class Fitted(ABC):
    """A regressor of scikit-learn fitted to the context. Entry 0 is 0, and so is the guess without any pair."""

    @abstractmethod
    def regressor(self) -> Any:
        """A fresh one, with `fit` and `predict`."""

    @property
    def n_stages(self) -> int:
        """The steps of a trajectory."""
        return 1

    def stages(self, fitted: Any, query: np.ndarray) -> np.ndarray:
        """The guess at one query after steps 1..n_stages."""
        return fitted.predict(query)

    def __call__(self, prompt: Prompt, *, steps: int | None = None) -> Float[Tensor, "T #M B"]:
        steps = self.n_stages if steps is None else steps
        if not 0 <= steps <= self.n_stages:
            raise ValueError(f"steps={steps} must be in 0..{self.n_stages}")
        x, y, query = (t.flatten(0, 1).double().cpu().numpy() for t in (prompt.x, prompt.y, prompt.x_query))
        guesses = np.zeros((steps + 1, len(query)))
        if x.shape[1] and steps:
            with _unconverged_is_fine():
                for i in range(len(query)):
                    fitted = self.regressor().fit(x[i], y[i])
                    guesses[1:, i] = self.stages(fitted, query[i : i + 1])[:steps]
        return torch.from_numpy(guesses).to(prompt.x).view(-1, *prompt.x_query.shape[:2])


@contextmanager
def _unconverged_is_fine() -> Iterator[None]:
    """With fewer pairs than coordinates a penalised fit has no unique end, and scikit-learn says so each time."""
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", category=ConvergenceWarning)
        yield
