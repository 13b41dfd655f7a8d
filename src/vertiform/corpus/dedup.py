"""The stage dedup: keep one of each set of documents that are the same, or nearly.

A document is dropped only if its shingles are at least `min_jaccard` alike, compared in truth, with
those of a document that is kept. MinHash and LSH only say which pairs to compare.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vertiform.corpus.buckets import BandFiles, Buckets
from vertiform.corpus.matches import Matches, report_of, write_matches
from vertiform.corpus.parallel import in_chunks, in_order
from vertiform.corpus.shards import DocumentIndex, document_from
from vertiform.corpus.shingles import band_keys, chance_found, digest_of, jaccard, shingles_of
from vertiform.corpus.sieve import Sifted, write_sifted
from vertiform.errors import ConfigError
from vertiform.progress import progress

CHUNK_BYTES = 1_000_000  # of documents, handed to a process at once
MOST_COMPARED = 100  # documents a document is compared with: bounds the time on templated texts
CACHED_SHINGLES = 500_000  # of documents compared lately: about 60 MB
MATCHES = "matches.csv"


@dataclass(frozen=True)
class DedupParams:
    """What counts as a near-duplicate.

    shingle_words:     words in a shingle; characters where words are not set apart by spaces.
    min_jaccard:       shingles in common, from which on a document is dropped, 0-1.
    min_group_jaccard: from which on two kept documents stay on one side of any split, 0-1.
    num_bands, rows_per_band: of the MinHash signature. More bands miss fewer pairs, more rows
                       compare fewer pairs in vain.
    """

    shingle_words: int
    min_jaccard: float
    min_group_jaccard: float
    num_bands: int
    rows_per_band: int

    def __post_init__(self) -> None:
        if not 0 < self.min_group_jaccard <= self.min_jaccard <= 1:
            raise ConfigError(
                f"dedup.min_jaccard is {self.min_jaccard} and dedup.min_group_jaccard is "
                f"{self.min_group_jaccard}.",
                fix="choose 0 < min_group_jaccard <= min_jaccard <= 1 in params.yaml.",
            )
        for name in ("shingle_words", "num_bands", "rows_per_band"):
            if getattr(self, name) < 1:
                raise ConfigError(
                    f"dedup.{name} is {getattr(self, name)}.", fix="write a whole number over 0."
                )


@dataclass(frozen=True, slots=True)
class _Sketches:
    """Of a chunk of documents: 16-byte digests in a row, and band keys (documents, bands)."""

    digests: bytes
    keys: np.ndarray


def dedup_corpus(
    params: DedupParams, *, domain: str, documents: Path, out: Path, dropped: Path
) -> dict[str, Any]:
    """Write the documents kept to `out`, with meta.duplicate_group, and the copies to `dropped`.

    `dropped` also gets matches.csv: which document matched which, and how much alike they are.
    Returns the report.
    """
    with closing(DocumentIndex(documents)) as index:
        matches = find_matches(index, params=params, scratch=out.parent)
        sifted = progress(
            _sifted(index, matches), what=f"writing {domain}", unit="documents", total=len(index)
        )
        write_sifted(sifted, out=out, dropped=dropped)
        write_matches(dropped / MATCHES, index, matches)
        found = chance_found(
            params.min_jaccard, num_bands=params.num_bands, rows_per_band=params.rows_per_band
        )
        return report_of(index, matches) | {"chance_found_at_min_jaccard": round(found, 4)}


def find_matches(
    index: DocumentIndex, *, params: DedupParams, scratch: Path, processes: int | None = None
) -> Matches:
    """Decide for each document whether it is a copy of an earlier one that is kept.

    scratch: a folder with room for 8 bytes a band and document meanwhile.
    Memory:  about 500 bytes a document, whatever its length (benchmarks/dedup_memory.py).
    """
    with BandFiles(params.num_bands, beside=scratch) as bands:
        digests = bytearray()
        chunks = in_chunks(index.lines(), size_of=len, max_size=CHUNK_BYTES)
        sketched = in_order(partial(_sketch, params=params), chunks, processes=processes)
        for sketches in progress(sketched, what="sketching documents", unit="MB"):
            digests += sketches.digests
            bands.append(sketches.keys)
        first = _first_with_same(digests)
        numbers = np.arange(len(first), dtype=np.int32)
        buckets = bands.buckets(first == numbers)
    matches = Matches(
        kept_copy=numbers.copy(),
        alike=np.ones(len(first)),
        is_exact=first != numbers,
        group=numbers.copy(),
    )
    _match_near(index, buckets, matches, params=params)
    _match_exact(first, matches)
    return matches


def _sketch(lines: list[bytes], *, params: DedupParams) -> _Sketches:
    texts = [document_from(line).text for line in lines]
    shingles = [shingles_of(text, num_words=params.shingle_words) for text in texts]
    keys = band_keys(shingles, num_bands=params.num_bands, rows_per_band=params.rows_per_band)
    return _Sketches(b"".join(map(digest_of, texts)), keys)


def _first_with_same(digests: bytearray) -> np.ndarray:
    """Return (documents,) int32: the number of the first document with the same 16-byte digest."""
    values = np.frombuffer(digests, dtype="V16")
    _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int32)


def _match_near(
    index: DocumentIndex, buckets: Buckets, matches: Matches, *, params: DedupParams
) -> None:
    shingles = _ShingleCache(index, num_words=params.shingle_words)
    members = buckets.members()
    for number in progress(
        map(int, members), what="comparing candidates", unit="documents", total=len(members)
    ):
        own = shingles[number]
        close: list[int] = []  # kept documents to stay on one side with, if this one is kept
        for other in buckets.alike(number)[:MOST_COMPARED]:
            matches.compared += 1
            measured = jaccard(own, shingles[other])
            if measured >= params.min_jaccard:
                matches.kept_copy[number] = other
                matches.alike[number] = measured
                break
            if measured >= params.min_group_jaccard:
                close.append(other)
        else:
            buckets.keep(number)
            for other in close:
                _join(matches.group, number, other)


def _match_exact(first: np.ndarray, matches: Matches) -> None:
    """Let every exact copy share the fate of the first, and every document know its group."""
    for number in np.flatnonzero(matches.is_exact):
        same = first[number]
        matches.kept_copy[number] = matches.kept_copy[same]
        matches.alike[number] = matches.alike[same]
        matches.is_exact[number] = matches.kept_copy[same] == same
    for number, kept in enumerate(matches.kept_copy):
        matches.group[number] = _root(matches.group, int(kept))


def _root(group: np.ndarray, number: int) -> int:
    while group[number] != number:
        group[number] = group[group[number]]
        number = int(group[number])
    return number


def _join(group: np.ndarray, first: int, second: int) -> None:
    low, high = sorted((_root(group, first), _root(group, second)))
    group[high] = low  # the earliest document names the group


def _sifted(index: DocumentIndex, matches: Matches) -> Iterator[Sifted]:
    for number, document in enumerate(index):
        kept, group = int(matches.kept_copy[number]), int(matches.group[number])
        group_id = document.id if group == number else index[group].id
        meta = document.meta | {"duplicate_group": group_id}
        if kept == number:
            yield Sifted(replace(document, meta=meta))
            continue
        kept_id = group_id if kept == group else index[kept].id
        alike = round(float(matches.alike[number]), 4)
        meta |= {"duplicate_of": kept_id, "jaccard": alike}
        yield Sifted(replace(document, meta=meta), f"{matches.how(number)} copy of {kept_id}")


class _ShingleCache:
    """The shingles of documents compared lately, up to a number of shingles in all."""

    def __init__(self, index: DocumentIndex, *, num_words: int) -> None:
        self._index = index
        self._num_words = num_words
        self._sets: OrderedDict[int, frozenset[str]] = OrderedDict()
        self._size = 0

    def __getitem__(self, number: int) -> frozenset[str]:
        if number in self._sets:
            self._sets.move_to_end(number)
            return self._sets[number]
        text = self._index[number].text
        shingles = frozenset(shingles_of(text, num_words=self._num_words))
        self._sets[number] = shingles
        self._size += len(shingles)
        while self._size > CACHED_SHINGLES and len(self._sets) > 2:
            self._size -= len(self._sets.popitem(last=False)[1])
        return shingles
