"""The data behind the plots, as lists of records: what DVC draws and what plots.py draws from."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vertiform.evaluation.calibration import calibration_bins, reliability_records
from vertiform.evaluation.entity_scores import entities_of, entity_confidence
from vertiform.evaluation.mistakes import NOTHING
from vertiform.evaluation.predictions import (
    Prediction,
    Row,
    check_kind,
    class_arrays,
    tag_lists,
)

CONFUSION = "confusion"
PRECISION_RECALL = "precision_recall"
RELIABILITY = "reliability"

POOLED = "precision"  # the column of all classes together; a class has "precision of <label>"
_RECALL_STEPS = 50
_DIGITS = 6

Records = list[dict[str, Any]]
Ranked = tuple[NDArray[np.float64], NDArray[np.bool_], int]  # scores, right or not, number to find


def plot_records(
    kind: str, rows: Sequence[Row], predictions: Sequence[Prediction], *, labels: Sequence[str]
) -> dict[str, Records]:
    """Return the records of each plot, by the plot's name.

    confusion:        actual, predicted; one for each row, or for each entity true or predicted.
    precision_recall: recall from 0 to 1, and the interpolated precision there (the best at that
                      recall or more: Manning et al. 2008, section 8.4), of all classes pooled and
                      of each; None past the last recall that was reached.
    reliability:      the bins of calibration.py that hold predictions.
    """
    check_kind(kind)
    prepare = _class_records if kind == "classification" else _entity_records
    return prepare(rows, predictions, labels)


def precision_of(label: str) -> str:
    """Return the column of one class in the precision-recall records."""
    return f"{POOLED} of {label}"


def _class_records(
    rows: Sequence[Row], predictions: Sequence[Prediction], labels: Sequence[str]
) -> dict[str, Records]:
    truth, probabilities = class_arrays(rows, predictions, labels=labels)
    predicted, indices = probabilities.argmax(axis=1), np.arange(len(rows))
    is_true = np.eye(len(labels), dtype=bool)[truth]  # (N, C)
    curves: dict[str, Ranked] = {POOLED: (probabilities.ravel(), is_true.ravel(), len(rows))}
    for c, label in enumerate(labels):
        of_class = is_true[:, c]
        curves[precision_of(label)] = (probabilities[:, c], of_class, int(of_class.sum()))
    bins = calibration_bins(
        probabilities.max(axis=1), truth == predicted, unit=indices, num_units=len(rows)
    )
    return {
        CONFUSION: [
            {"actual": labels[t], "predicted": labels[p]}
            for t, p in zip(truth, predicted, strict=True)
        ],
        PRECISION_RECALL: _precision_recall(curves),
        RELIABILITY: reliability_records(bins),
    }


def _entity_records(
    rows: Sequence[Row], predictions: Sequence[Prediction], types: Sequence[str]
) -> dict[str, Records]:
    truth, tags, confidences = tag_lists(rows, predictions, types=types)
    confusion: Records = []
    found: list[tuple[str, float, bool]] = []  # type, confidence, right or not
    num_true = dict.fromkeys(types, 0)
    for true_tags, predicted_tags, sure in zip(truth, tags, confidences, strict=True):
        gold = {(e.start, e.end): e.type for e in entities_of(true_tags)}
        guessed = {(e.start, e.end): e for e in entities_of(predicted_tags)}
        for span, kind in gold.items():
            num_true[kind] += 1
            named = guessed[span].type if span in guessed else NOTHING
            confusion.append({"actual": kind, "predicted": named})
        for span, entity in guessed.items():
            if span not in gold:
                confusion.append({"actual": NOTHING, "predicted": entity.type})
            is_right = gold.get(span) == entity.type
            found.append((entity.type, entity_confidence(sure, entity), is_right))
    curves = {POOLED: _ranked(found, sum(num_true.values()))}
    for kind in types:
        curves[precision_of(kind)] = _ranked([f for f in found if f[0] == kind], num_true[kind])
    confidence, is_right, _ = curves[POOLED]
    unit = np.zeros(len(found), dtype=np.int64)
    return {
        CONFUSION: confusion,
        PRECISION_RECALL: _precision_recall(curves),
        RELIABILITY: reliability_records(
            calibration_bins(confidence, is_right, unit=unit, num_units=1)
        ),
    }


def _ranked(found: Sequence[tuple[str, float, bool]], num_true: int) -> Ranked:
    confidence = np.array([confidence for _, confidence, _ in found], dtype=np.float64)
    return confidence, np.array([right for _, _, right in found], dtype=bool), num_true


def _precision_recall(curves: dict[str, Ranked]) -> Records:
    """Lay the curves over one grid of recall, a column each."""
    grid = np.linspace(0, 1, _RECALL_STEPS + 1)
    columns = {name: _precision_at(grid, ranked) for name, ranked in curves.items()}
    return [
        {"recall": round(float(recall), _DIGITS)}
        | {name: values[i] for name, values in columns.items()}
        for i, recall in enumerate(grid)
    ]


def _precision_at(grid: NDArray[np.float64], ranked: Ranked) -> list[float | None]:
    score, is_right, num_true = ranked
    if not num_true or not len(score):
        return [None] * len(grid)
    order = np.argsort(-score, kind="stable")
    # Equal scores are taken together: a threshold cannot part them.
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    right = np.cumsum(is_right[order])[ends]  # (thresholds,)
    precision, recall = right / (ends + 1), right / num_true
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    first = np.searchsorted(recall, grid - 1e-12)  # the grid's own rounding
    return [round(float(best_from_here[i]), _DIGITS) if i < len(ends) else None for i in first]
