"""How a translation is written for a language model: letters that are one token each, rules, question and answer."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from icl.core import Sample

RANGES = (("A", 26), ("a", 26), ("α", 25), ("а", 32), ("अ", 54))  # Latin, Greek, Cyrillic, Devanagari


class Writer:
    """Texts of a tokenizer, at most `max_length` tokens long.

        Rules 1: A B -> E F; C A -> G E; ..     one line a book, its shown rules in the order of the prompt
        Language 1: A B C D                     the source
        Language 3: I K L I                     the answer, on whose letters alone there is a loss

    Language i uses the i-th n of the letters that are one token with the space before them (without it, where there are
    not enough of those).
    """

    def __init__(self, tokenizer: Any, max_length: int | None):
        self.tokenizer, self.max_length = tokenizer, max_length
        self.start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        self._words: dict[str, list[int]] = {}

    def pack(self, sample: Sample, m: int) -> tuple[Int[Tensor, "S"], Int[Tensor, "S"], Tensor, Tensor]:
        """All prompts of member m in one sequence: tokens, positions, and for the letters of every answer the place
        before it and its token, "B K" both.

        Raises:
            ValueError: a text is longer than `max_length`.
        """
        ids, positions, places, answers = [], [], [], []
        for text, answer in self.texts(sample, m):
            if self.max_length is not None and len(text) > self.max_length:
                over = len(text) - self.max_length
                raise ValueError(f"a prompt of {len(text)} tokens is {over} longer than the context, {self.max_length}")
            end = len(ids) + len(text)
            places.append(list(range(end - len(answer) - 1, end - 1)))
            answers.append(answer)
            ids += text
            positions += range(len(text))
        return torch.tensor(ids), torch.tensor(positions), torch.tensor(places), torch.tensor(answers)

    def texts(self, sample: Sample, m: int) -> Iterator[tuple[list[int], list[int]]]:
        """(the whole text, the letters of the answer it ends with), a prompt."""
        prompt, n_levels = sample.prompt, sample.target.shape[2]
        fields = (prompt.keys, prompt.values, prompt.shown, prompt.source, sample.target[:, :, -1])
        rows = zip(*(t[m if t.shape[0] > 1 else 0].tolist() for t in fields), strict=True)
        n2 = prompt.keys.shape[2] // n_levels
        n = round(n2**0.5)
        letters = alphabets(self.tokenizer, n_levels + 1, n)

        def pair(language: int, code: int) -> list[int]:
            return [letters[language][code // n], letters[language][code % n]]

        def string(language: int, codes: list[int]) -> list[int]:
            return [token for code in codes for token in pair(language, code)]

        for keys, values, shown, source, target in rows:
            text = list(self.start)
            for level in range(n_levels):
                text += self.word(f"Rules {level + 1}:")
                for key, value, there in zip(keys, values, shown, strict=True):
                    if there and key // n2 == level:
                        text += [*pair(level, key % n2), *self.word(" ->"), *pair(level + 1, value), *self.word(";")]
                text += self.word("\n")
            answer = string(n_levels, target)
            text += [*self.word("Language 1:"), *string(0, source), *self.word(f"\nLanguage {n_levels + 1}:"), *answer]
            yield text, answer

    def word(self, text: str) -> list[int]:
        """The tokens of a piece of text."""
        if text not in self._words:
            self._words[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._words[text]


@lru_cache(maxsize=16)
def alphabets(tokenizer: Any, n_languages: int, n_letters: int) -> list[list[int]]:
    """The tokens of the letters of every language.

    Raises:
        ValueError: the tokenizer has not as many letters that are one token.
    """
    needed = n_languages * n_letters
    found: list[int] = []
    for space in (" ", ""):
        found = [
            ids[0]
            for first, count in RANGES
            for i in range(count)
            if len(ids := tokenizer(space + chr(ord(first) + i), add_special_tokens=False)["input_ids"]) == 1
        ]
        if len(set(found)) == len(found) >= needed:
            return [found[i * n_letters : (i + 1) * n_letters] for i in range(n_languages)]
    raise ValueError(
        f"{n_languages} alphabets of n_letters={n_letters} need {needed} letters of one token each; "
        f"this tokenizer has {len(found)}"
    )
