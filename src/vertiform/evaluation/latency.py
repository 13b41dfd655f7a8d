"""How long the slow requests take: the 95th percentile, and how sure it is."""

from collections.abc import Sequence

import numpy as np

from vertiform.evaluation import names
from vertiform.evaluation.bootstrap import (
    Interval,
    Measure,
    Resampling,
    Values,
    Weights,
    draw,
    intervals,
)


def p95_interval(milliseconds: Sequence[float], *, resampling: Resampling) -> Interval:
    """Return the time that 19 of 20 requests stay within, and its bootstrap interval."""
    drawn = draw(_p95(np.array(milliseconds)), rows=len(milliseconds), resampling=resampling)
    return intervals(drawn)[names.REQUEST_P95_MILLISECONDS]


def _p95(milliseconds: Values) -> Measure:
    """The smallest time that at least 95% of the requests drawn stay within: no interpolation."""
    order = np.argsort(milliseconds, kind="stable")

    def measure(weights: Weights) -> dict[str, Values]:
        within = np.cumsum(weights[:, order], axis=1)  # (R, requests), by rising time
        first = (within >= 0.95 * within[:, -1:]).argmax(axis=1)
        return {names.REQUEST_P95_MILLISECONDS: milliseconds[order][first]}

    return measure
