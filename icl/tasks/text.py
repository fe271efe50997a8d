"""Demonstrations and queries as words, before any tokenizer: what every text task hands to a language model."""

from collections.abc import Sequence
from dataclasses import dataclass

from icl.rng import Draw


@dataclass(frozen=True)
class Example:
    """A template filled in up to where the label comes, and which label that is."""

    text: str
    label: int


@dataclass(frozen=True)
class TextSample:
    """One member's demonstrations, queries and validation queries; labels carry their leading space."""

    demos: Sequence[Example]
    queries: Sequence[Example]
    validation: Sequence[Example]
    labels: Sequence[str]
    separator: str = "\n"


def shuffled(examples: Sequence[Example], draw: Draw, role: str) -> list[Example]:
    """All of them in the order of this role's own stream, so that one role never moves another."""
    if len(draw.seeds) != 1:
        raise ValueError(f"a text sample is one member's; the draw has {len(draw.seeds)} seeds")
    order = draw.at(draw.step, f"{draw.name}/{role}").uniform(len(examples))[0].argsort()
    return [examples[i] for i in order.tolist()]


def balanced(examples: Sequence[Example], n: int, n_labels: int) -> list[Example]:
    """The first `n` that keep the classes balanced: the classes take turns, so any beginning is balanced too.

    A class that runs out leaves its turns to the others.
    """
    by_label = [[e for e in examples if e.label == label] for label in range(n_labels)]
    turns = [e for row in _rows(by_label) for e in row]
    return turns[:n]


def demonstrations(pool: Sequence[Example], draw: Draw, seed: int, n: int, n_labels: int) -> list[Example]:
    """`n` balanced demonstrations in a drawn order.

    Raises:
        ValueError: there are not so many.
    """
    if n > len(pool):
        raise ValueError(f"n_demos={n} is more than the {len(pool)} examples to draw them from")
    chosen = balanced(shuffled(pool, draw, f"demos/{seed}"), n, n_labels)
    return shuffled(chosen, draw, f"order/{seed}")


def _rows(by_label: Sequence[Sequence[Example]]) -> list[list[Example]]:
    longest = max(map(len, by_label), default=0)
    return [[column[i] for column in by_label if i < len(column)] for i in range(longest)]


def check_classes(examples: Sequence[Example], labels: Sequence[str], where: str) -> None:
    """Raises ValueError naming a label that no example has."""
    present = {e.label for e in examples}
    for index, label in enumerate(labels):
        if index not in present:
            raise ValueError(f"{where}: class {label.strip()!r} is empty")


def check_sizes(**sizes: tuple[int, int]) -> None:
    """Raises ValueError for a size below its least value."""
    for name, (size, low) in sizes.items():
        if size < low:
            raise ValueError(f"{name}={size} must be >= {low}")
