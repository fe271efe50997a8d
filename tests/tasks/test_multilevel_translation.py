"""MLT(d, n): the invariants of section 4.2 of the paper, the translation against one that goes letter by letter."""

from dataclasses import replace

import pytest
import torch

from icl.rng import Draw
from icl.tasks.multilevel_translation import MultilevelTranslation
from icl.tasks.phrasebooks import inverse, outputs

TASK = MultilevelTranslation(n_letters=3, n_levels=3, n_characters=16)


def letters_of(pairs, n):
    """A string as its letters."""
    return [letter for pair in pairs.tolist() for letter in divmod(pair, n)]


def translated_by_letters(rules, letters):
    """One level as the paper describes it: move the string one letter to the left, then look up pair after pair."""
    moved = letters[1:] + letters[:1]
    return [letter for a, b in zip(moved[::2], moved[1::2], strict=True) for letter in rules[a, b]]


@pytest.mark.parametrize("books", ["fixed", "fresh"])
def test_the_target_is_what_the_rules_of_the_prompt_say(books):
    task = replace(TASK, books=books)
    sample = task.sample(4, Draw([0, 1], "t"))
    n, n2 = task.n_letters, task.n_pairs
    for m in range(2):
        for b in range(4):
            books_ = [{} for _ in range(3)]
            for key, value in zip(sample.prompt.keys[m, b].tolist(), sample.prompt.values[m, b].tolist(), strict=True):
                books_[key // n2][divmod(key % n2, n)] = divmod(value, n)
            string = letters_of(sample.prompt.source[m, b], n)
            for level in range(3):
                assert len(books_[level]) == n2 == len(set(books_[level].values()))
                string = translated_by_letters(books_[level], string)
                assert string == letters_of(sample.target[m, b, level], n)


def test_the_inverse_books_take_the_answer_back_to_the_source():
    draw = Draw([0, 1], "t")
    sample, books = TASK.sample(5, draw), TASK.fixed_books(draw)[:, None]
    assert torch.equal(inverse(books, sample.target[:, :, -1], TASK.n_letters), sample.prompt.source)


def test_moving_the_source_by_a_pair_moves_the_answer_by_a_pair():
    draw = Draw([0], "t")
    source, books = TASK.sample(5, draw).prompt.source, TASK.fixed_books(draw)[:, None]
    moved = outputs(books, source.roll(1, -1), TASK.n_letters)
    assert torch.equal(moved, outputs(books, source, TASK.n_letters).roll(1, -1))


@pytest.mark.parametrize("n_levels", [1, 2, 3])
def test_an_answer_depends_on_2d_letters_of_the_source_and_on_each_of_them(n_levels):
    task = replace(TASK, n_levels=n_levels)
    draw, n = Draw([0], "t"), TASK.n_letters
    source, books = task.sample(200, draw).prompt.source, task.fixed_books(draw)[:, None]
    answer = outputs(books, source, n)[:, :, -1]
    touched = set()
    for letter in range(task.n_characters):
        place = 1 if letter % 2 else n
        digit = source[..., letter // 2] // place % n
        changed = source.clone()
        changed[..., letter // 2] += ((digit + 1) % n - digit) * place
        differs = (outputs(books, changed, n)[:, :, -1] != answer).any(1)[0]
        if differs[0]:
            touched.add(letter)
    assert touched == set(range(1, 2 * n_levels + 1))


def test_fixed_books_belong_to_the_seed_and_fresh_ones_to_the_prompt():
    rules = lambda task, draw: task.sample(1, draw).prompt  # noqa: E731
    book = lambda p, m=0: dict(zip(p.keys[m, 0].tolist(), p.values[m, 0].tolist(), strict=True))  # noqa: E731
    assert book(rules(TASK, Draw([3], "a"))) == book(rules(TASK, Draw([3], "b", step=7)))
    assert book(rules(TASK, Draw([3], "a"))) == book(rules(TASK, Draw([4, 3], "b", rank=1, dtype=torch.float64)), 1)
    assert book(rules(TASK, Draw([3], "a"))) != book(rules(TASK, Draw([4], "a")))
    fresh = replace(TASK, books="fresh")
    assert book(rules(fresh, Draw([3], "a"))) != book(rules(fresh, Draw([3], "a", step=1)))


def test_dropout_hides_its_share_of_the_rules_and_one_by_one_hides_one():
    shown = replace(TASK, dropout=0.3).sample(2000, Draw([0], "t")).prompt.shown
    assert abs(shown.double().mean().item() - 0.7) < 0.01
    assert not replace(TASK, dropout=1.0).sample(9, Draw([0], "t")).prompt.shown.any()
    for step in (0, 8, 9, 26, 27):
        prompt = replace(TASK, one_by_one=True).sample(2, Draw([0], "t", step=step)).prompt
        assert prompt.keys[~prompt.shown].tolist() == [step % 27] * 2


def test_wrong_rules_have_the_right_keys_and_other_values():
    right, wrong = (replace(TASK, wrong=w).sample(50, Draw([0], "t")) for w in (False, True))
    assert torch.equal(right.target, outputs(TASK.fixed_books(Draw([0], "t"))[:, None], right.prompt.source, 3))
    key = wrong.prompt.keys
    true = TASK.fixed_books(Draw([0], "t")).flatten(1).gather(1, key[:, 0]).expand_as(key[:, 0])
    assert (wrong.prompt.values[:, 0] == true).double().mean() < 0.4
    assert torch.equal(wrong.prompt.values.sort(-1).values, right.prompt.values.sort(-1).values)


def test_a_pool_is_a_set_of_strings_of_the_seed():
    task = replace(TASK, pool=3)
    found = {
        tuple(s) for step in range(20) for s in task.sample(8, Draw([5], "t", step=step)).prompt.source[0].tolist()
    }
    assert len(found) == 3


def test_held_out_rules_are_never_needed():
    task, draw = replace(TASK, held_out=4), Draw([0], "t")
    hidden = set(task.held_out_rules(draw)[0].tolist())
    source = task.sample(200, draw).prompt.source
    needed = (source % 3 * 3 + source.roll(-1, -1) // 3).unique().tolist()
    assert len(hidden) == 4
    assert set(needed) == set(range(9)) - hidden


def test_a_prompt_of_few_letters_uses_no_others():
    task = replace(TASK, n_letters=5, books="fresh", letters=2)
    sample = task.sample(6, Draw([0], "t"))
    assert sample.prompt.keys.shape == (1, 6, 3 * 4)
    for b in range(6):
        pairs = sample.target[0, b, -1]
        assert len({*(pairs // 5).tolist(), *(pairs % 5).tolist()}) <= 2


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n_characters": 7}, ["n_characters=7", "even"]),
        ({"dropout": 1.5}, ["dropout=1.5", "[0, 1]"]),
        ({"dropout": -0.1}, ["dropout=-0.1", "[0, 1]"]),
        ({"n_letters": 1}, ["n_letters=1", ">= 2"]),
        ({"pool": 0}, ["pool=0", ">= 1"]),
        ({"held_out": 9}, ["held_out=9", "9"]),
        ({"letters": 2}, ["letters=2", "fresh"]),
        ({"phrasebooks": [[0, 1, 2, 3, 4, 5, 6, 7, 3]] * 3}, ["phrasebook 1", "3 and 8", "-> 3"]),
        ({"phrasebooks": [list(range(9))] * 2}, ["2 books", "n_levels=3"]),
        ({"phrasebooks": [list(range(8))] * 3}, ["8 rules", "9"]),
    ],
)
def test_bad_input_is_one_line(fields, words):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as error:
        replace(TASK, **fields)
    for word in words:
        assert word in str(error.value)
