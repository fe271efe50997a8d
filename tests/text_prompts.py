"""A tiny language model and a prompt of words, shared by the tests of everything that reads text."""

from functools import lru_cache

import torch

from icl.comparisons.language_member import Member
from icl.core import TokenSample
from icl.models.causal_lm import CausalLm
from icl.rng import Draw
from icl.tasks.label_words import LabelWords

NEGATIVE = ("bad", "awful", "ugly", "horrible", "sad", "poor", "nasty", "cruel", "bitter", "evil", "broken", "dirty")
POSITIVE = ("good", "lovely", "fine", "wonderful", "glad", "rich", "nice", "kind", "sweet", "great", "bright", "clean")


@lru_cache(maxsize=2)
def tiny(dtype: torch.dtype = torch.float64) -> CausalLm:
    return CausalLm(name="tiny", dtype=dtype)


def words(**options) -> LabelWords:
    given = {"lexicon": None, "words": {"Negative": NEGATIVE, "Positive": POSITIVE}, "n_demos": 4, "n_queries": 6}
    return LabelWords(**given | {"n_validation": 4} | options)


def sample(seed: int = 0, **options) -> TokenSample:
    return tiny().encode(words(**options).sample(6, Draw([seed], "text")))


def member(seed: int = 0, **options) -> Member:
    return Member(tiny(), words(**options), seed)
