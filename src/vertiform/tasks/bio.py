"""Sequences of B-, I- and O tags: which may follow which, and the best one that is allowed."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from vertiform.evaluation.entity_scores import OUTSIDE

FORBIDDEN = -1e9  # in nats; far below any sum of logarithms, and no infinity to make NaN of


def tags_of(types: Sequence[str]) -> tuple[str, ...]:
    """Return the tags of entity types: O first, then B- and I- of each."""
    return (OUTSIDE, *(f"{prefix}-{kind}" for kind in types for prefix in "BI"))


@cache
def allowed_transitions(tags: tuple[str, ...]) -> np.ndarray:
    """(C + 1, C) float64: 0 where tag j may follow tag i, else FORBIDDEN. Row C is the beginning.

    I-x may only follow B-x or I-x.
    """
    scores = np.zeros((len(tags) + 1, len(tags)))
    for j, tag in enumerate(tags):
        if tag.startswith("I-"):
            scores[:, j] = FORBIDDEN
            for i, before in enumerate(tags):
                if before != OUTSIDE and before[2:] == tag[2:]:
                    scores[i, j] = 0.0
    return scores


def best_sequence(emissions: np.ndarray, transitions: np.ndarray) -> np.ndarray:
    """Return the numbers of the best tags (Viterbi 1967), (words,) int64.

    emissions: (words, C), or (words, C + 1, C) where a word's score depends on the tag before.
    transitions: (C + 1, C); both in nats, added. Of equals, the first tag wins.
    """
    words, num_tags = emissions.shape[0], emissions.shape[-1]
    if words == 0:
        return np.empty(0, dtype=np.int64)
    steps = transitions + (emissions[:, None, :] if emissions.ndim == 2 else emissions)
    score = steps[0, num_tags]  # (C,)
    came_from = np.empty((words, num_tags), dtype=np.int64)
    for word in range(1, words):
        candidates = score[:, None] + steps[word, :num_tags]  # (C before, C)
        came_from[word] = candidates.argmax(axis=0)
        score = candidates.max(axis=0)
    best = np.empty(words, dtype=np.int64)
    best[-1] = score.argmax()
    for word in range(words - 1, 0, -1):
        best[word - 1] = came_from[word, best[word]]
    return best
