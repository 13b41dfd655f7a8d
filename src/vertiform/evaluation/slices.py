"""Where is a model weakest? Its score on each class, and on rows of one length, source, package.

A slice of rows has one score from counts alone, micro F1: of a classification that is the
accuracy. Macro F1 would not do: where a slice holds one class, every mistake adds another class
with an F1 of 0. A slice's interval is of resamples of its own rows.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vertiform.corpus.words import words_of
from vertiform.evaluation import names
from vertiform.evaluation.bootstrap import (
    Interval,
    Measure,
    Resampling,
    Values,
    Weights,
    draw,
    intervals,
    ratio_or_nan,
)
from vertiform.evaluation.entity_scores import entities_of
from vertiform.evaluation.predictions import Prediction, Row

CLASS = "class"
LENGTH = "length"


@dataclass(frozen=True, slots=True)
class Slicing:
    """conf/evaluate.yaml: slices."""

    min_rows: int  # of a slice that is scored; of a class, its true rows or entities
    num_length_buckets: int  # of about equally many rows


@dataclass(frozen=True, slots=True)
class Slice:
    """One slice. `by` is "class", "length" or a key of the rows' `slices`."""

    by: str
    value: str
    num_rows: int  # of a class of entities: how many are true
    score: str  # of names.SLICE_SCORES
    interval: Interval

    @property
    def name(self) -> str:
        """How people read it: "package `numpy`"."""
        return f"{self.by} `{self.value}`"

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Slice":
        """Read one as a report writes it."""
        return cls(
            by=values["by"],
            value=values["value"],
            num_rows=values["num_rows"],
            score=values["score"],
            interval=Interval(**values["interval"]),
        )


def row_slices(
    kind: str,
    rows: Sequence[Row],
    predictions: Sequence[Prediction],
    *,
    slicing: Slicing,
    resampling: Resampling,
) -> Iterator[Slice]:
    """Score rows of one length, and of one value of each key of their `slices`."""
    counts = np.array([_counts(kind, *pair) for pair in zip(rows, predictions, strict=True)])
    score = names.SLICE_SCORES[kind][1]
    for (by, value), numbers in _divided(kind, rows, slicing.num_length_buckets).items():
        if len(numbers) < slicing.min_rows:
            continue
        drawn = draw(_micro_f1(counts[numbers], score), rows=len(numbers), resampling=resampling)
        for interval in intervals(drawn).values():  # none where no row of it has an entity
            yield Slice(by, value, len(numbers), score, interval)


def class_slices(
    kind: str,
    num_true: Mapping[str, int],
    scores: Mapping[str, Interval],
    *,
    slicing: Slicing,
) -> Iterator[Slice]:
    """Take the slice of each class or entity type from its F1 over all rows.

    scores: by bare name, as "f1/web".
    """
    for label, number in num_true.items():
        interval = scores.get(names.of_class(names.F1, label))
        if interval is not None and number >= slicing.min_rows:
            yield Slice(CLASS, label, number, names.SLICE_SCORES[kind][0], interval)


def worst(slices: Sequence[Slice], *, score: str, min_rows: int) -> Slice | None:
    """Return the slice of at least `min_rows` whose interval of `score` reaches lowest."""
    fitting = [s for s in slices if s.score == score and s.num_rows >= min_rows]
    return min(fitting, key=lambda s: (s.interval.low, s.name), default=None)


def num_words(kind: str, row: Row) -> int:
    """Count the words of a row; in scripts without spaces, its characters."""
    return len(words_of(row["text"])) if kind == "classification" else len(row["tokens"])


def _counts(kind: str, row: Row, prediction: Prediction) -> tuple[int, int, int]:
    """Count what is true of a row, what is predicted, and what is both."""
    if kind == "classification":
        return 1, 1, int(row["label"] == prediction["label"])
    gold, guessed = set(entities_of(row["tags"])), set(entities_of(prediction["tags"]))
    return len(gold), len(guessed), len(gold & guessed)


def _micro_f1(counts: NDArray[np.int64], score: str) -> Measure:
    """counts: (rows, 3)."""

    def measure(weights: Weights) -> dict[str, Values]:
        true, predicted, both = (weights @ counts).T  # (R,) each
        return {score: ratio_or_nan(2 * both, true + predicted)}

    return measure


def _divided(
    kind: str, rows: Sequence[Row], num_buckets: int
) -> dict[tuple[str, str], NDArray[np.int64]]:
    """Return the numbers of the rows of each slice, by what it is of and its value."""
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    bucket_of = _length_buckets([num_words(kind, row) for row in rows], num_buckets)
    for number, row in enumerate(rows):
        if bucket_of is not None:
            numbers[LENGTH, bucket_of[number]].append(number)
        for by, value in row.get("slices", {}).items():
            numbers[by, value].append(number)
    return {key: np.array(found) for key, found in numbers.items()}


def _length_buckets(lengths: Sequence[int], num_buckets: int) -> list[str] | None:
    """Name the bucket of each length, in words; None where nearly all are of one length."""
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, num_buckets + 1)).round()).astype(int)
    if len(edges) < 3:  # one bucket would be all rows
        return None
    bucket = np.searchsorted(edges[1:-1], lengths, side="left")
    lows = [int(edges[0]), *(int(edge) + 1 for edge in edges[1:-1])]
    labels = [f"{low} to {high} words" for low, high in zip(lows, map(int, edges[1:]), strict=True)]
    return [labels[b] for b in bucket]
