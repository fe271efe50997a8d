"""Words: roles that do not move each other, balance, and what is refused."""

import importlib.util

import pytest

from icl.rng import Draw
from icl.tasks.label_words import LabelWords
from text_prompts import words


def drawn(seed=0, **options):
    return words(**options).sample(6, Draw([seed], "text"))


def test_queries_depend_on_the_seed_alone():
    first = drawn()
    for other in (drawn(n_demos=8), drawn(n_demos=0), drawn(demo_seed=3), drawn(n_validation=1)):
        assert other.queries == first.queries
    assert any(drawn(seed).queries != first.queries for seed in (1, 2, 3))
    assert drawn(demo_seed=3).demos != first.demos
    assert drawn(n_demos=8).validation


def test_no_demonstration_is_ever_a_query_or_a_validation_query():
    demos = {e.text for seed in range(20) for e in drawn(seed, n_demos=8).demos}
    queries = {e.text for seed in range(20) for e in drawn(seed).queries}
    assert not demos & queries
    one = drawn(n_demos=8)
    assert not set(one.demos) & set(one.validation)


def test_demonstrations_are_balanced():
    assert sum(e.label for e in drawn(n_demos=8).demos) == 4


def test_what_is_refused():
    with pytest.raises(ValueError, match="n_demos=99 is more than the 18 examples"):
        drawn(n_demos=99)
    with pytest.raises(ValueError, match="n_queries=0 must be >= 1"):
        words(n_queries=0)
    with pytest.raises(ValueError, match="class 'Positive' is empty"):
        words(words={"Negative": ["bad"] * 9, "Positive": []}).sample(2, Draw([0], "text"))
    with pytest.raises(ValueError, match="either lexicon=vader or words"):
        LabelWords(words={"Negative": ["bad"], "Positive": ["good"]})
    with pytest.raises(ValueError, match=r"must contain \{text\}"):
        words(template="Word:")
    with pytest.raises(ValueError, match="2 seeds"):
        words().sample(2, Draw([0, 1], "text"))


@pytest.mark.skipif(importlib.util.find_spec("vaderSentiment") is None, reason="needs the extra llm")
def test_the_lexicon_has_the_ratings_of_people():
    examples = LabelWords().examples()
    assert len(examples) == 4033
    assert sum(e.label for e in examples) == 1811
    assert {"Word: horrible Sentiment:": 0, "Word: lovely Sentiment:": 1}.items() <= {
        e.text: e.label for e in examples
    }.items()


def test_without_the_lexicon_one_line_says_what_to_install(monkeypatch):
    from icl.tasks.label_words import vader

    vader.cache_clear()
    monkeypatch.setattr("icl.tasks.label_words.importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install -e '.\[llm\]'"):
        LabelWords().examples()
    vader.cache_clear()
