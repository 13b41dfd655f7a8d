import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from vertiform.evaluation import names
from vertiform.evaluation.scores import classification_measure, classification_scores

LABELS = ["a", "b", "c", "d"]

# Sums of the same numbers in another order.
ROUNDING = 1e-12


def some_predictions(rows: int, *, seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, len(LABELS), rows)
    # Two digits, so that equal scores happen too.
    return truth, generator.dirichlet(np.ones(len(LABELS)), rows).round(2) + 1e-9


def test_a_perfect_prediction_scores_one():
    truth = np.array([0, 1, 2, 3, 1])
    scores = classification_scores(truth, np.eye(4)[truth], labels=LABELS)
    assert scores.pop(names.CALIBRATION_ERROR) == 0
    assert set(scores.values()) == {1.0}


@pytest.mark.parametrize("seed", range(5))
def test_scores_agree_with_scikit_learn_under_any_weights(seed):
    truth, probabilities = some_predictions(60, seed=seed)
    weights = np.random.default_rng(seed).integers(0, 4, 60).astype(float)
    kept = weights > 0
    measured = classification_measure(truth, probabilities, labels=LABELS)(weights[None])

    true, predicted = truth[kept], probabilities[kept].argmax(axis=1)
    expected = precision_recall_fscore_support(
        true, predicted, sample_weight=weights[kept], average="macro", zero_division=0
    )[:3]
    macro = [measured[n][0] for n in (names.PRECISION_MACRO, names.RECALL_MACRO, names.F1_MACRO)]
    assert macro == pytest.approx(expected, abs=ROUNDING)
    by_class = precision_recall_fscore_support(
        true, predicted, sample_weight=weights[kept], labels=range(4), zero_division=0
    )[:3]
    for score, values in zip((names.PRECISION, names.RECALL, names.F1), by_class, strict=True):
        ours = [measured[names.of_class(score, label)][0] for label in LABELS]
        assert ours == pytest.approx(values, abs=ROUNDING)
    aucs = [
        roc_auc_score(true == c, probabilities[kept, c], sample_weight=weights[kept])
        for c in set(true)
    ]
    assert measured[names.ROC_AUC_MACRO][0] == pytest.approx(np.mean(aucs), abs=ROUNDING)


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_the_order_of_rows_changes_no_score(seed, rows):
    truth, probabilities = some_predictions(rows, seed=seed)
    order = np.random.default_rng(seed + 1).permutation(rows)
    scores = classification_scores(truth, probabilities, labels=LABELS)
    shuffled = classification_scores(truth[order], probabilities[order], labels=LABELS)
    assert scores == pytest.approx(shuffled, abs=ROUNDING)


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_every_score_is_between_zero_and_one(seed, rows):
    truth, probabilities = some_predictions(rows, seed=seed)
    scores = classification_scores(
        truth, probabilities / probabilities.sum(1, keepdims=True), labels=LABELS
    )
    assert all(-ROUNDING <= value <= 1 + ROUNDING for value in scores.values())


def test_a_weight_of_two_is_the_row_written_twice():
    truth, probabilities = some_predictions(10, seed=3)
    twice = np.array([0, *range(10)])
    weights = np.array([[2.0, *[1.0] * 9]])
    weighted = classification_measure(truth, probabilities, labels=LABELS)(weights)
    written = classification_scores(truth[twice], probabilities[twice], labels=LABELS)
    assert {n: weighted[n][0] for n in written} == pytest.approx(written, abs=ROUNDING)


def test_a_class_that_is_neither_true_nor_predicted_has_no_score_and_no_part_in_the_mean():
    scores = classification_scores([0, 1], np.eye(4)[[0, 1]], labels=LABELS)
    assert "f1/c" not in scores
    assert scores[names.F1_MACRO] == 1.0


def test_one_class_alone_defines_no_roc_auc():
    scores = classification_scores([0, 0], np.eye(4)[[0, 1]], labels=LABELS)
    assert names.ROC_AUC_MACRO not in scores
