"""Boosted regression trees.

References:
    Friedman 2001, Greedy function approximation; Garg et al. 2022, arXiv:2208.01066 (boosting as a baseline).
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from icl.algorithms.fitted import Fitted


@dataclass(frozen=True, kw_only=True)
class GradientBoosting(Fitted):
    """scikit-learn's gradient boosting on the context; `shrinkage` is its learning rate. A step is a tree.

    The first tree corrects the mean label, so entry 1 is that mean and a share of one tree.
    """

    order_matters: ClassVar[bool] = True  # between splits that are equally good the order of the pairs decides

    n_trees: int = 50
    max_depth: int = 4
    shrinkage: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_trees < 1 or self.max_depth < 1 or not 0 < self.shrinkage <= 1:
            raise ValueError(
                f"n_trees={self.n_trees} and max_depth={self.max_depth} must be >= 1, "
                f"shrinkage={self.shrinkage} in (0, 1]"
            )

    @property
    def n_stages(self) -> int:
        return self.n_trees

    def stages(self, fitted: Any, query: np.ndarray) -> np.ndarray:
        return np.concatenate(list(fitted.staged_predict(query)))

    def regressor(self) -> Any:
        from sklearn.ensemble import GradientBoostingRegressor

        return GradientBoostingRegressor(
            n_estimators=self.n_trees, max_depth=self.max_depth, learning_rate=self.shrinkage, random_state=self.seed
        )
