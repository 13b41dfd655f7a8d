"""Curves cut down to what a screen can show, without losing an extreme."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POINTS_PER_BUCKET = 3  # the lowest, the highest, and one that is no number if there is one


@dataclass(frozen=True)
class Curve:
    """One metric of one run, by step: all of one length, float64. Seconds since the run started."""

    steps: NDArray[np.float64]
    seconds: NDArray[np.float64]
    values: NDArray[np.float64]  # NaN and infinities as they were logged

    def __len__(self) -> int:
        return len(self.steps)

    def at(self, places: NDArray[np.intp]) -> "Curve":
        """Return the points at these places."""
        return Curve(self.steps[places], self.seconds[places], self.values[places])


def one_value_a_step(curve: Curve) -> Curve:
    """Sort by step; of several values at one step the latest stands."""
    order = np.lexsort((curve.seconds, curve.steps))
    is_last = np.append(np.diff(curve.steps[order]) != 0, True) if len(curve) else order
    return curve.at(order[is_last] if len(curve) else order)


def thin(curve: Curve, *, max_points: int) -> Curve:
    """Keep at most `max_points` (5 or more): the first, the last, and each bucket's extremes.

    Buckets hold equally many consecutive points; of each the lowest and the highest stay, and one
    that is no finite number if there is one, so that a spike or a NaN of one step stays in sight.
    """
    if len(curve) <= max_points:
        return curve
    kept = [0, len(curve) - 1]
    for places in _buckets(len(curve), max(1, (max_points - 2) // POINTS_PER_BUCKET)):
        values = curve.values[places]
        finite = np.isfinite(values)
        if finite.any():
            kept.append(places[np.where(finite, values, np.inf).argmin()])
            kept.append(places[np.where(finite, values, -np.inf).argmax()])
        if not finite.all():
            kept.append(places[finite.argmin()])
    return curve.at(np.unique(kept))


def bucket_means(curve: Curve, *, max_points: int) -> Curve:
    """Return the mean of each of `max_points` buckets, which is what may be smoothed further.

    Smoothing the extremes that `thin` keeps would weigh one spike as much as all points around it.
    A bucket without a finite number is left out.
    """
    if len(curve) <= max_points:
        return curve
    means = []
    for places in _buckets(len(curve), max_points):
        finite = places[np.isfinite(curve.values[places])]
        if len(finite):
            part = curve.at(finite)
            means.append([part.steps.mean(), part.seconds.mean(), part.values.mean()])
    columns = np.array(means, dtype=np.float64).reshape(-1, 3).T
    return Curve(*columns)


def _buckets(length: int, number: int) -> list[NDArray[np.intp]]:
    return np.array_split(np.arange(length), min(number, length))
