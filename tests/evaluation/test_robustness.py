from dataclasses import replace

import pytest

from tests.evaluation.examples import LABELS, RESAMPLING, class_predictions, class_rows
from vertiform.evaluation.robustness import (
    PERTURBATIONS,
    Severity,
    chosen_rows,
    cut_short,
    drop_of,
    in_capitals,
    in_lower_case,
    num_changed,
    with_typos,
)

SEVERITY = Severity(typo_word_fraction=0.5, kept_fraction=0.5, seed=0)
TEXT = "Returns the eigenvalues\nof a  symmetric matrix, sorted from smallest to largest"
ROW = {"id": "r", "text": TEXT, "label": "a"}
TAGGED = {
    "id": "t",
    "tokens": ["Call", "fit", "before", "NotFittedError"],
    "tags": ["O", "B-f", "O", "B-e"],
}
CHINESE = {"id": "c", "text": "\u4eca\u5929\u5929\u6c14\u5f88\u597d", "label": "a"}


def test_a_typo_is_one_neighbouring_letter_and_moves_nothing_else():
    typed = with_typos(ROW, SEVERITY)["text"]
    assert len(typed) == len(TEXT)
    changed = [(a, b) for a, b in zip(TEXT, typed, strict=True) if a != b]
    assert 2 <= len(changed) <= len(TEXT.split())
    assert all(a.isupper() == b.isupper() and b.isalpha() for a, b in changed)
    for before, after in zip(TEXT.split(), typed.split(), strict=True):
        assert sum(a != b for a, b in zip(before, after, strict=True)) <= 1


def test_every_word_gets_its_typo_at_a_fraction_of_one_but_short_ones():
    typed = with_typos(ROW, replace(SEVERITY, typo_word_fraction=1.0))["text"]
    kept = [a for a, b in zip(TEXT.split(), typed.split(), strict=True) if a == b]
    assert kept == ["of", "a", "to"]


def test_typos_are_the_same_again_and_others_under_another_seed():
    assert with_typos(ROW, SEVERITY) == with_typos(ROW, SEVERITY)
    assert with_typos(ROW, SEVERITY) != with_typos(ROW, replace(SEVERITY, seed=1))
    assert with_typos(ROW, replace(SEVERITY, typo_word_fraction=0.0)) == ROW


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_entities_keep_one_tag_for_each_token(name):
    perturbed = PERTURBATIONS[name](TAGGED, SEVERITY)
    kept = len(perturbed["tokens"])
    assert perturbed["tags"] == TAGGED["tags"][:kept]
    assert kept == (2 if name == "truncation" else 4)


def test_case_is_changed_and_nothing_else():
    assert in_capitals(ROW, SEVERITY)["text"] == TEXT.upper()
    assert in_lower_case(TAGGED, SEVERITY)["tokens"] == ["call", "fit", "before", "notfittederror"]


def test_a_text_is_cut_to_its_first_words_and_never_to_none():
    assert cut_short(ROW, SEVERITY)["text"] == "Returns the eigenvalues\nof a  symmetric"
    assert cut_short({**ROW, "text": " word"}, SEVERITY)["text"] == " word"
    assert cut_short({"id": "t", "tokens": ["a"], "tags": ["O"]}, SEVERITY)["tokens"] == ["a"]


@pytest.mark.parametrize(
    ("name", "changes"),
    [("typos", False), ("capitals", False), ("lower_case", False), ("truncation", True)],
)
def test_a_script_without_case_or_keyboard_letters_is_only_cut(name, changes):
    perturbed = PERTURBATIONS[name](CHINESE, replace(SEVERITY, typo_word_fraction=1.0))
    assert num_changed([CHINESE], [perturbed]) == int(changes)
    assert CHINESE["text"].startswith(perturbed["text"])
    assert len(perturbed["text"]) == (3 if changes else 6)


def test_rows_are_chosen_by_hash_whatever_their_order():
    rows = class_rows(50, seed=0)
    chosen = chosen_rows(rows, max_rows=20, seed=1)
    assert len(chosen) == 20
    backwards = chosen_rows(rows[::-1], max_rows=20, seed=1)
    assert backwards == chosen[::-1]
    assert chosen != chosen_rows(rows, max_rows=20, seed=2)
    assert chosen_rows(rows, max_rows=90, seed=1) == rows


def dropped(skill: float):
    rows = class_rows(120, seed=0)
    return drop_of(
        "classification",
        rows,
        class_predictions(rows, skill=0.6, seed=1),
        perturbed=[{**row, "text": "other"} for row in rows[:100]] + rows[100:],
        perturbed_predictions=class_predictions(rows, skill=skill, seed=1),
        labels=LABELS,
        score="f1_macro",
        resampling=RESAMPLING,
    )


def test_a_model_that_falls_has_a_difference_below_zero_and_its_changed_rows_counted():
    drop = dropped(0.1)
    assert (drop.num_rows, drop.num_changed) == (120, 100)
    assert drop.difference is not None
    assert drop.difference.high < 0


def test_a_model_that_says_the_same_falls_by_exactly_nothing():
    drop = dropped(0.6)
    assert drop.difference is not None
    assert drop.difference.low == drop.difference.high == 0
