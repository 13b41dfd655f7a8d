import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertiform.tasks.bio import FORBIDDEN, allowed_transitions, best_sequence, tags_of

TAGS = tags_of(["x", "y"])


def is_valid(tags):
    before = ["O", *tags[:-1]]
    return all(t[:2] != "I-" or b[1:] == t[1:] for b, t in zip(before, tags, strict=True))


def test_outputs_are_o_then_both_tags_of_each_type():
    assert TAGS == ("O", "B-x", "I-x", "B-y", "I-y")


def test_inside_follows_only_its_own_type():
    allowed = allowed_transitions(TAGS)
    for i, before in enumerate([*TAGS, "O"]):
        for j, tag in enumerate(TAGS):
            fits = tag[:2] != "I-" or before in (f"B-{tag[2:]}", f"I-{tag[2:]}")
            assert allowed[i, j] == (0.0 if fits else FORBIDDEN)


@settings(max_examples=60, deadline=None)
@given(words=st.integers(1, 4), seed=st.integers(0, 10**6))
def test_the_best_sequence_is_that_of_a_search_over_all(words, seed):
    emissions = np.random.default_rng(seed).normal(size=(words, len(TAGS)))
    candidates = [
        c for c in itertools.product(range(5), repeat=words) if is_valid([TAGS[t] for t in c])
    ]
    best = max(candidates, key=lambda c: sum(emissions[w, t] for w, t in enumerate(c)))
    assert tuple(best_sequence(emissions, allowed_transitions(TAGS))) == best


def test_emissions_may_depend_on_the_tag_before():
    emissions = np.zeros((2, 3, 2))  # of two tags, after either or the beginning
    emissions[0, 2] = [1.0, 0.0]
    emissions[1, 0] = [0.0, 5.0]
    assert best_sequence(emissions, np.zeros((3, 2))).tolist() == [0, 1]


@pytest.mark.parametrize("shape", [(0, 5), (0, 6, 5)])
def test_no_words_have_no_tags(shape):
    assert best_sequence(np.empty(shape), allowed_transitions(TAGS)).tolist() == []
