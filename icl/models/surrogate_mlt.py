"""The surrogate of a transformer that translates: one column-softmax a level, over the context and the weights alike.

References:
    Zhu, Panigrahi, Arora 2025, On the power of context-enhanced learning in LLMs, arXiv:2503.01821, Def. 5.2
"""

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from icl.models.arguments import at_least_one
from icl.models.first_values import draw_normal
from icl.rng import Draw
from icl.tasks.phrasebooks import Rules, shift

TINY = 1e-10  # added to a probability before its logarithm, as in the source


class SurrogateMlt(nn.Module):
    """d levels, the columns of V_l being distributions over the n² pairs at each position:

        V_l = softmax_columns(τ (C_l + W_l)) Shift(V_{l−1}),    Shift(V)[(x, y), p] = second(V_p)[x] first(V_{p+1})[y]

    C_l holds the rules that the prompt shows, C_l[π(c), c] = 1, and W_l, (M, n², n²), is trained; first and second are
    the marginals of a pair's letters, p is circular. So W = 0 reads the context, and W_l = the book needs none.
    A guess is log(V + 1e-10), "M B P n²"; entry 0 of a trajectory is the source itself. First values are N(0, 1)/n; an
    update clips what it trained to [0, 1].

    `layer_wise`: only the books of which a rule is missing in the prompts are trained.
    """

    reads: ClassVar[str] = "text"
    W: Tensor
    marginals: Tensor

    def __init__(
        self,
        *,
        n_letters: int,
        n_levels: int,
        temperature: float = 25.0,
        layer_wise: bool = False,
        n_seeds: int = 1,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        at_least_one(n_letters=n_letters, n_levels=n_levels, n_seeds=n_seeds)
        if not temperature > 0:
            raise ValueError(f"temperature={temperature} must be > 0 (τ, which multiplies)")
        self.n_letters, self.n_levels, self.n_seeds = n_letters, n_levels, n_seeds
        self.temperature, self.layer_wise = temperature, layer_wise
        n2 = n_letters**2
        self.W = nn.Parameter(torch.zeros(n_seeds, n_levels, n2, n2, device=device, dtype=dtype))
        self.register_buffer("marginals", marginals(n_letters).to(self.W), persistent=False)
        self._trained = torch.tensor(True)  # of layer-wise training: the books that the last prompts train

    @torch.no_grad()
    def reset(self, draw: Draw) -> None:
        """First values, those of a member a function of its own seed alone."""
        draw_normal([self.W], draw, 1 / self.n_letters)

    @torch.no_grad()
    def project_(self) -> None:
        """What was trained back to the allowed weights, [0, 1]; the trainer calls it after every update."""
        self.W.copy_(torch.where(self._trained, self.W.clamp(0, 1), self.W) if self.layer_wise else self.W.clamp(0, 1))

    def forward(self, prompt: Rules, *, steps: int | None = None) -> Float[Tensor, "T M B P V"]:
        """The guesses after 0..steps levels."""
        steps = self.n_levels if steps is None else steps
        if not 0 <= steps <= self.n_levels:
            raise ValueError(f"steps={steps} must be in 0..{self.n_levels}, the levels")
        source = one_hot(prompt.source, self.W).expand(self.n_seeds, *prompt.source.shape[1:], -1)
        books = self.books(prompt).mT.unbind(2)
        levels = [pairs @ book for book, pairs in zip(books[:steps], self._asked(prompt, books))]
        return torch.stack([(V + TINY).log() for V in (source, *levels)])

    def last(self, prompt: Rules) -> Float[Tensor, "M B P V"]:
        """The guess of the last level."""
        books = self.books(prompt).mT.unbind(2)
        *_, pairs = self._asked(prompt, books)
        return (pairs @ books[-1] + TINY).log()

    def _asked(self, prompt: Rules, books: Sequence[Tensor]) -> Iterator[Float[Tensor, "M B P V"]]:
        """Shift(V_0) .. Shift(V_{d−1}), what each of the books, (M, B, n², n²) and transposed, is asked for.

        A level is one product with a table twice as wide: V's marginals are linear, so they are taken of the book.
        """
        pairs = one_hot(shift(prompt.source, self.n_letters), self.W)
        pairs = pairs.expand(self.n_seeds, *pairs.shape[1:])
        yield pairs
        for book in books[:-1]:
            second, first = (pairs @ (book @ self.marginals)).chunk(2, -1)
            pairs = second * first.roll(-1, -2)
            yield pairs

    def books(self, prompt: Rules) -> Float[Tensor, "M B d n2 n2"]:
        """softmax(τ (C + W)): column c is what pair c is translated to."""
        C = self.context(prompt)
        W = self.W[:, None]
        if self.layer_wise:
            missing = C.sum((-2, -1), keepdim=True) < self.n_letters**2
            self._trained = missing.any(1)
            W = torch.where(missing, W, W.detach())
        return (self.temperature * (C + W)).softmax(-2)

    def context(self, prompt: Rules) -> Float[Tensor, "#M B d n2 n2"]:
        """C: the rules that are shown, as matrices."""
        n2 = self.n_letters**2
        level, key = prompt.keys // n2, prompt.keys % n2
        at = (level * n2 + prompt.values) * n2 + key
        flat = torch.zeros(*prompt.keys.shape[:2], self.n_levels * n2 * n2).to(self.W)
        return flat.scatter_(2, at, prompt.shown.to(flat)).view(*prompt.keys.shape[:2], self.n_levels, n2, n2)


def one_hot(codes: Int[Tensor, "M B P"], like: Tensor) -> Float[Tensor, "M B P V"]:
    """Certain pairs as distributions."""
    return nn.functional.one_hot(codes, like.shape[-1]).to(like)


def marginals(n: int) -> Float[Tensor, "V U"]:
    """Two tables side by side: V times them is second(V)[x] and first(V)[y], for every pair (x, y)."""
    eye = torch.eye(n)
    second = eye.repeat(n, 1).repeat_interleave(n, 1)  # [(a, b), (x, y)] = 1 where b = x
    first = torch.kron(eye, torch.ones(n, 1)).repeat(1, n)  # 1 where a = y
    return torch.cat([second, first], 1)
