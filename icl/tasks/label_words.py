"""Words and the label that people give them: the cheapest real task for a language model, seven tokens a query.

References:
    Hutto and Gilbert 2014, VADER: a parsimonious rule-based model for sentiment analysis (ten human ratings a word)
"""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Literal

from icl.rng import Draw
from icl.tasks.text import Example, TextSample, balanced, check_classes, check_sizes, demonstrations, shuffled

POOL_SEED = 0  # splits the words once and for all: no demonstration is ever a query of another seed
TRAIN_SHARE = 0.75


@dataclass(frozen=True, kw_only=True)
class LabelWords:
    """`Word: lovely Sentiment: Positive`, from the ratings of the VADER lexicon, or from lists of your own.

    A word of the lexicon counts if it is made of letters and |mean rating| >= min_strength (ratings go from -4 to 4);
    negative and positive are labels 0 and 1. `words` gives the lists instead: {label: [word, ..]}.

    Every role has its own stream: the queries depend on the seed alone, never on n_demos or demo_seed.
    """

    reads: ClassVar[str] = "words"
    lexicon: Literal["vader"] | None = "vader"
    words: Mapping[str, Sequence[str]] | None = None
    labels: Sequence[str] = ("Negative", "Positive")
    template: str = "Word: {text} Sentiment:"
    separator: str = "\n"
    min_strength: float = 1.5
    n_demos: int = 16
    n_queries: int = 200
    n_validation: int = 40
    demo_seed: int = 0

    def __post_init__(self) -> None:
        check_sizes(n_demos=(self.n_demos, 0), n_queries=(self.n_queries, 1), n_validation=(self.n_validation, 0))
        if "{text}" not in self.template:
            raise ValueError(f"template={self.template!r} must contain {{text}}")
        if (self.lexicon is None) == (self.words is None):
            raise ValueError("give either lexicon=vader or words={label: [word, ..]}, not both")
        if self.words is not None and set(self.words) != set(self.labels):
            raise ValueError(f"words has lists for {sorted(self.words)}, labels are {sorted(self.labels)}")

    def sample(self, batch_size: int, draw: Draw) -> TextSample:
        """`batch_size` queries and the demonstrations before them, for the one seed of `draw`."""
        pool = shuffled(self.examples(), Draw([POOL_SEED], "label_words/pool"), "split")
        cut = round(TRAIN_SHARE * len(pool))
        train, test = pool[:cut], pool[cut:]
        for part, where in ((train, "words for demonstrations"), (test, "words for queries")):
            check_classes(part, self.labels, where)
        n = len(self.labels)
        demos = demonstrations(train, draw, self.demo_seed, self.n_demos, n)
        rest = [e for e in shuffled(train, draw, "validation") if e not in demos]
        return TextSample(
            demos=demos,
            queries=balanced(shuffled(test, draw, "queries"), batch_size, n),
            validation=balanced(rest, self.n_validation, n),
            labels=[f" {label}" for label in self.labels],
            separator=self.separator,
        )

    def examples(self) -> list[Example]:
        """Every word with its label.

        Raises:
            ValueError: the lexicon's package is not installed.
        """
        if self.words is not None:
            pairs = [(w, label) for label, name in enumerate(self.labels) for w in self.words[name]]
        else:
            pairs = [(w, int(r > 0)) for w, r in vader() if w.isalpha() and abs(r) >= self.min_strength]
        return [Example(self.template.format(text=word), label) for word, label in pairs]


@lru_cache(maxsize=1)
def vader() -> list[tuple[str, float]]:
    """Every entry of the lexicon and its mean rating, out of the installed package (which is not imported)."""
    spec = importlib.util.find_spec("vaderSentiment")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            "lexicon=vader needs the package vaderSentiment: pip install -e '.[llm]' -c constraints.txt "
            "(scripts/lab probe does it), or give task.words"
        )
    lines = Path(spec.submodule_search_locations[0], "vader_lexicon.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in lines if "\t" in line]
    return [(row[0], float(row[1])) for row in rows]
