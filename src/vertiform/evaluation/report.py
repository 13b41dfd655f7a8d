"""The evaluation of one model on one split: scores with intervals, against its baseline."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from vertiform.errors import CorpusError
from vertiform.evaluation import names
from vertiform.evaluation.bootstrap import (
    DifferenceInterval,
    Drawn,
    Interval,
    Resampling,
    differences,
    draw,
    intervals,
)
from vertiform.evaluation.mistakes import most_confident_mistakes
from vertiform.evaluation.predictions import Prediction, Row, classes_in, measure_of
from vertiform.evaluation.slices import Slice, Slicing, class_slices, row_slices

FORMAT = 2  # 2: slices
_DIGITS = 6  # kept in JSON: more would differ between machines in the last place


@dataclass(frozen=True)
class ClassScores:
    """The scores of one class or entity type, by bare name; how often it is true and predicted."""

    label: str
    num_true: int
    num_predicted: int
    scores: dict[str, Interval]


@dataclass(frozen=True)
class EvaluationReport:
    """What is known of a model on one split. Scores go by full name, as "test/f1_macro"."""

    task: str
    kind: str
    split: str
    labels: tuple[str, ...]
    num_rows: int
    data_sha256: str  # of the split's file; only reports on one hash can be compared
    resampling: Resampling
    scores: dict[str, Interval]
    baseline: dict[str, Interval]  # empty where no baseline was given
    difference: dict[str, DifferenceInterval]  # this model - baseline, paired
    by_class: tuple[ClassScores, ...]
    mistakes: tuple[dict[str, Any], ...]
    slicing: Slicing
    slices: tuple[Slice, ...]  # those of at least slicing.min_rows

    @property
    def main_score(self) -> str:
        """The full name of the score that stands for this report in a table."""
        return names.on(self.split, names.MAIN_SCORE[self.kind])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, the same on every machine."""
        return {"format": FORMAT, **_rounded(asdict(self))}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "EvaluationReport":
        """Read what to_json gave. Raises CorpusError for what another version wrote."""
        if values.get("format") != FORMAT:
            raise CorpusError(
                f"An evaluation of format {values.get('format')} cannot be read; ours is {FORMAT}.",
                fix=f"run `dvc repro evaluate@{values.get('task', '<task>')}`, which writes it "
                "again.",
            )
        return cls(
            task=values["task"],
            kind=values["kind"],
            split=values["split"],
            labels=tuple(values["labels"]),
            num_rows=values["num_rows"],
            data_sha256=values["data_sha256"],
            resampling=Resampling(**values["resampling"]),
            scores=_intervals_from(values["scores"]),
            baseline=_intervals_from(values["baseline"]),
            difference={k: DifferenceInterval(**v) for k, v in values["difference"].items()},
            by_class=tuple(_class_scores_from(row) for row in values["by_class"]),
            mistakes=tuple(values["mistakes"]),
            slicing=Slicing(**values["slicing"]),
            slices=tuple(Slice.from_json(found) for found in values["slices"]),
        )


def evaluate(
    task: Mapping[str, Any],
    *,
    rows: Sequence[Row],
    predictions: Sequence[Prediction],
    baseline: Sequence[Prediction] | None = None,
    split: str = "test",
    resampling: Resampling,
    slicing: Slicing,
    num_mistakes: int,
) -> EvaluationReport:
    """Score a model, and its baseline if one is given, on the same rows of one split.

    task: what task.json says (task, kind, labels, sha256). Predictions as predictions.py has them.
    num_mistakes: how many of the most confident to keep.
    """
    kind, labels = task["kind"], task["labels"]
    drawn = _drawn(kind, rows, predictions, labels=labels, resampling=resampling)
    scores = intervals(drawn)
    baseline_scores: dict[str, Interval] = {}
    difference: dict[str, DifferenceInterval] = {}
    if baseline is not None:
        others = _drawn(kind, rows, baseline, labels=labels, resampling=resampling)
        baseline_scores, difference = intervals(others), differences(drawn, others)
    by_class = _by_class(kind, rows, predictions, labels=labels, scores=scores)
    num_true = {found.label: found.num_true for found in by_class}
    return EvaluationReport(
        task=task["task"],
        kind=kind,
        split=split,
        labels=tuple(labels),
        num_rows=len(rows),
        data_sha256=task["sha256"][split],
        resampling=resampling,
        scores=_on_split(scores, kind, split),
        baseline=_on_split(baseline_scores, kind, split),
        difference=_on_split(difference, kind, split),
        by_class=by_class,
        mistakes=tuple(most_confident_mistakes(kind, rows, predictions, limit=num_mistakes)),
        slicing=slicing,
        slices=(
            *class_slices(kind, num_true, scores, slicing=slicing),
            *row_slices(kind, rows, predictions, slicing=slicing, resampling=resampling),
        ),
    )


def compare(
    task: Mapping[str, Any],
    *,
    rows: Sequence[Row],
    predictions: Sequence[Prediction],
    others: Sequence[Prediction],
    split: str = "test",
    resampling: Resampling,
) -> dict[str, DifferenceInterval]:
    """Return how far one model scores above another on the same rows, by full name of the score."""
    kind, labels = task["kind"], task["labels"]
    ours = _drawn(kind, rows, predictions, labels=labels, resampling=resampling)
    theirs = _drawn(kind, rows, others, labels=labels, resampling=resampling)
    return _on_split(differences(ours, theirs), kind, split)


def _drawn(
    kind: str,
    rows: Sequence[Row],
    predictions: Sequence[Prediction],
    *,
    labels: Sequence[str],
    resampling: Resampling,
) -> Drawn:
    measure = measure_of(kind, rows, predictions, labels=labels)
    return draw(measure, rows=len(rows), resampling=resampling)


def _on_split(scores: Mapping[str, Any], kind: str, split: str) -> dict[str, Any]:
    return {names.on(split, name): scores[name] for name in names.SCORES[kind] if name in scores}


def _by_class(
    kind: str,
    rows: Sequence[Row],
    predictions: Sequence[Prediction],
    *,
    labels: Sequence[str],
    scores: Mapping[str, Interval],
) -> tuple[ClassScores, ...]:
    num_true = Counter(name for row in rows for name in classes_in(kind, row))
    num_predicted = Counter(name for p in predictions for name in classes_in(kind, p))
    return tuple(
        ClassScores(
            label=label,
            num_true=num_true[label],
            num_predicted=num_predicted[label],
            scores={
                name: scores[names.of_class(name, label)]
                for name in names.CLASS_SCORES
                if names.of_class(name, label) in scores
            },
        )
        for label in labels
    )


def _class_scores_from(row: Mapping[str, Any]) -> ClassScores:
    scores = _intervals_from(row["scores"])
    return ClassScores(row["label"], row["num_true"], row["num_predicted"], scores)


def _intervals_from(values: Mapping[str, Any]) -> dict[str, Interval]:
    return {name: Interval(**value) for name, value in values.items()}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value
