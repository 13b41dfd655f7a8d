"""What a model said about labelled rows, checked and turned into what scores are taken from.

A prediction of a classification is {"label": str, "probabilities": {label: float}}; of entities
{"tags": [str], "confidences": [float]}, one each for every token of the row.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vertiform.errors import ConfigError, CorpusError, did_you_mean
from vertiform.evaluation import names
from vertiform.evaluation.bootstrap import Measure
from vertiform.evaluation.entity_scores import OUTSIDE, entities_of, entity_measure
from vertiform.evaluation.scores import classification_measure

Row = Mapping[str, Any]
Prediction = Mapping[str, Any]

_SUM_TOLERANCE = 1e-3  # of probabilities, which a model may have in single precision


def measure_of(
    kind: str, rows: Sequence[Row], predictions: Sequence[Prediction], *, labels: Sequence[str]
) -> Measure:
    """Prepare every score of a task's predictions. `kind` is "classification" or "entities"."""
    check_kind(kind)
    if kind == "classification":
        truth, probabilities = class_arrays(rows, predictions, labels=labels)
        return classification_measure(truth, probabilities, labels=labels)
    truth, tags, confidences = tag_lists(rows, predictions, types=labels)
    return entity_measure(truth, tags, confidences, types=labels)


def check_kind(kind: str) -> None:
    """Raise ConfigError unless there are scores for this kind of task."""
    if kind not in names.SCORES:
        raise ConfigError(
            f"There are no scores for tasks of kind `{kind}`.", fix=did_you_mean(kind, names.SCORES)
        )


def classes_in(kind: str, labelled: Mapping[str, Any]) -> list[str]:
    """Return the class of a row or prediction, or the types of its entities, one for each."""
    if kind == "classification":
        return [labelled["label"]]
    return [entity.type for entity in entities_of(labelled["tags"])]


def class_arrays(
    rows: Sequence[Row], predictions: Sequence[Prediction], *, labels: Sequence[str]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the truth (N,), as indices into labels, and the probabilities (N, C)."""
    _check_lengths(rows, predictions)
    index = {label: c for c, label in enumerate(labels)}
    for row in rows:
        if row["label"] not in index:
            raise _unknown_label(row, row["label"], labels)
    truth = np.array([index[row["label"]] for row in rows], dtype=np.int64)
    probabilities = np.empty((len(rows), len(labels)))
    for n, (row, prediction) in enumerate(zip(rows, predictions, strict=True)):
        given = prediction["probabilities"]
        if given.keys() != index.keys():
            raise CorpusError(
                f"The prediction of row {row['id']} has other labels than the task: "
                f"{', '.join(sorted(given.keys() ^ index.keys()))}.",
                fix="score the model on the task it was trained for, or train it on this one.",
            )
        probabilities[n] = [given[label] for label in labels]
        if given[prediction["label"]] < probabilities[n].max():
            raise CorpusError(
                f"The prediction of row {row['id']} is `{prediction['label']}`, which is not its "
                "most probable label.",
                fix="predict the label with the largest probability; scores are taken from it.",
            )
    _check_probabilities(rows, probabilities)
    return truth, probabilities


def tag_lists(
    rows: Sequence[Row], predictions: Sequence[Prediction], *, types: Sequence[str]
) -> tuple[list[list[str]], list[list[str]], list[list[float]]]:
    """Return the true tags, the predicted tags and their confidences, a list for each row."""
    _check_lengths(rows, predictions)
    known = {OUTSIDE, *(f"{prefix}-{kind}" for prefix in "BI" for kind in types)}
    for row, prediction in zip(rows, predictions, strict=True):
        for tag in (*row["tags"], *prediction["tags"]):
            if tag not in known:
                raise _unknown_label(row, tag, sorted(known))
        lengths = {len(row["tags"]), len(prediction["tags"]), len(prediction["confidences"])}
        if len(lengths) > 1:
            raise CorpusError(
                f"Row {row['id']} has {len(row['tags'])} tags, but {len(prediction['tags'])} were "
                f"predicted with {len(prediction['confidences'])} confidences.",
                fix="give one tag and one confidence for each token of the row.",
            )
    return (
        [list(row["tags"]) for row in rows],
        [list(prediction["tags"]) for prediction in predictions],
        [list(prediction["confidences"]) for prediction in predictions],
    )


def _check_lengths(rows: Sequence[Row], predictions: Sequence[Prediction]) -> None:
    if not rows:
        raise CorpusError(
            "There are no rows to score.", fix="run `dvc repro`, which makes the task's files."
        )
    if len(rows) != len(predictions):
        raise CorpusError(
            f"{len(predictions):,} predictions were given for {len(rows):,} rows.",
            fix="score exactly the rows of one split, in their order.",
        )


def _check_probabilities(rows: Sequence[Row], probabilities: NDArray[np.float64]) -> None:
    total = probabilities.sum(axis=1)
    # Written so that NaN is wrong too.
    is_wrong = ~((probabilities >= 0).all(axis=1) & (np.abs(total - 1) <= _SUM_TOLERANCE))
    if is_wrong.any():
        n = int(is_wrong.argmax())
        raise CorpusError(
            f"The probabilities of row {rows[n]['id']} are not a distribution: they sum to "
            f"{total[n]:g}.",
            fix="train the model again; a loss that became NaN leaves such a model.",
        )


def _unknown_label(row: Row, label: str, known: Sequence[str]) -> CorpusError:
    return CorpusError(
        f"Row {row['id']} has `{label}`, which the task does not know.",
        fix=f"run `dvc repro` to label again; {did_you_mean(label, known)}",
    )
