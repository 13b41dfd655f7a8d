import numpy as np
import pytest

from vertiform.corpus.shingles import (
    band_keys,
    chance_found,
    digest_of,
    jaccard,
    shingles_of,
)


@pytest.mark.parametrize(
    ("text", "shingles"),
    [
        ("One two, THREE four", ["one two three", "two three four"]),
        ("\u75db\u98ce\u662f\u75c5", ["\u75db \u98ce \u662f", "\u98ce \u662f \u75c5"]),
        ("One two", ["one two"]),
        ("...", ["..."]),
    ],
)
def test_shingles_are_runs_of_words_or_of_chinese_characters(text, shingles):
    assert shingles_of(text, num_words=3) == shingles


def test_jaccard_is_what_two_sets_share_of_all_they_have():
    assert jaccard(frozenset("abc"), frozenset("bcd")) == 0.5


def test_digests_tell_texts_apart_but_not_the_space_around_them():
    assert digest_of(" a\n") == digest_of("a") != digest_of("A")


def test_the_share_of_pairs_that_meet_in_a_band_is_as_computed():
    # 400 pairs of sets of 100 shingles with 60 in common: Jaccard 60 / 140.
    rng = np.random.default_rng(0)
    pairs = []
    for pair in range(400):
        both = [f"{pair} both {i}" for i in range(60)]
        for side in "ab":
            own = both + [f"{pair} {side} {i}" for i in range(40)]
            pairs.append([own[i] for i in rng.permutation(100)])
    keys = band_keys(pairs, num_bands=8, rows_per_band=3)  # (800, 8)
    met = (keys[::2] == keys[1::2]).any(axis=1).mean()
    expected = chance_found(60 / 140, num_bands=8, rows_per_band=3)
    # Four standard deviations of a share among 400.
    assert abs(met - expected) < 4 * (expected * (1 - expected) / 400) ** 0.5


def test_signatures_do_not_depend_on_the_order_or_number_of_equal_shingles():
    keys = band_keys([["a", "b", "c"], ["c", "a", "b", "a"]], num_bands=4, rows_per_band=4)
    assert np.array_equal(keys[0], keys[1])


def test_signatures_stay_what_they_are():
    # Another version of the library, or another seed, would change which documents are kept.
    keys = band_keys([["the joint is red", "joint is red and"]], num_bands=2, rows_per_band=2)
    assert keys.tolist() == [[16286289169213569172, 8910169852639936735]]
