"""What passes from a stream of tokens to an objective: windows, and the randomness they may use."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np

from vertiform.batches.randomness import Purpose, key_of


class Windows(NamedTuple):
    """Consecutive windows of a stream, cut every T tokens, without padding.

    ids:     (B, T) int64: [CLS] piece [SEP] [CLS] piece [SEP] ...; of a stream of pairs
             [CLS] A [SEP] B [SEP] ...
    is_next: (B, T) int8, of a stream of pairs only: at a [CLS] whose pair is whole in its window 1
             where B follows A in its document and 0 where it does not; -1 everywhere else.
    """

    ids: np.ndarray
    is_next: np.ndarray | None = None


class WindowStream(Protocol):
    """An endless series of windows in which any can be read without those before it."""

    @property
    def tokens_per_epoch(self) -> int:
        """Tokens in one pass, special tokens counted."""
        ...

    def windows(self, first: int, count: int, *, window_tokens: int) -> Windows:
        """Return windows `first` to `first + count` of T = `window_tokens` each."""
        ...


@dataclass(frozen=True, kw_only=True)
class Draws:
    """The random numbers of consecutive windows. Each window's are a function of
    (seed, purpose, its number) alone, whatever windows stand beside it in the batch.

    first:   number of the first window.
    windows: B; tokens: T.

    One Philox stream (Salmon et al. 2011), counted as 256 bits: the low 64 count the blocks of
    four numbers along the windows, so that a whole batch is one call, the next 64 say which row.
    """

    seed: int
    purpose: Purpose
    first: int
    windows: int
    tokens: int

    def uniform(self, rows: int) -> np.ndarray:
        """Return (rows, B, T) float64 in [0, 1). Equal calls give equal numbers, and a call for
        more rows begins with the same ones: take all that is needed at once.
        """
        blocks = -(-self.tokens // _BLOCK)  # of a window, rounded up
        drawn = np.empty((rows, self.windows, blocks * _BLOCK))
        for row in range(rows):
            self._at((row << 64) + self.first * blocks).random(out=drawn[row])
        return drawn[:, :, : self.tokens]

    def generator(self, b: int) -> np.random.Generator:
        """Return a fresh generator of window b of the batch: for a number of draws that varies."""
        return self._at((1 << 192) + ((self.first + b) << 128))

    def _at(self, counter: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=self._key, counter=counter))

    @cached_property
    def _key(self) -> np.ndarray:
        return key_of(self.seed, self.purpose)


_BLOCK = 4  # numbers of 64 bits that one count of Philox gives

Prepare = Callable[[Windows, Draws, float], Any]
"""Makes a batch of windows; an objective gives it. The third is the progress of the run, 0 to 1,
for what is scheduled over it; validation is prepared with 1."""
