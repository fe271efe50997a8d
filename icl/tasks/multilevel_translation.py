"""Multi-level translation, MLT(d, n): strings that d phrasebooks translate one after the other.

References:
    Zhu, Panigrahi, Arora 2025, On the power of context-enhanced learning in LLMs, arXiv:2503.01821
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from icl.core import Sample
from icl.rng import Draw
from icl.tasks.phrasebooks import Rules, check_phrasebooks, draw_books, listed, outputs, strings

BOOKS, POOL, HELD_OUT = "phrasebooks", "pool", "held out"  # streams that a member reads once and for all


@dataclass(frozen=True, kw_only=True)
class MultilevelTranslation:
    """A prompt is d phrasebooks, rule by rule, and a source string; the target are the strings of all levels.

        s_0 = source,   s_l = π_l(shift(s_{l−1})),   shift(s)_p = (second letter of s_p, first of s_{p+1}), circular

    Strings are P = n_characters / 2 pairs of letters; π_l: A_l² → A_{l+1}² is a bijection, n² rules (Def. 4.1). The
    target is "#M B d P", codes first · n + second; the answer is its last level. A step of a predictor is a level.

    The phrasebooks belong to a seed (`books="fixed"`: what a training can put into weights), or to a prompt ("fresh":
    what it can only read). `phrasebooks` states them, as d lists of n² codes. The curriculum of Def. 2.1:
        dropout       each rule is left out of the prompt with this probability: 0 no dropout, 1 no context (SFT);
                      `train.ramp` anneals it
        one_by_one    instead: at training step s rule s mod n² of book ⌊s/n²⌋ mod d is left out, and nothing else
        wrong         the rules shown have their values permuted anew in every prompt
    A rule left out keeps its place, so that a prompt says which book it belongs to, and nothing else.
    `pool`: training reads this many strings a seed, again and again. `held_out` rules of book 1 are never needed.
    `letters`: a prompt uses that many random letters of each alphabet, and has as few rules.
    """

    n_letters: int
    n_levels: int
    n_characters: int
    books: Literal["fixed", "fresh"] = "fixed"
    dropout: float = 0.0
    one_by_one: bool = False
    wrong: bool = False
    pool: int | None = None
    held_out: int = 0
    letters: int | None = None
    phrasebooks: Sequence[Sequence[int]] | None = None
    reads: ClassVar[str] = "text"
    own_law: ClassVar[bool] = True  # seeds differ in their phrasebooks, so each is judged on its own prompts

    def __post_init__(self) -> None:
        n2 = self.n_letters**2
        for name, least in {"n_letters": 2, "n_levels": 1, "n_characters": 4, "held_out": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} must be >= {least}")
        if self.n_characters % 2:
            raise ValueError(f"n_characters={self.n_characters} must be even: phrasebooks translate pairs of letters")
        if self.books not in ("fixed", "fresh"):
            raise ValueError(f"books={self.books!r} must be fixed or fresh")
        if not 0 <= self.dropout <= 1:
            raise ValueError(f"dropout={self.dropout} must be in [0, 1]: a share of the rules")
        if self.pool is not None and self.pool < 1:
            raise ValueError(f"pool={self.pool} must be >= 1 strings, or null")
        if self.held_out >= n2:
            raise ValueError(f"held_out={self.held_out} must leave a rule of the n_letters² = {n2}")
        fresh_only = self.letters is not None and (self.books == "fixed" or self.held_out or self.pool)
        if fresh_only or not (self.letters is None or 2 <= self.letters <= self.n_letters):
            raise ValueError(
                f"letters={self.letters} must be in 2..n_letters={self.n_letters}, or null; with fresh books"
            )
        if self.phrasebooks is not None:
            check_phrasebooks(self.phrasebooks, n_levels=self.n_levels, n_pairs=n2)
            if self.books == "fresh":
                raise ValueError("phrasebooks are stated, so books=fresh must be books=fixed")

    @property
    def n_pairs(self) -> int:
        """n²: the rules of a book, and the values of a pair."""
        return self.n_letters**2

    @property
    def length(self) -> int:
        """P, the pairs of a string."""
        return self.n_characters // 2

    def sample(self, batch_size: int, draw: Draw) -> Sample:
        """Prompts of the members of `draw`, and the strings of all levels as the target."""
        k, d = self.letters or self.n_letters, self.n_levels
        alphabets = self._alphabets(batch_size, draw)
        books = self._books(batch_size, draw, alphabets)
        source = self._strings(batch_size, draw, alphabets)
        keys = listed(alphabets, self.n_letters)[:, :, :d].expand(len(draw.seeds), batch_size, -1, -1)
        order = draw.uniform(batch_size, d * k * k).argsort(-1)
        told = self._wrongly(books, keys, draw) if self.wrong else books
        values = told.expand(*keys.shape[:3], -1).gather(3, keys).flatten(2)
        codes = (keys + self.n_pairs * torch.arange(d, device=keys.device)[:, None]).flatten(2).gather(2, order)
        prompt = Rules(codes, values.gather(2, order), self._shown(codes, draw), source)
        return Sample(prompt, outputs(books, source, self.n_letters), None)

    def fixed_books(self, draw: Draw) -> Int[Tensor, "M d n2"]:
        """The phrasebooks of the members of `draw`: book l translates pair c to [.., l, c]."""
        if self.phrasebooks is not None:
            return torch.tensor(self.phrasebooks, device=draw.device).expand(len(draw.seeds), -1, -1)
        return own_permutations(tuple(draw.seeds), BOOKS, self.n_levels, self.n_pairs).to(draw.device)

    def pool_strings(self, draw: Draw) -> Int[Tensor, "M pool P"]:
        """The strings that training reads."""
        return own_pool(tuple(draw.seeds), self.pool or 0, self.length, self.n_letters, self.held_out).to(draw.device)

    def held_out_rules(self, draw: Draw) -> Int[Tensor, "M h"]:
        """The pairs that no string of the members of `draw` needs book 1 for."""
        return self._split(draw)[:, 0, : self.held_out]

    def _split(self, draw: Draw) -> Int[Tensor, "M 1 n2"]:
        """The pairs that book 1 translates in an order of the seed's: the first `held_out` are never needed."""
        return own_permutations(tuple(draw.seeds), HELD_OUT, 1, self.n_pairs).to(draw.device)

    def _alphabets(self, batch_size: int, draw: Draw) -> Int[Tensor, "#M #B d1 k"]:
        """The letters in use, of every language."""
        if self.letters is None:
            every = torch.arange(self.n_letters, device=draw.device)
            return every.expand(1, 1, self.n_levels + 1, self.n_letters)
        return draw.uniform(batch_size, self.n_levels + 1, self.n_letters).argsort(-1)[..., : self.letters]

    def _books(self, batch_size: int, draw: Draw, alphabets: Tensor) -> Int[Tensor, "M #B d n2"]:
        if self.books == "fixed":
            return self.fixed_books(draw)[:, None]
        return draw_books(batch_size, draw, alphabets, self.n_letters)

    def _wrongly(self, books: Tensor, keys: Tensor, draw: Draw) -> Int[Tensor, "M B d n2"]:
        """Books whose values are permuted among their keys, anew in every prompt."""
        values = books.expand(*keys.shape[:3], -1).gather(3, keys)
        mixed = values.gather(3, draw.uniform(*keys.shape[1:]).argsort(-1))
        return torch.full((*keys.shape[:3], self.n_pairs), -1, device=keys.device).scatter(3, keys, mixed)

    def _strings(self, batch_size: int, draw: Draw, alphabets: Tensor) -> Int[Tensor, "M B P"]:
        """Source strings of which book 1 translates uniform pairs, those that are allowed."""
        if self.pool is not None:
            pool = self.pool_strings(draw)
            picks = draw.integers(self.pool, batch_size)
            return pool.gather(1, picks[..., None].expand(-1, -1, self.length))
        return self._drawn(batch_size, draw, alphabets)

    def _drawn(self, n_strings: int, draw: Draw, alphabets: Tensor) -> Int[Tensor, "M B P"]:
        first = listed(alphabets, self.n_letters)[:, :, 0]
        allowed = first.expand(len(draw.seeds), n_strings, -1)
        if self.held_out:
            allowed = self._split(draw)[:, :, self.held_out :].expand(-1, n_strings, -1)
        return strings(allowed, draw.integers(allowed.shape[2], n_strings, self.length), self.n_letters)

    def _shown(self, codes: Tensor, draw: Draw) -> Bool[Tensor, "M B N"]:
        if self.one_by_one:
            book, rule = draw.step // self.n_pairs % self.n_levels, draw.step % self.n_pairs
            return codes != book * self.n_pairs + rule
        return draw.uniform(*codes.shape[1:]) >= self.dropout


def own(draw: Draw, name: str) -> Draw:
    """What belongs to a seed once and for all: the same whatever the step, the rank, the device and the dtype."""
    return Draw(draw.seeds, name, dtype=torch.float64)


@lru_cache(maxsize=64)
def own_permutations(seeds: tuple[int, ...], name: str, n_rows: int, n: int) -> Int[Tensor, "M R n"]:
    """Kept, as every step of a training asks for them."""
    return Draw(seeds, name, dtype=torch.float64).permutations(n_rows, n)


@lru_cache(maxsize=64)
def own_pool(
    seeds: tuple[int, ...], n_strings: int, length: int, n_letters: int, held_out: int
) -> Int[Tensor, "M N P"]:
    """Kept likewise; their pairs are those that are not held out."""
    every = torch.arange(n_letters**2).expand(len(seeds), 1, -1)
    allowed = own_permutations(seeds, HELD_OUT, 1, n_letters**2)[:, :, held_out:] if held_out else every
    picks = Draw(seeds, POOL, dtype=torch.float64).integers(allowed.shape[2], n_strings, length)
    return strings(allowed.expand(-1, n_strings, -1), picks, n_letters)
