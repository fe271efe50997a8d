"""Phrasebooks: bijections of letter pairs, the prompts that list their rules, and what they translate a string to."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from icl.rng import Draw


@dataclass(frozen=True)
class Rules:
    """What a predictor of translations may see: N rules in random order, and the source string of P pairs.

    A pair of letters is the code first · n + second; a rule's key says its book too, level · n² + code, levels from 0.
    Where `shown` is false only the book is to be seen.
    """

    keys: Int[Tensor, "#M B N"]
    values: Int[Tensor, "#M B N"]
    shown: Bool[Tensor, "#M B N"]
    source: Int[Tensor, "#M B P"]

    def chunk(self, start: int, stop: int) -> "Rules":
        """Prompts start..stop-1 of the batch."""
        return Rules(*(t[:, start:stop] for t in (self.keys, self.values, self.shown, self.source)))


def shift(string: Int[Tensor, "*B P"], n_letters: int) -> Int[Tensor, "*B P"]:
    """The string moved by one letter, circular: (second letter of p, first letter of p + 1)."""
    return string % n_letters * n_letters + string.roll(-1, -1) // n_letters


def outputs(books: Int[Tensor, "#M #B d n2"], source: Int[Tensor, "M B P"], n_letters: int) -> Int[Tensor, "M B d P"]:
    """The strings of levels 1..d."""
    string, levels = source, []
    for book in books.unbind(2):
        string = book.expand(*source.shape[:2], -1).gather(2, shift(string, n_letters))
        levels.append(string)
    return torch.stack(levels, 2)


def inverse(books: Int[Tensor, "#M #B d n2"], answer: Int[Tensor, "M B P"], n_letters: int) -> Int[Tensor, "M B P"]:
    """The source of an answer: the whole translation is a bijection."""
    string = answer
    for book in books.flip(2).unbind(2):
        pairs = book.argsort(-1).expand(*answer.shape[:2], -1).gather(2, string)
        string = pairs.roll(1, -1) % n_letters * n_letters + pairs // n_letters
    return string


def strings(allowed: Int[Tensor, "M B K"], picks: Int[Tensor, "M B P"], n_letters: int) -> Int[Tensor, "M B P"]:
    """The strings whose shift is allowed[picks]: first letters are the second ones of the pair before."""
    pairs = allowed.gather(2, picks)
    return pairs.roll(1, -1) % n_letters * n_letters + pairs // n_letters


def listed(alphabets: Int[Tensor, "#M #B d1 k"], n_letters: int) -> Int[Tensor, "#M #B d1 k2"]:
    """The codes of all pairs of the letters in use, of every language."""
    return (alphabets[..., :, None] * n_letters + alphabets[..., None, :]).flatten(3)


def draw_books(batch_size: int, draw: Draw, alphabets: Tensor, n_letters: int) -> Int[Tensor, "M B d n2"]:
    """Random bijections from the pairs in use of one language to those of the next; −1 where there is no rule."""
    pairs = listed(alphabets, n_letters).expand(len(draw.seeds), batch_size, -1, -1)
    keys, targets = pairs[:, :, :-1], pairs[:, :, 1:]
    values = targets.gather(3, draw.uniform(*keys.shape[1:]).argsort(-1))
    return torch.full((*keys.shape[:3], n_letters**2), -1, device=keys.device).scatter(3, keys, values)


def check_phrasebooks(books: Sequence[Sequence[int]], *, n_levels: int, n_pairs: int) -> None:
    """ValueError unless `books` are `n_levels` bijections of 0..n_pairs-1; it names a pair of keys that collide."""
    if len(books) != n_levels:
        raise ValueError(f"phrasebooks has {len(books)} books (allowed: n_levels={n_levels})")
    for level, book in enumerate(books, start=1):
        if len(book) != n_pairs:
            raise ValueError(f"phrasebook {level} has {len(book)} rules (allowed: n_letters² = {n_pairs})")
        seen: dict[int, int] = {}
        for key, value in enumerate(book):
            if not isinstance(value, int) or not 0 <= value < n_pairs:
                raise ValueError(f"phrasebook {level}: pair {key} -> {value!r} must be in 0..{n_pairs - 1}")
            if value in seen:
                raise ValueError(f"phrasebook {level} is no bijection: pairs {seen[value]} and {key} both -> {value}")
            seen[value] = key
