"""An evaluation for people: its scores and weakest slices as tables, the worst as metrics."""

from vertiform.evaluation import names
from vertiform.evaluation.bootstrap import DifferenceInterval, Interval
from vertiform.evaluation.report import EvaluationReport
from vertiform.evaluation.slices import worst
from vertiform.evaluation.tables import (
    markdown_table,
    signed_with_interval,
    text_table,
    with_interval,
)

_NUM_SLICES_SHOWN = 8


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


def worst_slices(report: EvaluationReport) -> dict[str, float]:
    """Return the lowest score of any slice, by its name as a metric, where there are slices."""
    found = {
        score: worst(report.slices, score=score, min_rows=report.slicing.min_rows)
        for score in names.SLICE_SCORES[report.kind]
    }
    return {names.of_worst_slice(s): w.interval.value for s, w in found.items() if w is not None}


def slice_table(report: EvaluationReport, *, as_markdown: bool = False) -> str:
    """Write the slices whose intervals reach lowest as a table, and how many there are below it."""
    lowest = sorted(report.slices, key=lambda s: (s.interval.low, s.name))[:_NUM_SLICES_SHOWN]
    if not lowest:
        return f"No slice has {report.slicing.min_rows} rows."
    rows = [
        [
            found.by,
            found.value,
            f"{found.num_rows:,}",
            found.score,
            with_interval(found.interval.value, found.interval.low, found.interval.high),
        ]
        for found in lowest
    ]
    header = ["slice of", "which", "rows", "score", "model"]
    table = markdown_table(header, rows) if as_markdown else text_table(header, rows)
    return (
        f"{table}\n\nThe weakest {len(lowest)} of {len(report.slices)} slices of at least "
        f"{report.slicing.min_rows} rows."
    )


def _baseline_cell(score: Interval | None) -> str:
    return "-" if score is None else with_interval(score.value, score.low, score.high)


def _difference_cell(difference: DifferenceInterval | None) -> str:
    if difference is None:
        return "-"
    return signed_with_interval(difference.value, difference.low, difference.high)
