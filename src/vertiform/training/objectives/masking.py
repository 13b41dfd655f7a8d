"""Which tokens of a batch are selected together: tokens, words, spans of words, and terms.

A unit is a run of tokens that is selected whole or not at all. Units are a matter of the text
alone, and each is selected with the same chance, so the expected share of tokens is that chance
whatever the units are.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from vertiform.batches.vocabulary import Vocabulary
from vertiform.training.objectives.glossary import Glossary

TOKEN, WHOLE_WORD, SPAN = "token", "whole_word", "span"
MASKINGS = (TOKEN, WHOLE_WORD, SPAN)

# SpanBERT (Joshi et al. 2020, section 3.1): the chance of a span of l words falls by a fifth with
# each word, and none is longer than ten; 3.8 words in the mean.
SPAN_STOPS = 0.2
LONGEST_SPAN = 10


class Selection(NamedTuple):
    """What of the flattened (B * T) tokens is to be predicted.

    positions: (N,) int64, ascending.
    leaders:   (N,) int64: the first token of what each position was selected with, whose draw
               decides for all of it how it is hidden.
    """

    positions: np.ndarray
    leaders: np.ndarray


class Units(NamedTuple):
    """The U units of a batch, in order, special tokens among them as units of their own.

    first:      (U,) int64, of each unit the first token, in the flattened (B * T) tokens.
    of:         (B * T,) int64, the unit of each token.
    is_special: (U,) bool.
    place:      (U,) int64: how many units stand between it and the special token, or the start of
                the window, before it. Of a special token, -1.
    """

    first: np.ndarray
    of: np.ndarray
    is_special: np.ndarray
    place: np.ndarray


def units_of(
    ids: np.ndarray, vocabulary: Vocabulary, *, masking: str, glossary: Glossary | None
) -> Units:
    """Return the units of windows, (B, T) int64: tokens or words, and the terms of a glossary."""
    is_start = np.ones(ids.shape, dtype=bool)
    if masking != TOKEN or glossary:
        word_starts = vocabulary.word_starts(ids)
        is_start = word_starts if masking != TOKEN else is_start
        if glossary:
            is_start = glossary.joined(is_start, ids=ids, word_starts=word_starts)
    starts = is_start.ravel()
    first = np.flatnonzero(starts)  # (U,)
    is_special = vocabulary.is_special[ids.ravel()[first]]
    number = np.arange(len(first))
    is_at_window_start = first % ids.shape[1] == 0
    begins = np.where(is_special, number + 1, np.where(is_at_window_start, number, 0))
    return Units(
        first=first,
        of=np.cumsum(starts) - 1,
        is_special=is_special,
        place=number - np.maximum.accumulate(begins),
    )


def select(units: Units, uniform: np.ndarray, *, fraction: float, masking: str) -> Selection:
    """Select units so that each ordinary one has the chance `fraction`.

    uniform: (2, B * T) in [0, 1); the numbers at the first tokens of the units are used.
    """
    drawn = uniform[:, units.first]  # (2, U)
    leading = np.arange(len(units.first))
    if masking == SPAN:
        is_selected, leading = _spans(units, drawn, fraction)
    else:
        is_selected = (drawn[0] < fraction) & ~units.is_special
    positions = np.flatnonzero(is_selected[units.of])
    return Selection(positions=positions, leaders=units.first[leading[units.of[positions]]])


def _spans(units: Units, drawn: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Which units lie in a span, (U,) bool, and the first unit of each one's run of spans, (U,).

    A span may begin at every unit, and ends at the next special token at the latest.
    """
    chances = span_chances(fraction)
    begins = drawn[0] < chances[np.clip(units.place, 0, len(chances) - 1)]
    lengths = 1 + np.searchsorted(np.cumsum(span_lengths())[:-1], drawn[1], side="right")
    lengths[~begins | units.is_special] = 0
    is_covered = np.zeros(len(lengths), dtype=bool)
    for k in range(min(LONGEST_SPAN, len(lengths))):  # by a span that began k units before
        is_covered[k:] |= (lengths[: len(lengths) - k] > k) & (units.place[k:] >= k)
    is_followed = np.concatenate(([False], is_covered[:-1])) & (units.place > 0)
    number = np.arange(len(lengths))
    leading = np.maximum.accumulate(np.where(is_covered & ~is_followed, number, 0))
    return is_covered, leading


def span_lengths() -> np.ndarray:
    """The chance of a span of 1, 2, ..., LONGEST_SPAN units."""
    weights = (1 - SPAN_STOPS) ** np.arange(LONGEST_SPAN)
    return weights / weights.sum()


@lru_cache(maxsize=8)
def span_chances(fraction: float) -> np.ndarray:
    """The chance that a span begins at the unit of place 0, 1, 2, ...; the last holds for the rest.

    Spans overlap, and at the start of a piece none has begun before. So the chance c[j] is solved
    for, place by place, from what must hold at each: a unit stays out of every span with
    1 - fraction = product over k of (1 - c[j - k] * chance of a span longer than k).
    """
    longer_than = 1 - np.concatenate(([0.0], np.cumsum(span_lengths())[:-1]))  # k = 0 to 9
    chances = np.empty(_PLACES)
    for j in range(_PLACES):
        before = chances[max(0, j - LONGEST_SPAN + 1) : j][::-1]
        chances[j] = 1 - (1 - fraction) / np.prod(1 - before * longer_than[1 : len(before) + 1])
    return chances


_PLACES = 128
