import numpy as np
import pytest

from vertiform.tasks.calibration import fit_temperature
from vertiform.tasks.classification import softmax


def drawn(true_temperature, *, rows=20_000, seed=0):
    """Logits whose labels were drawn from softmax(logits / true_temperature)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(rows, 4)) * 3
    cumulated = softmax(logits / true_temperature).cumsum(axis=1)
    return logits, (rng.random((rows, 1)) > cumulated).sum(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_labels_were_drawn_with_is_found(temperature):
    logits, labels = drawn(temperature)
    # 20,000 rows fix it to about one part in a hundred.
    assert fit_temperature(list(logits), list(labels)) == pytest.approx(temperature, rel=0.05)


def test_words_of_several_rows_count_alike():
    logits, labels = drawn(2.0, rows=900)
    by_row = fit_temperature(np.split(logits, 3), np.split(labels, 3))
    assert by_row == fit_temperature(list(logits), list(labels))


def test_labels_that_are_always_right_stay_within_bounds():
    assert 0.04 < fit_temperature([np.array([9.0, 0.0])], [np.array(0)]) < 1.0


def test_without_labels_nothing_changes():
    assert fit_temperature([np.empty((0, 3))], [np.empty(0, dtype=np.int64)]) == 1.0
