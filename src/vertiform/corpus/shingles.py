"""Texts as sets of overlapping word n-grams, and the MinHash signatures of such sets."""

import hashlib
from collections.abc import Sequence

import numpy as np
from rensa import RMinHash  # pyrefly: ignore[missing-module-attribute] - compiled, untyped

from vertiform.corpus.words import words_of

HASH_SEED = 1  # fixed: another seed would find other pairs among those near the limit


def shingles_of(text: str, *, num_words: int) -> list[str]:
    """Return every run of `num_words` words; unspaced scripts by character; at least one shingle.

    A text shorter than that is one shingle; one without words is its own.
    """
    words = words_of(text)
    if len(words) <= num_words:
        return [" ".join(words) or text.strip()]
    return list(map(" ".join, zip(*(words[i:] for i in range(num_words)), strict=False)))


def jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    """Return how much two sets have in common, 0 to 1."""
    common = len(first & second)
    return common / (len(first) + len(second) - common)


def digest_of(text: str) -> bytes:
    """Return 16 bytes that are the same for the same text only, spaces around it aside."""
    return hashlib.blake2b(text.strip().encode(), digest_size=16).digest()


def band_keys(
    shingles: Sequence[Sequence[str]], *, num_bands: int, rows_per_band: int
) -> np.ndarray:
    """Return (documents, bands) uint64: two documents with the same key in a band may be alike.

    A band is `rows_per_band` values of the MinHash signature; its key is a hash of them, so that
    bands can be compared by one number.
    """
    num_hashes = num_bands * rows_per_band
    matrix = RMinHash.digest_matrix_from_token_sets(shingles, num_hashes, HASH_SEED)
    signatures = np.array(matrix.to_rows(), dtype=np.uint64)  # (documents, hashes)
    rows = signatures.reshape(len(shingles), num_bands, rows_per_band)
    keys = np.zeros((len(shingles), num_bands), dtype=np.uint64)
    for row in range(rows_per_band):
        keys = _mix(keys ^ rows[:, :, row])
    return keys


def chance_found(similarity: float, *, num_bands: int, rows_per_band: int) -> float:
    """Return the chance that a pair of that Jaccard similarity shares a band, and is compared."""
    return 1 - (1 - similarity**rows_per_band) ** num_bands


def _mix(keys: np.ndarray) -> np.ndarray:
    # The finisher of splitmix64 (Steele et al. 2014): every bit in reaches every bit out.
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))
