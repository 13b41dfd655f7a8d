"""What is selected together, and how much of it, in every mode of masking."""

import math

import numpy as np
import pytest

from tests.training.objectives.text import VOCAB_SIZE, draws_for, text_windows, vocabulary
from vertiform.training.objectives.glossary import glossary_of
from vertiform.training.objectives.masking import (
    LONGEST_SPAN,
    MASKINGS,
    select,
    span_chances,
    span_lengths,
    units_of,
)

WORDS = vocabulary()
WINDOWS = text_windows(windows=300, tokens=128)
FLAT = WINDOWS.ids.ravel()
IS_ORDINARY = ~WORDS.is_special[FLAT]
# Terms that the text holds: what stands at some of its places.
TERMS = [FLAT[n : n + 2 + n % 4] for n in range(0, len(FLAT), 40)]
GLOSSARY = glossary_of(
    [tuple(term.tolist()) for term in TERMS if not WORDS.is_special[term].any()],
    vocab_size=VOCAB_SIZE,
)
MODES = [(masking, glossary) for masking in MASKINGS for glossary in (None, GLOSSARY)]


def selected(masking, glossary=None, *, fraction=0.15, seed=0):
    """The units of the text, which tokens were selected, and each one's leader."""
    units = units_of(WINDOWS.ids, WORDS, masking=masking, glossary=glossary)
    uniform = draws_for(WINDOWS, seed=seed).uniform(2).reshape(2, -1)
    selection = select(units, uniform, fraction=fraction, masking=masking)
    is_selected = np.zeros(len(FLAT), dtype=bool)
    is_selected[selection.positions] = True
    return units, is_selected, selection.leaders


@pytest.mark.parametrize(("masking", "glossary"), MODES)
@pytest.mark.parametrize("fraction", [0.15, 0.6])
def test_the_selected_share_of_tokens_keeps_to_its_bounds(masking, glossary, fraction):
    shares = [
        selected(masking, glossary, fraction=fraction, seed=seed)[1][IS_ORDINARY].mean()
        for seed in range(8)
    ]
    units = units_of(WINDOWS.ids, WORDS, masking=masking, glossary=glossary)
    sizes = np.bincount(units.of)[~units.is_special]
    # The binomial variance of a unit times its size squared. What lies in one span is selected
    # together too: the variance of that many independent tokens falls by a mean run, about 8.
    variance = fraction * (1 - fraction) * (sizes**2).sum() / sizes.sum() ** 2
    variance *= 8 if masking == "span" else 1
    assert abs(np.mean(shares) - fraction) < 5 * math.sqrt(variance / len(shares))


@pytest.mark.parametrize(("masking", "glossary"), MODES)
def test_special_tokens_are_never_selected(masking, glossary):
    _, is_selected, _ = selected(masking, glossary, fraction=0.9)
    assert not is_selected[~IS_ORDINARY].any()


@pytest.mark.parametrize(("masking", "glossary"), MODES)
def test_a_unit_is_selected_whole_or_not_at_all(masking, glossary):
    units, is_selected, _ = selected(masking, glossary)
    sizes = np.bincount(units.of)
    chosen = np.bincount(units.of, weights=is_selected)
    assert np.isin(chosen / sizes, (0, 1)).all()
    assert sizes.max() > 1 or (masking, glossary) == ("token", None)


def test_a_word_is_a_unit_with_all_that_goes_on_with_it():
    units = units_of(WINDOWS.ids, WORDS, masking="whole_word", glossary=None)
    continues = ~WORDS.starts_word & ~WORDS.is_special
    in_window = np.arange(len(FLAT)) % WINDOWS.ids.shape[1] > 0
    follows_ordinary = np.concatenate(([False], IS_ORDINARY[:-1]))
    goes_on = continues[FLAT] & in_window & follows_ordinary
    same_unit = np.concatenate(([False], units.of[1:] == units.of[:-1]))
    assert np.array_equal(goes_on, same_unit)


def test_every_place_of_a_piece_has_the_same_chance_to_lie_in_a_span():
    units = units_of(WINDOWS.ids, WORDS, masking="span", glossary=None)
    covered = np.zeros(len(units.first))
    seeds = 40
    for seed in range(seeds):
        _, is_selected, _ = selected("span", seed=seed)
        covered += is_selected[units.first]
    for place in range(20):
        here = units.place == place
        trials = seeds * here.sum()
        # Five standard deviations; what is compared stands in different pieces.
        bound = 5 * math.sqrt(0.15 * 0.85 / trials)
        assert abs(covered[here].sum() / trials - 0.15) < bound, place


def test_lone_spans_have_spanberts_lengths_and_stay_within_a_piece():
    lengths = []
    for seed in range(150):
        # So few that two hardly ever touch.
        units, is_selected, _ = selected("span", fraction=0.005, seed=seed)
        chosen = is_selected[units.first]
        padded = np.concatenate(([False], chosen, [False]))
        begins = np.flatnonzero(padded[1:] & ~padded[:-1])
        ends = np.flatnonzero(padded[:-1] & ~padded[1:])
        is_specials = np.concatenate(([0], np.cumsum(units.is_special)))
        assert (is_specials[ends] == is_specials[begins]).all()
        # Only those that no end of a piece can have cut short.
        room = np.array([not units.is_special[b : b + LONGEST_SPAN].any() for b in begins])
        in_window = units.first[begins] // 128 == units.first[begins + LONGEST_SPAN - 1] // 128
        lengths.extend((ends - begins)[room & in_window & (units.place[begins] > 0)])
    counts = np.bincount(lengths, minlength=LONGEST_SPAN + 1)[1 : LONGEST_SPAN + 1]
    expected = span_lengths() * len(lengths)
    assert len(lengths) > 1500
    assert np.mean(lengths) == pytest.approx(3.8, abs=0.3)  # SpanBERT's mean; touching adds a bit
    assert (abs(counts - expected) < 5 * np.sqrt(expected) + 0.02 * len(lengths)).all()


@pytest.mark.parametrize("fraction", [0.01, 0.15, 0.5, 0.95])
def test_the_chances_of_a_span_are_chances_and_settle(fraction):
    chances = span_chances(fraction)
    assert ((chances > 0) & (chances < 1)).all()
    assert np.ptp(chances[-20:]) < 1e-9


def test_what_is_selected_together_has_one_leader_in_it():
    for masking, glossary in MODES:
        units, is_selected, leaders = selected(masking, glossary)
        assert is_selected[leaders].all()
        positions = np.flatnonzero(is_selected)
        assert (leaders <= positions).all()
        if masking != "span":
            assert np.array_equal(leaders, units.first[units.of[positions]])
        # From its leader to a token everything is selected, and in the same window.
        unselected = np.concatenate(([0], np.cumsum(~is_selected)))
        assert np.array_equal(unselected[leaders], unselected[positions])
        assert np.array_equal(leaders // 128, positions // 128)
