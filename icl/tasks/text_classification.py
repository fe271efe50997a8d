"""Sets of labelled sentences: from a folder of JSON lines, or by their name on the hub.

References:
    Dai et al. 2022, Why can GPT learn in-context?, arXiv:2212.10559 (templates and label words)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Any, ClassVar

from icl.rng import Draw
from icl.tasks.text import Example, TextSample, balanced, check_classes, check_sizes, demonstrations, shuffled
from icl.tasks.text_files import hub_rows, jsonl_rows


@dataclass(frozen=True, kw_only=True)
class TextClassification:
    """`Sentence: a joy to watch . Label: Positive`: demonstrations of the train split, queries of the validation split.

    With `path`, a folder of `train.jsonl` and `validation.jsonl` whose `label` is the label word; else `hub` names the
    set, `hub_fields` its columns by ours, and its class i is `labels[i]`. `labels` default to those found in the
    folder. Classes take turns, so subsets are balanced as far as the classes reach.

    Every role has its own stream: the queries depend on the seed alone, never on n_demos or demo_seed.
    """

    reads: ClassVar[str] = "words"
    template: str
    labels: Sequence[str] | None = None
    path: str | None = None
    hub: str | None = None
    hub_config: str | None = None
    hub_fields: Mapping[str, str] | None = None
    hub_splits: Sequence[str] = ("train", "validation")
    max_characters: int | None = None
    separator: str = "\n"
    n_demos: int = 16
    n_queries: int = 100
    n_validation: int = 40
    demo_seed: int = 0

    def __post_init__(self) -> None:
        check_sizes(n_demos=(self.n_demos, 0), n_queries=(self.n_queries, 1), n_validation=(self.n_validation, 0))
        if not self.fields:
            raise ValueError(f"template={self.template!r} must name the fields of the data, e.g. {{text}}")
        if self.path is None and self.hub is None:
            raise ValueError("give path=FOLDER with train.jsonl and validation.jsonl, or hub=NAME")
        if self.path is None and not self.labels:
            raise ValueError("labels are the words for the classes 0, 1, .. of the hub's set, and are missing")

    @property
    def fields(self) -> list[str]:
        """The fields that the template names."""
        return [name for _, name, _, _ in Formatter().parse(self.template) if name]

    def sample(self, batch_size: int, draw: Draw) -> TextSample:
        """`batch_size` queries and the demonstrations before them, for the one seed of `draw`.

        Raises:
            ValueError: the data cannot be read (file and line), or a class has no example.
        """
        train_rows, test_rows = self.rows("train"), self.rows("validation")
        labels = list(self.labels or sorted({row["label"] for row in train_rows}))
        train, test = (self.examples(rows, labels, split) for rows, split in ((train_rows, 0), (test_rows, 1)))
        n = len(labels)
        demos = demonstrations(train, draw, self.demo_seed, self.n_demos, n)
        rest = [e for e in shuffled(train, draw, "validation") if e not in demos]
        return TextSample(
            demos=demos,
            queries=balanced(shuffled(test, draw, "queries"), batch_size, n),
            validation=balanced(rest, self.n_validation, n),
            labels=[f" {label}" for label in labels],
            separator=self.separator,
        )

    def rows(self, split: str) -> list[dict[str, Any]]:
        """`label` (the label word) and the template's fields, row by row."""
        if self.path is not None:
            return jsonl_rows(self.path, split, self.fields, self.labels)
        name = self.hub_splits[0 if split == "train" else 1]
        assert self.hub is not None
        assert self.labels is not None
        return hub_rows(self.hub, self.hub_config, name, self.hub_fields or {}, self.fields, self.labels)

    def examples(self, rows: Sequence[Mapping[str, Any]], labels: Sequence[str], split: int) -> list[Example]:
        """Every row in the template, long fields cut at `max_characters`."""
        filled = [
            Example(self.template.format(**{f: self._cut(row[f]) for f in self.fields}), labels.index(row["label"]))
            for row in rows
        ]
        check_classes(filled, labels, f"{self.path or self.hub}, {('train', 'validation')[split]}")
        return filled

    def _cut(self, text: str) -> str:
        return " ".join(text.split())[: self.max_characters]
