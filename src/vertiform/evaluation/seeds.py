"""How sure a score is over runs that differ in their seed alone, and if two such scores differ.

Three seeds are few, so the intervals are Student's and Welch's, which know it: with three runs the
95% interval of a mean is 4.3 standard errors wide to each side, not 2. They hold the noise of
training (order, dropout, first weights), not that of the rows that were scored: bootstrap.py does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from scipy.special import stdtrit

CONFIDENCE = 0.95  # of both sides together


@dataclass(frozen=True, slots=True)
class SeedInterval:
    """The mean of some runs' scores and Student's interval around it.

    `low` and `high` are None where the runs do not say how much a seed moves the score: there is
    one run alone, or all have exactly the same score.
    """

    values: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None
    confidence: float


@dataclass(frozen=True, slots=True)
class SeedDifference:
    """What runs of one configuration score above those of another, with Welch's interval.

    `low` and `high` are None where a side has one run alone, or where no score of either side
    differs from the others of its side.
    """

    value: float
    low: float | None
    high: float | None
    confidence: float


def of_seeds(values: Sequence[float], *, confidence: float = CONFIDENCE) -> SeedInterval:
    """Return the mean of `values`, one for each seed, with Student's t interval."""
    mean = fmean(_checked(values))
    if _is_spread(values):
        half = _half_width(_squared_error(values), len(values) - 1, confidence)
        return SeedInterval(tuple(values), mean, mean - half, mean + half, confidence)
    return SeedInterval(tuple(values), mean, None, None, confidence)


def difference(
    values: Sequence[float], others: Sequence[float], *, confidence: float = CONFIDENCE
) -> SeedDifference:
    """Return the mean of `values` less that of `others`, with Welch's interval (Welch 1947).

    The two sides need neither as many runs nor the same spread. They are not paired by seed: one
    seed draws other numbers in another configuration.
    """
    value = fmean(_checked(values)) - fmean(_checked(others))
    if min(len(values), len(others)) < 2 or not (_is_spread(values) or _is_spread(others)):
        return SeedDifference(value, None, None, confidence)
    errors = [(_squared_error(side), len(side) - 1) for side in (values, others)]
    total = sum(error for error, _ in errors)
    # Welch-Satterthwaite, of shares of the whole: squares of tiny errors would vanish.
    degrees = 1 / sum((error / total) ** 2 / freedom for error, freedom in errors)
    half = _half_width(total, degrees, confidence)
    return SeedDifference(value, value - half, value + half, confidence)


def is_noise(difference: SeedDifference) -> bool:
    """Say whether seeds alone may explain a difference: its interval holds 0, or there is none."""
    if difference.low is None or difference.high is None:
        return True
    return difference.low <= 0 <= difference.high


def _half_width(squared_error: float, degrees: float, confidence: float) -> float:
    return float(stdtrit(degrees, (1 + confidence) / 2)) * math.sqrt(squared_error)


def _squared_error(values: Sequence[float]) -> float:
    """The squared standard error of their mean; 0 where all are the same."""
    return variance(values) / len(values) if _is_spread(values) else 0.0


def _is_spread(values: Sequence[float]) -> bool:
    return min(values) < max(values)


def _checked(values: Sequence[float]) -> Sequence[float]:
    assert values, "no run, no score"
    assert all(map(math.isfinite, values)), "a run without a finite score has failed"
    return values
