"""One number, fitted on validation, that makes a network's confidences mean what they say."""

from collections.abc import Sequence

import numpy as np

LOWEST, HIGHEST = 0.05, 20.0
ITERATIONS = 60  # each keeps 0.618 of the bracket: the last is narrower than 1e-11


def fit_temperature(logits: Sequence[np.ndarray], targets: Sequence[np.ndarray]) -> float:
    """Return the temperature T that minimises the mean nats of softmax(logits / T).

    Guo et al. 2017 (arXiv 1706.04599), section 4.2. logits: (C,) or (words, C) of each row;
    targets: () or (words,) each. The nats are convex in 1/T, so a golden-section search over
    log(1/T) finds the lowest point, the same on every machine.
    """
    rows = np.concatenate([values.reshape(-1, values.shape[-1]) for values in logits])
    rows = rows.astype(np.float64)  # (M, C)
    truth = np.concatenate([np.atleast_1d(values) for values in targets])  # (M,)
    if not len(truth):
        return 1.0
    shrink = (np.sqrt(5) - 1) / 2
    low, high = np.log(LOWEST), np.log(HIGHEST)
    left, right = high - shrink * (high - low), low + shrink * (high - low)
    nats_left, nats_right = _nats(rows, truth, left), _nats(rows, truth, right)
    for _ in range(ITERATIONS):
        if nats_left < nats_right:
            high, right, nats_right = right, left, nats_left
            left = high - shrink * (high - low)
            nats_left = _nats(rows, truth, left)
        else:
            low, left, nats_left = left, right, nats_right
            right = low + shrink * (high - low)
            nats_right = _nats(rows, truth, right)
    return float(np.exp((low + high) / 2))


def _nats(rows: np.ndarray, truth: np.ndarray, log_temperature: float) -> float:
    scaled = rows / np.exp(log_temperature)
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(scaled).sum(axis=1))
    return float((log_total - scaled[np.arange(len(truth)), truth]).mean())
