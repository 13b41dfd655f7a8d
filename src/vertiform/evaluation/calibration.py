"""Does a confidence of 0.8 mean right four times in five? Bins of confidence, and their error."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vertiform.evaluation.bootstrap import Values, Weights, ratio_or_nan

NUM_BINS = 15  # Guo et al. 2017 (arXiv 1706.04599), section 5


@dataclass(frozen=True, slots=True)
class CalibrationBins:
    """Sums over predictions, by unit (the row a prediction was drawn with) and confidence bin."""

    gap: NDArray[np.float64]  # (units, bins), sum of correct minus confidence
    confidence: NDArray[np.float64]  # (bins,), sum
    correct: NDArray[np.float64]  # (bins,), sum
    count: NDArray[np.float64]  # (units, bins)


def bin_of(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return each confidence's bin, 0 to 14: equal widths, each closed above, as Guo et al. do."""
    inner_edges = np.arange(1, NUM_BINS) / NUM_BINS
    return np.searchsorted(inner_edges, confidence, side="left").astype(np.int64)


def calibration_bins(
    confidence: NDArray[np.float64],
    correct: NDArray[np.bool_],
    *,
    unit: NDArray[np.int64],
    num_units: int,
) -> CalibrationBins:
    """Sum predictions into bins.

    confidence: (P,), the probability of what was predicted. correct: (P,).
    unit:       (P,), the row that each prediction belongs to, 0 to num_units - 1.
    """
    bins = bin_of(confidence)
    bins = bin_of(confidence)
    found = CalibrationBins(
        gap=np.zeros((num_units, NUM_BINS)),
        count=np.zeros((num_units, NUM_BINS)),
        confidence=np.zeros(NUM_BINS),
        correct=np.zeros(NUM_BINS),
    )
    np.add.at(found.gap, (unit, bins), correct - confidence)
    np.add.at(found.count, (unit, bins), 1.0)
    np.add.at(found.confidence, bins, confidence)
    np.add.at(found.correct, bins, correct.astype(np.float64))
    return found


def expected_calibration_error(bins: CalibrationBins, weights: Weights) -> Values:
    """Return sum over bins of (predictions in it / all) x |accuracy in it - mean confidence in it|.

    Naeini et al. 2015; Guo et al. 2017, equation 3. weights: (R, units). Returns (R,), between 0
    and 1, NaN where a resample holds no prediction.
    """
    gaps = np.abs(weights @ bins.gap).sum(axis=1)  # (R,)
    total = weights @ bins.count.sum(axis=1)  # (R,)
    return ratio_or_nan(gaps, total)


def reliability_records(bins: CalibrationBins) -> list[dict[str, float | int]]:
    """Return a record for each bin that holds a prediction, for a reliability diagram."""
    counts = bins.count.sum(axis=0)
    return [
        {
            "confidence_low": round(b / NUM_BINS, 6),
            "confidence_high": round((b + 1) / NUM_BINS, 6),
            "confidence": round(float(bins.confidence[b] / counts[b]), 6),
            "accuracy": round(float(bins.correct[b] / counts[b]), 6),
            "predictions": int(counts[b]),
        }
        for b in range(NUM_BINS)
        if counts[b]
    ]
