"""How an identification is asked: how many prompts, which places, which candidates, and what a name takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

LEAST_PROMPTS = 32  # fewer do not carry a bootstrap


@dataclass(frozen=True, kw_only=True)
class Question:
    """How candidates are fitted and judged. `also` are further candidates, predictors under their names."""

    n_fit: int = 256
    n_prompts: int = 1000
    positions: Literal["auto", "every", "query"] = "auto"
    learners: bool = True  # also those that see no spectrum: neighbours, kernels, Lasso, trees
    quick: bool = False  # only candidates of at most one open number, to see that all of it runs
    least_margin: float = 0.1  # by which a runner-up's distance must exceed the best one's
    most_gain: float = (
        0.02  # of that distance, that does not matter: a fit may miss it, and no freedom is needed for it
    )
    most_unexplained: float = 0.1  # of E y², by a candidate that may be named
    also: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("n_prompts", "n_fit"):
            if getattr(self, name) < LEAST_PROMPTS:
                raise ValueError(f"{name}={getattr(self, name)} must be >= {LEAST_PROMPTS}: the bootstrap is over them")
        if self.positions not in ("auto", "every", "query"):
            raise ValueError(f"positions={self.positions} must be auto, every or query")
        for name in ("least_margin", "most_gain", "most_unexplained"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)} must be >= 0")

    def every(self, task: Any) -> bool:
        """Whether all positions are judged: those that the model was trained on."""
        if self.positions == "auto":
            return getattr(task, "positions", "query") == "every"
        return self.positions == "every"
