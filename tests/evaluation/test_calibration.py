import numpy as np
import pytest

from vertiform.evaluation.calibration import (
    bin_of,
    calibration_bins,
    expected_calibration_error,
    reliability_records,
)


def error_of(confidence: list[float], correct: list[bool]) -> float:
    rows = np.arange(len(correct))
    bins = calibration_bins(
        np.array(confidence), np.array(correct), unit=rows, num_units=len(correct)
    )
    return float(expected_calibration_error(bins, np.ones((1, len(correct))))[0])


def test_confidence_that_is_right_as_often_as_it_says_has_no_error():
    confidence = [0.75] * 4 + [0.5] * 2
    correct = [True, True, True, False, True, False]
    assert error_of(confidence, correct) == pytest.approx(0, abs=1e-15)


def test_the_error_is_the_gap_of_each_bin_weighed_by_its_share():
    # Bin of 0.9: right half the time, gap 0.4, share 2/3. Bin of 0.3: always right, gap 0.7.
    assert error_of([0.9, 0.9, 0.3], [True, False, True]) == pytest.approx(0.4 * 2 / 3 + 0.7 / 3)


def test_sure_and_always_wrong_is_an_error_of_one():
    assert error_of([1.0, 1.0], [False, False]) == 1.0


def test_no_prediction_defines_no_error():
    bins = calibration_bins(
        np.array([]), np.array([], dtype=bool), unit=np.array([], dtype=int), num_units=2
    )
    assert np.isnan(expected_calibration_error(bins, np.ones((1, 2)))).all()
    assert reliability_records(bins) == []


def test_bins_are_closed_above_and_cover_everything_from_zero_to_one():
    assert bin_of(np.array([0.0, 1 / 15, 0.07, 14 / 15, 1.0])).tolist() == [0, 0, 1, 13, 14]


def test_reliability_records_hold_each_prediction_once():
    bins = calibration_bins(
        np.array([0.9, 0.92, 0.3]),
        np.array([True, False, True]),
        unit=np.arange(3),
        num_units=3,
    )
    assert reliability_records(bins) == [
        {
            "confidence_low": 0.266667,
            "confidence_high": 0.333333,
            "confidence": 0.3,
            "accuracy": 1.0,
            "predictions": 1,
        },
        {
            "confidence_low": 0.866667,
            "confidence_high": 0.933333,
            "confidence": 0.91,
            "accuracy": 0.5,
            "predictions": 2,
        },
    ]
