"""The evaluation of one model on one split: scores with intervals, against its baseline."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

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
from vertiform.evaluation.tables import (
    markdown_table,
    signed_with_interval,
    text_table,
    with_interval,
)

FORMAT = 1
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

    @property
    def main_score(self) -> str:
        """The full name of the score that stands for this report in a table."""
        return names.on(self.split, names.MAIN_SCORE[self.kind])

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, the same on every machine."""
        return {"format": FORMAT, **_rounded(asdict(self))}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "EvaluationReport":
        """Read what to_json gave."""
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
        )


def evaluate(
    task: Mapping[str, Any],
    *,
    rows: Sequence[Row],
    predictions: Sequence[Prediction],
    baseline: Sequence[Prediction] | None = None,
    split: str = "test",
    resampling: Resampling,
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
        by_class=_by_class(kind, rows, predictions, labels=labels, scores=scores),
        mistakes=tuple(most_confident_mistakes(kind, rows, predictions, limit=num_mistakes)),
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


def score_table(report: EvaluationReport, *, as_markdown: bool = False) -> str:
    """Write the scores, the baseline's and the difference, each with its interval, as a table."""
    rows = [
        [
            metric,
            with_interval(score.value, score.low, score.high),
            _baseline_cell(report.baseline.get(metric)),
            _difference_cell(report.difference.get(metric)),
        ]
        for metric, score in report.scores.items()
    ]
    header = ["metric", "model", "baseline", "model - baseline"]
    if not report.baseline:
        header, rows = header[:2], [row[:2] for row in rows]
    return markdown_table(header, rows) if as_markdown else text_table(header, rows)


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


def _baseline_cell(score: Interval | None) -> str:
    return "-" if score is None else with_interval(score.value, score.low, score.high)


def _difference_cell(difference: DifferenceInterval | None) -> str:
    if difference is None:
        return "-"
    return signed_with_interval(difference.value, difference.low, difference.high)
