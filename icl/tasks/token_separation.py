"""Sequences of random tokens with a label, one of whose tokens attention has to select.

References:
    Tarzanagh, Li, Zhang, Oymak 2023, Max-margin token selection in attention mechanism, arXiv:2306.13596
"""

from dataclasses import dataclass

from icl.core import Prompt, Sample
from icl.rng import Draw


@dataclass(frozen=True, kw_only=True)
class TokenSeparation:
    """T = `n_context` tokens of D numbers from N(0, I), and a label −1 or 1 with equal chances; the query is token 0.

    Tokens and label are independent: what is learned is which token of each training sequence to look at. With
    T − 1 constraints a sequence, D >= n (T − 1) makes every selection of n sequences separable with probability one;
    most selections are for much smaller D. Labels of the context do not exist: y has size 0.
    """

    dim: int
    n_context: int

    def __post_init__(self) -> None:
        for name, low in (("dim", 1), ("n_context", 2)):
            if getattr(self, name) < low:
                raise ValueError(f"{name}={getattr(self, name)} must be >= {low}")

    def sample(self, batch_size: int, draw: Draw) -> Sample:
        x = draw.normal(batch_size, self.n_context, self.dim)
        label = 2.0 * draw.integers(2, batch_size).to(draw.dtype) - 1
        return Sample(Prompt(x, x.new_zeros(*x.shape[:3], 0), x[:, :, 0]), label, None)
