"""Finds text that shares a run of words with held-out examples (13 words: Brown et al. 2020).

Words are compared without case and punctuation; each CJK character counts as a word. An example
shorter than the run counts as shared when all of its words stand together in a text.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+")
_TEXTS_AT_ONCE = 4096  # bounds memory; large enough that numpy's cost per call does not show
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing modulo 2**64


def words_of(text: str) -> list[str]:
    """The normalised words of a text: NFKC, lower case, no punctuation or underscores."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).lower())


@dataclass(frozen=True, slots=True)
class Shared:
    """A text that shares a run of words with an example."""

    text_number: int
    example_id: str
    words: str


class HeldOut:
    """The runs of words of held-out examples, to look texts up in."""

    def __init__(
        self, examples: Iterable[tuple[str, str]], *, ngram_words: int, min_example_words: int
    ) -> None:
        """examples: (id, text). Those with fewer than min_example_words words are only counted."""
        self.num_examples = 0
        self.num_too_short = 0
        self._example_of: dict[tuple[str, ...], str] = {}  # run of words -> example's id
        for example_id, text in examples:
            self.num_examples += 1
            words = words_of(text)
            if len(words) < min_example_words:
                self.num_too_short += 1
            for run in _runs(words, min(ngram_words, len(words))):
                if len(run) >= min_example_words:
                    self._example_of.setdefault(run, example_id)
        self._hashes = _hashes_by_length(self._example_of)

    def find(self, texts: Iterable[str]) -> Iterator[Shared]:
        """Yield, for each text that shares a run with an example, the first such run; in order."""
        remaining = iter(texts)
        first = 0
        while chunk := [words_of(text) for text in islice(remaining, _TEXTS_AT_ONCE)]:
            for number in sorted(self._candidates(chunk)):
                found = self._first_run(chunk[number])
                if found is not None:
                    yield Shared(first + number, self._example_of[found], " ".join(found))
            first += len(chunk)

    def _candidates(self, chunk: Sequence[list[str]]) -> set[int]:
        """Numbers of the texts in which a run's hash occurs: a few too many, never too few."""
        ids: dict[str, int] = {}
        flat = np.array(
            [ids.setdefault(word, len(ids)) for words in chunk for word in words], dtype=np.int64
        )
        if not len(flat):
            return set()
        hash_of_word = np.array([_hash(word) for word in ids], dtype=np.uint64)
        hashed = hash_of_word[flat]
        ends = np.cumsum([len(words) for words in chunk])
        candidates: set[int] = set()
        for length, known in self._hashes.items():
            if len(hashed) < length:
                continue
            rolled = np.zeros(len(hashed) - length + 1, dtype=np.uint64)
            for place in range(length):
                rolled = rolled * _FACTOR + hashed[place : place + len(rolled)]
            at = np.flatnonzero(_is_among(rolled, known))
            text_of_start = np.searchsorted(ends, at, side="right")
            inside = at + length <= ends[text_of_start]  # a run across two texts is none
            candidates.update(text_of_start[inside].tolist())
        return candidates

    def _first_run(self, words: list[str]) -> tuple[str, ...] | None:
        for length in sorted(self._hashes, reverse=True):
            for run in _runs(words, length):
                if run in self._example_of:
                    return run
        return None


def _runs(words: list[str], length: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[place:] for place in range(length)), strict=False)


def _hash(word: str) -> int:
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")


def _hashes_by_length(runs: Iterable[tuple[str, ...]]) -> dict[int, np.ndarray]:
    """Sorted uint64 hashes of the runs, by the number of their words."""
    hashes: dict[int, list[int]] = {}
    cache: dict[str, int] = {}
    factor = int(_FACTOR)
    for run in runs:
        rolled = 0
        for word in run:
            if word not in cache:
                cache[word] = _hash(word)
            rolled = (rolled * factor + cache[word]) % 2**64
        hashes.setdefault(len(run), []).append(rolled)
    return {n: np.sort(np.array(h, dtype=np.uint64)) for n, h in sorted(hashes.items())}


def _is_among(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    places = np.searchsorted(known, values)
    places[places == len(known)] = 0
    return known[places] == values
