import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve

from tests.evaluation.examples import (
    LABELS,
    TYPES,
    class_predictions,
    class_rows,
    tagged,
    tagging,
)
from vertiform.evaluation.curves import plot_records, precision_of
from vertiform.evaluation.mistakes import NOTHING


def class_records(n: int, *, skill: float):
    rows = class_rows(n, seed=0)
    predictions = class_predictions(rows, skill=skill, seed=1)
    return rows, predictions, plot_records("classification", rows, predictions, labels=LABELS)


def test_the_confusion_has_a_record_for_each_row():
    rows, predictions, records = class_records(30, skill=0.3)
    assert records["confusion"] == [
        {"actual": r["label"], "predicted": p["label"]}
        for r, p in zip(rows, predictions, strict=True)
    ]


def test_precision_at_a_recall_is_the_best_of_scikit_learns_curve_from_there_on():
    rows, predictions, records = class_records(200, skill=0.3)
    for label in LABELS:
        precision, recall, _ = precision_recall_curve(
            [r["label"] == label for r in rows],
            [p["probabilities"][label] for p in predictions],
        )
        for record in records["precision_recall"]:
            # The last point, recall 0 and precision 1, is scikit-learn's convention, no threshold.
            reached = recall[:-1] >= record["recall"] - 1e-12
            expected = precision[:-1][reached].max()
            assert record[precision_of(label)] == pytest.approx(expected, abs=1e-6)


def test_precision_never_rises_with_recall():
    *_, records = class_records(100, skill=0.1)
    pooled = [record["precision"] for record in records["precision_recall"]]
    assert pooled == sorted(pooled, reverse=True)


def test_a_perfect_model_has_precision_one_at_every_recall():
    *_, records = class_records(40, skill=1.0)
    assert {record["precision"] for record in records["precision_recall"]} == {1.0}


def test_reliability_counts_every_row():
    *_, records = class_records(100, skill=0.3)
    assert sum(record["predictions"] for record in records["reliability"]) == 100


def test_the_confusion_of_entities_names_what_was_missed_and_invented():
    rows = [tagged("B-class O B-function B-class"), tagged("O B-class I-class")]
    predictions = [tagging("B-function O B-function O"), tagging("B-class B-class O")]
    records = plot_records("entities", rows, predictions, labels=TYPES)
    assert records["confusion"] == [
        {"actual": "class", "predicted": "function"},
        {"actual": "function", "predicted": "function"},
        {"actual": "class", "predicted": NOTHING},
        {"actual": "class", "predicted": NOTHING},
        {"actual": NOTHING, "predicted": "class"},
        {"actual": NOTHING, "predicted": "class"},
    ]


def test_the_curve_of_entities_ends_at_the_recall_that_was_reached():
    rows = [tagged("B-class O B-class O")]
    predictions = [tagging("B-class O O B-class", [0.9, 0.9, 0.9, 0.3])]
    records = plot_records("entities", rows, predictions, labels=TYPES)["precision_recall"]
    by_recall = {record["recall"]: record["precision of class"] for record in records}
    assert (by_recall[0.0], by_recall[0.5], by_recall[0.52]) == (1.0, 1.0, None)
    assert {record["precision of function"] for record in records} == {None}


def test_no_entity_anywhere_gives_empty_plots():
    records = plot_records("entities", [tagged("O O")], [tagging("O O")], labels=TYPES)
    assert records["confusion"] == records["reliability"] == []
    assert {record["precision"] for record in records["precision_recall"]} == {None}


def test_a_threshold_cannot_part_equal_scores():
    rows = [{"id": label, "label": label, "text": ""} for label in ("a", "b")]
    even = {"label": "a", "probabilities": {"a": 0.5, "b": 0.5}}
    records = plot_records("classification", rows, [even, even], labels=["a", "b"])
    assert {record["precision of a"] for record in records["precision_recall"]} == {0.5}


def test_the_order_of_rows_moves_no_curve():
    rows = class_rows(50, seed=0)
    predictions = class_predictions(rows, skill=0.2, seed=1)
    order = np.random.default_rng(0).permutation(50)
    there = plot_records("classification", rows, predictions, labels=LABELS)
    back = plot_records(
        "classification", [rows[i] for i in order], [predictions[i] for i in order], labels=LABELS
    )
    assert there["precision_recall"] == back["precision_recall"]
    assert there["reliability"] == back["reliability"]
