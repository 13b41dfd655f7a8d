"""Which document is a copy of which, and what the report of `dedup` says of it."""

import csv
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vertiform.corpus.shards import DocumentIndex
from vertiform.files import written_whole

MOST_NAMED = 10  # examples of each kind in the report; all are in matches.csv


@dataclass
class Matches:
    """What was found of each document, by number.

    kept_copy: (documents,) int32, the kept document it is a copy of; its own number if kept.
    alike:     (documents,) float64, their Jaccard similarity, 1 for exact copies.
    is_exact:  (documents,) bool, the same text.
    group:     (documents,) int32, the first document of its group.
    compared:  pairs of which the Jaccard similarity was computed.
    """

    kept_copy: np.ndarray
    alike: np.ndarray
    is_exact: np.ndarray
    group: np.ndarray
    compared: int = 0

    def dropped(self) -> list[int]:
        """Return the numbers of the documents that are copies, ascending."""
        return np.flatnonzero(self.kept_copy != np.arange(len(self.kept_copy))).tolist()

    def how(self, number: int) -> str:
        """Return in a word how a dropped document is a copy."""
        return "exact" if self.is_exact[number] else "near"


def write_matches(path: Path, index: DocumentIndex, matches: Matches) -> None:
    """Write a CSV line for each dropped document: dropped, kept, how, jaccard."""
    with written_whole(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["dropped", "kept", "how", "jaccard"])
        for number in matches.dropped():
            kept = index[int(matches.kept_copy[number])].id
            alike = f"{matches.alike[number]:.4f}"
            rows.writerow([index[number].id, kept, matches.how(number), alike])


def report_of(index: DocumentIndex, matches: Matches) -> dict[str, Any]:
    """Count what was dropped, and name the pairs that are worth a look."""
    dropped = matches.dropped()
    near = [number for number in dropped if not matches.is_exact[number]]
    num_kept, num_near = len(index) - len(dropped), len(near)
    num_exact = len(dropped) - num_near
    is_kept = matches.kept_copy == np.arange(len(index))
    group_sizes = np.unique(matches.group[is_kept], return_counts=True)[1]
    copies = Counter(int(matches.kept_copy[number]) for number in dropped)
    most_copied = sorted(copies, key=lambda number: (-copies[number], number))[:MOST_NAMED]
    least_alike = sorted(near, key=lambda number: (matches.alike[number], number))[:MOST_NAMED]
    return {
        "summary": f"kept {num_kept:,} of {len(index):,} documents; dropped {num_exact:,} exact "
        f"and {num_near:,} near copies",
        "documents_in": len(index),
        "documents_kept": num_kept,
        "dropped_exact": num_exact,
        "dropped_near": num_near,
        "near_by_jaccard": _by_jaccard(matches.alike[near]),
        "pairs_compared": matches.compared,
        "groups_of_two_or_more": int((group_sizes > 1).sum()),
        "largest_group": int(group_sizes.max()),
        "most_copied": [{"kept": index[n].id, "copies": copies[n]} for n in most_copied],
        "least_alike": [
            {
                "dropped": index[n].id,
                "kept": index[int(matches.kept_copy[n])].id,
                "jaccard": round(float(matches.alike[n]), 4),
            }
            for n in least_alike
        ],
    }


def _by_jaccard(alike: Iterable[float]) -> dict[str, int]:
    """Count by similarity in steps of 0.05, the last with 1.00 in it."""
    steps = Counter(min(19, int(value * 20 + 1e-9)) for value in alike)
    return {f"{step / 20:.2f}-{(step + 1) / 20:.2f}": steps[step] for step in sorted(steps)}
