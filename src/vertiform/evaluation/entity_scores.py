"""Scores of named entities: exact span and type, as CoNLL counts them, drawn by sentence."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vertiform.evaluation import names
from vertiform.evaluation.bootstrap import Measure, Values, Weights, point_values, ratio_or_nan
from vertiform.evaluation.calibration import calibration_bins, expected_calibration_error
from vertiform.evaluation.scores import (
    Tally,
    macro_scores,
    precision_recall_f1,
    scores_by_class,
    weighted_roc_auc,
)

OUTSIDE = "O"

_MICRO = (names.ENTITY_PRECISION, names.ENTITY_RECALL, names.ENTITY_F1)
_MACRO = (names.ENTITY_PRECISION_MACRO, names.ENTITY_RECALL_MACRO, names.ENTITY_F1_MACRO)


class Entity(NamedTuple):
    """An entity in a sentence: tokens start to end - 1 are one `type`."""

    start: int
    end: int
    type: str


def entities_of(tags: Sequence[str]) -> list[Entity]:
    """Read the entities out of one sentence's B-/I-/O tags.

    As conlleval does, an I- that follows nothing of its own type begins an entity.
    """
    found: list[Entity] = []
    start, kind = 0, None
    for i, tag in enumerate([*tags, OUTSIDE]):
        prefix, _, tag_kind = tag.partition("-")
        goes_on = prefix == "I" and tag_kind == kind
        if kind is not None and not goes_on:
            found.append(Entity(start, i, kind))
            kind = None
        if prefix in ("B", "I") and not goes_on:
            start, kind = i, tag_kind
    return found


def entity_confidence(confidences: Sequence[float], entity: Entity) -> float:
    """Return how sure an entity is: as sure as the least sure of its tokens. Between 0 and 1."""
    return float(min(confidences[entity.start : entity.end]))


def entity_scores(
    truth: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    confidences: Sequence[Sequence[float]],
    *,
    types: Sequence[str],
) -> dict[str, float]:
    """Score taggings at once, without intervals: what a validation during training needs.

    The arguments are entity_measure's. A score that these rows do not define is left out.
    """
    measure = entity_measure(truth, predicted, confidences, types=types)
    return point_values(measure, rows=len(truth))


def entity_measure(
    truth: Sequence[Sequence[str]],
    predicted: Sequence[Sequence[str]],
    confidences: Sequence[Sequence[float]],
    *,
    types: Sequence[str],
) -> Measure:
    """Prepare every score of a tagging, to be taken under any sentence weights.

    truth, predicted: N sentences of tags. confidences: for each token, the probability of its
    predicted tag. Entities count by exact span and type (Tjong Kim Sang & De Meulder 2003);
    macro scores are means over the types that the truth or the predictions hold. ROC-AUC and
    calibration error are of the predicted entities: right or wrong against their confidence.
    """
    gold = [set(entities_of(tags)) for tags in truth]
    guessed = [entities_of(tags) for tags in predicted]
    counts = _entity_counts(gold, guessed, types=types)  # (N, 3 * types)
    tokens = np.array([len(tags) for tags in truth], dtype=np.float64)
    right_tokens = np.array(
        [sum(map(str.__eq__, a, b)) for a, b in zip(truth, predicted, strict=True)],
        dtype=np.float64,
    )
    # One element for each predicted entity, P in all.
    sentence_of = np.repeat(np.arange(len(gold)), [len(g) for g in guessed])
    is_right = np.array([e in gold[s] for s, g in enumerate(guessed) for e in g], dtype=bool)
    confidence = np.array(
        [entity_confidence(confidences[s], e) for s, g in enumerate(guessed) for e in g],
        dtype=np.float64,
    )
    bins = calibration_bins(confidence, is_right, unit=sentence_of, num_units=len(gold))

    def measure(weights: Weights) -> dict[str, Values]:
        tally = Tally(*np.split(weights @ counts, 3, axis=1))
        return {
            **_micro_scores(tally),
            **macro_scores(tally, _MACRO),
            names.TOKEN_ACCURACY: ratio_or_nan(weights @ right_tokens, weights @ tokens),
            names.ENTITY_ROC_AUC: weighted_roc_auc(confidence, is_right, weights[:, sentence_of]),
            names.ENTITY_CALIBRATION_ERROR: expected_calibration_error(bins, weights),
            **scores_by_class(tally, types),
        }

    return measure


def _entity_counts(
    gold: Sequence[set[Entity]], guessed: Sequence[list[Entity]], *, types: Sequence[str]
) -> NDArray[np.float64]:
    """Count entities by sentence: (N, 3 * types), how many are true, predicted, and both."""
    column = {kind: t for t, kind in enumerate(types)}
    counts = np.zeros((len(gold), 3 * len(types)))
    for sentence, (right, guesses) in enumerate(zip(gold, guessed, strict=True)):
        for part, entities in enumerate((right, guesses, right.intersection(guesses))):
            for entity in entities:
                counts[sentence, part * len(types) + column[entity.type]] += 1
    return counts


def _micro_scores(tally: Tally) -> dict[str, Values]:
    over_types = Tally(
        true=tally.true.sum(axis=1),
        predicted=tally.predicted.sum(axis=1),
        both=tally.both.sum(axis=1),
    )
    return dict(zip(_MICRO, precision_recall_f1(over_types), strict=True))
