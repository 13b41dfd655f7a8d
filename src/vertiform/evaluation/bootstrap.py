"""How sure a score is: percentile intervals from rows drawn again, and paired differences.

A measure turns row weights into scores. Weights of one give the score itself; how often each row
was drawn gives a resample's score. So what is reported and what is resampled is the same code,
and a thousand resamples are a few matrix products (Efron & Tibshirani 1993, chapter 13).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.float64]  # (resamples, rows), how often each row was drawn
Values = NDArray[np.float64]  # (resamples,), NaN where a resample does not define the score
Measure = Callable[[Weights], Mapping[str, Values]]

_BLOCK_ELEMENTS = 1_000_000  # 8 MB of weights at a time: bounded memory, and close to the cache


@dataclass(frozen=True, slots=True)
class Interval:
    """A score and the interval around it. `low <= value <= high`, always."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class DifferenceInterval:
    """What one system scores above another on the same rows; `mean` is over the resamples."""

    mean: float
    low: float
    high: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Resampling:
    """How resamples are drawn. The same values on as many rows draw the same rows, so any two
    systems measured with one Resampling are paired."""

    seed: int
    resamples: int  # 1,000 for percentile intervals: Efron & Tibshirani 1993, chapter 13
    confidence: float  # 0-1, of both sides together


def point_values(measure: Measure, *, rows: int) -> dict[str, float]:
    """Score the rows as they are. A score that they do not define is left out."""
    measured = measure(np.ones((1, rows)))
    return {name: float(v[0]) for name, v in measured.items() if not np.isnan(v[0])}


def resampled_values(measure: Measure, *, rows: int, resampling: Resampling) -> dict[str, Values]:
    """Score every resample of the rows; each value is (resamples,)."""
    blocks = [measure(weights) for weights in _weight_blocks(rows, resampling)]
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def intervals(
    points: Mapping[str, float], samples: Mapping[str, Values], *, confidence: float
) -> dict[str, Interval]:
    """Put the percentile interval of its resampled values around each score.

    Resampling adds noise, so a score that noise can only raise (a calibration error) may lie below
    all its resamples: the interval is then widened to hold it, never narrowed.
    """
    found = {}
    for name, value in points.items():
        low, high = _percentiles(samples[name], confidence)
        found[name] = Interval(value, min(low, value), max(high, value))
    return found


def differences(
    samples: Mapping[str, Values], others: Mapping[str, Values], *, confidence: float
) -> dict[str, DifferenceInterval]:
    """Subtract `others` from `samples`, resample by resample, for every score that both have.

    Both must come from one Resampling over the same rows. Scores that no resample defines for
    both are left out.
    """
    found = {}
    for name in samples.keys() & others.keys():
        difference = samples[name] - others[name]
        if np.isnan(difference).all():
            continue
        low, high = _percentiles(difference, confidence)
        found[name] = DifferenceInterval(float(np.nanmean(difference)), low, high, confidence)
    return {name: found[name] for name in samples if name in found}


def _weight_blocks(rows: int, resampling: Resampling) -> Iterator[Weights]:
    generator = np.random.default_rng(resampling.seed)
    block = max(1, _BLOCK_ELEMENTS // rows)
    for start in range(0, resampling.resamples, block):
        size = min(block, resampling.resamples - start)
        drawn = generator.integers(0, rows, size=(size, rows))
        drawn += np.arange(size)[:, None] * rows  # each resample counts in a range of its own
        counts = np.bincount(drawn.ravel(), minlength=size * rows)
        yield counts.reshape(size, rows).astype(np.float64)


def _percentiles(values: Values, confidence: float) -> tuple[float, float]:
    tail = 100 * (1 - confidence) / 2
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return float(low), float(high)
