"""A greedily grown regression tree.

References:
    Breiman et al. 1984, CART; Garg et al. 2022, arXiv:2208.01066 (depth 4 and unlimited).
"""

from dataclasses import dataclass
from typing import Any

from icl.algorithms.fitted import Fitted


@dataclass(frozen=True, kw_only=True)
class DecisionTree(Fitted):
    """scikit-learn's tree on the context; `max_depth` null grows until the leaves are pure."""

    max_depth: int | None = 4
    seed: int = 0  # breaks ties between equally good splits

    def __post_init__(self) -> None:
        if self.max_depth is not None and self.max_depth < 1:
            raise ValueError(f"max_depth={self.max_depth} must be >= 1, or null")

    def regressor(self) -> Any:
        from sklearn.tree import DecisionTreeRegressor

        return DecisionTreeRegressor(max_depth=self.max_depth, random_state=self.seed)
