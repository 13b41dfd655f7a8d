import logging

import numpy as np
import pytest

from tests.builders import SPECIAL
from tests.training.objectives.text import vocabulary
from vertiform.errors import ConfigError
from vertiform.training.objectives.glossary import Glossary, read_glossary

WORDS = vocabulary()
CLS, SEP = SPECIAL.cls, SPECIAL.sep


def glossary_at(tmp_path, *terms: str) -> Glossary:
    path = tmp_path / "terms.txt"
    path.write_text("\n".join(terms), encoding="utf-8")
    return read_glossary(path, WORDS)


def ids_of(text: str) -> list[int]:
    return WORDS.tokenizer.encode(text, add_special_tokens=False).ids


def units(glossary: Glossary, *windows: list[int]) -> list[list[int]]:
    """The lengths of the units of each window, each token a unit unless a term joins it."""
    ids = np.array(windows)
    is_start = glossary.joined(
        np.ones(ids.shape, dtype=bool), ids=ids, word_starts=WORDS.word_starts(ids)
    )
    ends = [np.append(np.flatnonzero(row), len(row)) for row in is_start]
    return [np.diff(end).tolist() for end in ends]


def test_a_term_is_one_unit_wherever_it_stands(tmp_path):
    glossary = glossary_at(tmp_path, "w1 w2c3", "w9 w9 w9")
    text = [CLS, *ids_of("w1 w2c3 w5 w1 w2c3"), SEP]
    assert units(glossary, text) == [[1, 3, 1, 3, 1]]


def test_the_longer_of_two_terms_counts_and_the_left_of_two_that_overlap(tmp_path):
    glossary = glossary_at(tmp_path, "w1 w2", "w1 w2 w3", "w3 w4", "w2 w3 w4 w5")
    assert units(glossary, ids_of("w1 w2 w3 w4 w5")) == [[3, 1, 1]]
    assert units(glossary, ids_of("w1 w2 w4 w3 w4")) == [[2, 1, 2]]
    # A longer term that does not come to its end leaves the shorter one.
    assert units(glossary, ids_of("w6 w2 w3 w4 w6")) == [[1, 1, 2, 1]]


def test_half_a_word_is_no_term(tmp_path):
    glossary = glossary_at(tmp_path, "w1 w2")
    assert units(glossary, ids_of("w1 w2c3 w7")) == [[1, 1, 1, 1]]
    assert units(glossary, ids_of("w1 w2 w7c3")) == [[2, 1, 1]]


def test_a_term_lies_within_one_window_and_one_piece(tmp_path):
    glossary = glossary_at(tmp_path, "w1 w2")
    first, second = ids_of("w1 w2")
    assert units(glossary, [second, second, first], [second, first, second]) == [[1, 1, 1], [1, 2]]
    assert units(glossary, [first, SEP, CLS, second]) == [[1, 1, 1, 1]]


def test_a_glossary_of_single_tokens_changes_nothing(tmp_path):
    assert units(glossary_at(tmp_path, "w1", "w2"), ids_of("w1 w2")) == [[1, 1]]


def test_a_glossary_that_is_missing_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"terms\.txt does not exist(.|\n)*objective\.glossary"):
        read_glossary(tmp_path / "terms.txt", WORDS)


def test_a_glossary_without_terms_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"terms\.txt holds no term(.|\n)*one term a line"):
        glossary_at(tmp_path, "", "  ")


def test_a_glossary_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "terms.pdf"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"terms\.pdf is no text in UTF-8"):
        read_glossary(path, WORDS)


def test_a_glossary_in_another_script_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"No term of the glossary.*`zzz`(.|\n)*language"):
        glossary_at(tmp_path, "zzz")


def test_terms_that_no_text_can_hold_are_told(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        glossary_at(tmp_path, "w1 w2", "zzz")
    assert "1 of 2 terms" in caplog.text
    assert "zzz" in caplog.text
