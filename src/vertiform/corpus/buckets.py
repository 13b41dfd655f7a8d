"""Which documents share a band of their signatures, in a few bytes a document."""

import tempfile
from array import array
from collections import Counter
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np


class BandFiles:
    """Band keys of all documents, on disk: one file per band, so that one at a time is read.

    beside: a folder on the disk that holds the data; the system's own place for temporary files may
    be in memory.
    """

    def __init__(self, num_bands: int, *, beside: Path) -> None:
        beside.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(prefix=".dedup-", dir=beside)
        root = Path(self._folder.name)
        self._paths = [root / f"{band:03d}.u64" for band in range(num_bands)]
        self._files: list[IO[bytes]] = [path.open("wb") for path in self._paths]

    def __enter__(self) -> "BandFiles":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for file in self._files:
            file.close()
        self._folder.cleanup()

    def append(self, keys: np.ndarray) -> None:
        """Add the keys of the next documents, (documents, bands) uint64."""
        for file, band in zip(self._files, keys.T, strict=True):
            file.write(np.ascontiguousarray(band).tobytes())

    def buckets(self, wanted: np.ndarray) -> "Buckets":
        """Group the documents where `wanted` (bool, one per document) by equal keys, per band."""
        found_documents, found_buckets = [], []
        num_buckets = 0
        for file, path in zip(self._files, self._paths, strict=True):
            file.flush()
            keys = np.fromfile(path, dtype=np.uint64)
            documents, buckets = _shared(keys, np.flatnonzero(wanted))
            found_documents.append(documents)
            found_buckets.append(buckets + num_buckets)
            num_buckets += int(buckets[-1]) + 1 if len(buckets) else 0
        return Buckets(
            np.concatenate(found_documents), np.concatenate(found_buckets), num_buckets=num_buckets
        )


class Buckets:
    """The buckets of at least two documents, and, in each, the documents kept so far.

    documents, buckets: (entries,) int32, an entry for each document in each of its buckets.
    Chains in arrays instead of a list per bucket: 12 bytes an entry.
    """

    def __init__(self, documents: np.ndarray, buckets: np.ndarray, *, num_buckets: int) -> None:
        order = np.argsort(documents, kind="stable")
        self._documents = documents[order]
        self._buckets = array("i", buckets[order].astype(np.int32).tobytes())
        self._newest = array("i", [-1]) * num_buckets  # entry kept last in each bucket
        self._before = array("i", [-1]) * len(self._buckets)  # entry kept before it

    def members(self) -> np.ndarray:
        """Return the documents that share a bucket with another, ascending."""
        return np.unique(self._documents)

    def alike(self, document: int) -> list[int]:
        """Return the kept documents that share a bucket: most buckets shared first, then oldest."""
        shared: Counter[int] = Counter()
        for entry in self._entries(document):
            at = self._newest[self._buckets[entry]]
            while at >= 0:
                shared[int(self._documents[at])] += 1
                at = self._before[at]
        return sorted(shared, key=lambda other: (-shared[other], other))

    def keep(self, document: int) -> None:
        """Let later documents find this one."""
        for entry in self._entries(document):
            bucket = self._buckets[entry]
            self._before[entry] = self._newest[bucket]
            self._newest[bucket] = entry

    def _entries(self, document: int) -> range:
        low, high = np.searchsorted(self._documents, [document, document + 1])
        return range(int(low), int(high))


def _shared(keys: np.ndarray, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (documents, bucket numbers from 0), both int32, of those whose key another has too."""
    keys = keys[documents]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    same_as_next = np.concatenate([keys[1:] == keys[:-1], [False]])
    same_as_last = np.concatenate([[False], same_as_next[:-1]])
    is_shared = same_as_next | same_as_last
    begins = (is_shared & ~same_as_last)[is_shared]
    bucket = np.cumsum(begins) - 1
    return documents[order][is_shared].astype(np.int32), bucket.astype(np.int32)
