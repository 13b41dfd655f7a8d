"""Scores of a classification: how often it is right, by class, and how its confidence ranks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vertiform.evaluation import names
from vertiform.evaluation.bootstrap import Measure, Values, Weights, point_values, ratio_or_nan
from vertiform.evaluation.calibration import calibration_bins, expected_calibration_error


@dataclass(frozen=True, slots=True)
class Tally:
    """Weighted counts by class, each (R, C): how often it is true, predicted, and both."""

    true: NDArray[np.float64]
    predicted: NDArray[np.float64]
    both: NDArray[np.float64]


def classification_scores(
    truth: Sequence[int], probabilities: NDArray[np.float64], *, labels: Sequence[str]
) -> dict[str, float]:
    """Score predictions at once, without intervals: what a validation during training needs.

    truth: N indices into labels. probabilities: (N, C). Returns the scores of names.SCORES and
    those by class; a score that these rows do not define is left out.
    """
    measure = classification_measure(np.asarray(truth), np.asarray(probabilities), labels=labels)
    return point_values(measure, rows=len(truth))


def classification_measure(
    truth: NDArray[np.int64], probabilities: NDArray[np.float64], *, labels: Sequence[str]
) -> Measure:
    """Prepare every score of a classification, to be taken under any row weights.

    truth: (N,), indices into labels. probabilities: (N, C); what is predicted is the largest,
    the first of equals. Macro scores are means over the classes that the truth or the predictions
    hold, a ratio without a denominator being 0 (scikit-learn's default); ROC-AUC is one class
    against the rest, a mean over the classes that have both.
    """
    num_rows, num_labels = probabilities.shape
    predicted = probabilities.argmax(axis=1)  # (N,)
    is_true, is_predicted = np.eye(num_labels)[truth], np.eye(num_labels)[predicted]  # (N, C)
    counts = np.hstack([is_true, is_predicted, is_true * is_predicted])  # (N, 3C)
    bins = calibration_bins(
        probabilities.max(axis=1),
        truth == predicted,
        unit=np.arange(num_rows),
        num_units=num_rows,
    )

    def measure(weights: Weights) -> dict[str, Values]:
        tally = Tally(*np.split(weights @ counts, 3, axis=1))
        auc = [
            weighted_roc_auc(probabilities[:, c], truth == c, weights) for c in range(num_labels)
        ]
        scores = {
            names.ACCURACY: tally.both.sum(axis=1) / weights.sum(axis=1),
            **macro_scores(tally, (names.PRECISION_MACRO, names.RECALL_MACRO, names.F1_MACRO)),
            names.ROC_AUC_MACRO: mean_of_defined(np.stack(auc, axis=1)),
            names.CALIBRATION_ERROR: expected_calibration_error(bins, weights),
            **scores_by_class(tally, labels),
        }
        for label, values in zip(labels, auc, strict=True):
            scores[names.of_class(names.ROC_AUC, label)] = values
        return scores

    return measure


def precision_recall_f1(tally: Tally) -> tuple[NDArray, NDArray, NDArray]:
    """Return precision, recall and F1, each in the tally's shape.

    A ratio without a denominator is 0; a class that is neither true nor predicted has none, NaN.
    """
    is_seen = tally.true + tally.predicted > 0
    return (
        np.where(is_seen, _ratio(tally.both, tally.predicted), np.nan),
        np.where(is_seen, _ratio(tally.both, tally.true), np.nan),
        np.where(is_seen, _ratio(2 * tally.both, tally.true + tally.predicted), np.nan),
    )


def macro_scores(tally: Tally, score_names: Sequence[str]) -> dict[str, Values]:
    """Return the means over classes of precision, recall and F1 under the three names given."""
    triple = precision_recall_f1(tally)
    return {name: mean_of_defined(values) for name, values in zip(score_names, triple, strict=True)}


def scores_by_class(tally: Tally, labels: Sequence[str]) -> dict[str, Values]:
    """Return precision, recall and F1 of each class, as "f1/<label>"."""
    triple = zip((names.PRECISION, names.RECALL, names.F1), precision_recall_f1(tally), strict=True)
    return {
        names.of_class(name, label): values[:, c]
        for name, values in triple
        for c, label in enumerate(labels)
    }


def weighted_roc_auc(
    score: NDArray[np.float64], is_positive: NDArray[np.bool_], weights: Weights
) -> Values:
    """Return the chance that a positive scores above a negative, equal scores counting half.

    score, is_positive: (P,). weights: (R, P). Returns (R,), NaN without both kinds in a resample.
    Linear in P after one sort: each positive looks up the weight of the negatives below it.
    """
    negative = np.flatnonzero(~is_positive)
    negative = negative[np.argsort(score[negative], kind="stable")]
    positive = np.flatnonzero(is_positive)
    below = np.zeros((len(weights), len(negative) + 1))
    np.cumsum(weights[:, negative], axis=1, out=below[:, 1:])  # (R, negatives + 1)
    strictly = np.searchsorted(score[negative], score[positive], side="left")
    or_equal = np.searchsorted(score[negative], score[positive], side="right")
    won = weights[:, positive] * (below[:, strictly] + below[:, or_equal])
    pairs = 2 * weights[:, positive].sum(axis=1) * below[:, -1]
    return ratio_or_nan(won.sum(axis=1), pairs)


def mean_of_defined(values: NDArray[np.float64]) -> Values:
    """Return the mean of each row of (R, C) over what is not NaN; NaN where nothing is."""
    is_defined = ~np.isnan(values)
    total = np.where(is_defined, values, 0.0).sum(axis=1)
    return ratio_or_nan(total, is_defined.sum(axis=1))


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
