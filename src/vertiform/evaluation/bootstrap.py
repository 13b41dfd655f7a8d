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
    """What one system scores above another on the same rows. `low <= value <= high`, always."""

    value: float
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


@dataclass(frozen=True, slots=True)
class Drawn:
    """The scores of the rows as they are, and of every resample of them."""

    points: dict[str, float]  # without those that the rows do not define
    samples: dict[str, Values]
    resampling: Resampling


def point_values(measure: Measure, *, rows: int) -> dict[str, float]:
    """Score the rows as they are. A score that they do not define is left out."""
    measured = measure(np.ones((1, rows)))
    return {name: float(v[0]) for name, v in measured.items() if not np.isnan(v[0])}


def draw(measure: Measure, *, rows: int, resampling: Resampling) -> Drawn:
    """Score the rows as they are and every resample of them."""
    blocks = [measure(weights) for weights in _weight_blocks(rows, resampling)]
    samples = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
    return Drawn(point_values(measure, rows=rows), samples, resampling)


def intervals(drawn: Drawn) -> dict[str, Interval]:
    """Put the percentile interval of its resampled values around each score.

    Resampling adds noise, so a score that noise can only raise (a calibration error) may lie below
    all its resamples: the interval is then widened to hold it, never narrowed.
    """
    found = {}
    for name, value in drawn.points.items():
        bounds = _percentiles(drawn.samples[name], drawn.resampling.confidence)
        if bounds is not None:
            found[name] = Interval(value, min(bounds[0], value), max(bounds[1], value))
    return found


def differences(drawn: Drawn, others: Drawn) -> dict[str, DifferenceInterval]:
    """Subtract `others`, resample by resample, for every score that both have; widened as above.

    Both must be of the same rows.
    """
    assert drawn.resampling == others.resampling, "only one Resampling pairs two systems"
    confidence = drawn.resampling.confidence
    found = {}
    for name in drawn.points:
        if name not in others.points:
            continue
        value = drawn.points[name] - others.points[name]
        bounds = _percentiles(drawn.samples[name] - others.samples[name], confidence)
        if bounds is not None:
            low, high = min(bounds[0], value), max(bounds[1], value)
            found[name] = DifferenceInterval(value, low, high, confidence)
    return found


def ratio_or_nan(part: Values, whole: Values) -> Values:
    """Divide, giving NaN where `whole` is 0: that resample does not define the score."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def _weight_blocks(rows: int, resampling: Resampling) -> Iterator[Weights]:
    generator = np.random.default_rng(resampling.seed)
    block = max(1, _BLOCK_ELEMENTS // rows)
    for start in range(0, resampling.resamples, block):
        size = min(block, resampling.resamples - start)
        drawn = generator.integers(0, rows, size=(size, rows))
        drawn += np.arange(size)[:, None] * rows  # each resample counts in a range of its own
        counts = np.bincount(drawn.ravel(), minlength=size * rows)
        yield counts.reshape(size, rows).astype(np.float64)


def _percentiles(values: Values, confidence: float) -> tuple[float, float] | None:
    """Return the two ends over the resamples that define the score; None where none does."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    tail = 100 * (1 - confidence) / 2
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)
