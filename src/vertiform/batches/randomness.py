"""Randomness that is counted, not carried: each draw is a function of (seed, purpose, number).

A run that goes on after a kill draws what it would have drawn, without any generator's state
having been kept, and so does every loader process.
"""

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """Keeps the streams of one seed apart. A number is never given to another purpose."""

    ORDER = 1  # counted by epoch
    CORRUPTION = 2  # counted by window
    DROPOUT = 3  # counted by batch
    VALIDATION = 4  # counted by window
    PAIRS = 5  # counted by epoch


def generator(seed: int, purpose: Purpose, number: int) -> np.random.Generator:
    """Return a fresh generator for this draw; Philox is made to be counted (Salmon et al. 2011)."""
    return np.random.Generator(np.random.Philox(_sequence(seed, purpose, number)))


def torch_seed(seed: int, purpose: Purpose, number: int) -> int:
    """Return a seed for torch.manual_seed, 0 to 2**63 - 1."""
    return int(_sequence(seed, purpose, number).generate_state(1, np.uint64)[0] >> np.uint64(1))


def key_of(seed: int, purpose: Purpose) -> np.ndarray:
    """Return the Philox key of a stream whose counter the caller sets, (2,) uint64."""
    sequence = np.random.SeedSequence(seed, spawn_key=(int(purpose),))
    return sequence.generate_state(2, np.uint64)


def _sequence(seed: int, purpose: Purpose, number: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(int(purpose), number))
