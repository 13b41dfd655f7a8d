"""Gates on scores: how good a model is, where it is weakest, and against whom it is held."""

from collections.abc import Callable, Iterator, Mapping

from vertiform.evaluation import names
from vertiform.evaluation.bootstrap import DifferenceInterval, Interval
from vertiform.evaluation.evidence import NOBODY, Drop, Evidence, Holder
from vertiform.evaluation.gate import gate, gate_of_scores, missing, said
from vertiform.evaluation.report import EvaluationReport
from vertiform.evaluation.slices import worst
from vertiform.evaluation.verdict import GateRow

RowOfScore = Callable[[EvaluationReport, str, float], GateRow]  # of a report, a score, its bound

CEILINGS = {
    kind: tuple(score for score in scores if score in names.LOWER_IS_BETTER)
    for kind, scores in names.SCORES.items()
}
FLOORS = {
    kind: tuple(score for score in scores if score not in names.LOWER_IS_BETTER)
    for kind, scores in names.SCORES.items()
}


@gate_of_scores(FLOORS)
def floors(evidence: Evidence, **bounds: float) -> Iterator[GateRow]:
    """Each score reaches its bound, by the low end of its interval.

    The low end, so that a small test split cannot pass by luck.
    """
    yield from _score_rows("floors", evidence, bounds, FLOORS, _bounded_row("floors", evidence))


@gate_of_scores(CEILINGS)
def calibration(evidence: Evidence, **bounds: float) -> Iterator[GateRow]:
    """Each expected calibration error stays below its bound, by the high end of its interval."""
    row = _bounded_row("calibration", evidence)
    yield from _score_rows("calibration", evidence, bounds, CEILINGS, row)


@gate_of_scores(names.SLICE_SCORES)
def worst_slice(evidence: Evidence, *, min_rows: int, **bounds: float) -> Iterator[GateRow]:
    """No class, length or source with at least `min_rows` test rows is worse than this.

    By the low end of the slice's own interval, as for floors; the slice that it names is the one
    whose interval reaches lowest. Where no slice has so many rows, this passes and says so.
    """

    def row(report: EvaluationReport, score: str, bound: float) -> GateRow:
        name = f"worst_slice {score}"
        if min_rows < report.slicing.min_rows:
            what = f"the evaluation left out slices of under {report.slicing.min_rows} rows"
            return missing(name, evidence, what, bound)
        found = worst(report.slices, score=score, min_rows=min_rows)
        if found is None:
            return said(name, passed=True, reason=f"no slice has {min_rows} rows")
        number = sum(s.score == score and s.num_rows >= min_rows for s in report.slices)
        reason = (
            f"{found.name}, {found.num_rows:,} rows, the worst of {number}; "
            f"the low end of its {_percent(report)} interval decides"
        )
        passed = found.interval.low >= bound
        return _interval_row(name, found.interval, bound, passed=passed, reason=reason)

    yield from _score_rows("worst_slice", evidence, bounds, names.SLICE_SCORES, row)


@gate_of_scores(names.SCORES)
def better_than_baseline(evidence: Evidence, **bounds: float) -> Iterator[GateRow]:
    """Each score is above the baseline's by more than its bound, on the same rows.

    By the worse end of the paired interval: all but the unluckiest resamples show the gain.
    """

    def row(report: EvaluationReport, score: str, bound: float) -> GateRow:
        metric = names.on(report.split, score)
        name = f"better_than_baseline {metric}"
        gain = _gain(report.difference.get(metric), metric)
        if gain is None:
            return missing(name, evidence, f"no baseline was scored on {metric}", bound)
        word = "surely better" if gain.low > bound else "not surely better"
        reason = f"{word} than the baseline"
        return _difference_row(name, gain, bound, passed=gain.low > bound, reason=reason)

    yield from _score_rows("better_than_baseline", evidence, bounds, names.SCORES, row)


@gate_of_scores(names.SCORES)
def not_worse_than_holder(
    evidence: Evidence, *, confidence: float, **margins: float
) -> Iterator[GateRow]:
    """Each score is not below that of the alias's holder by more than its margin.

    By the worse end of the paired interval of this confidence (0-1, of both sides together), on
    the same test rows: rows of another hash are refused. Where nobody stands at the alias, this
    passes and says so.
    """
    name, holder = "not_worse_than_holder", evidence.holder

    def row(report: EvaluationReport, score: str, margin: float) -> GateRow:
        assert isinstance(holder, Holder)
        metric = names.on(report.split, score)
        gain = _gain(holder.differences.get(metric), metric)
        if gain is None:
            what = f"version {holder.version}, which stands there, was not scored on {metric}"
            return missing(f"{name} {metric}", evidence, what, -margin)
        if gain.confidence != confidence:
            what = f"the interval is of {gain.confidence:.0%}, not of {confidence:.0%}"
            return missing(f"{name} {metric}", evidence, what, -margin)
        passed = gain.low >= -margin
        word = "not worse" if passed else "may be worse"
        reason = f"{word} than version {holder.version} by over {margin:g}"
        return _difference_row(f"{name} {metric}", gain, -margin, passed=passed, reason=reason)

    if holder == NOBODY:
        yield said(name, passed=True, reason="nobody stands there")
    elif not isinstance(holder, Holder):
        yield missing(name, evidence, "it is not known what stands at the alias")
    elif evidence.report is not None and holder.data_sha256 != evidence.report.data_sha256:
        hashes = f"{holder.data_sha256[:8]}, not {evidence.report.data_sha256[:8]}"
        what = f"version {holder.version} was scored on other test rows ({hashes})"
        yield missing(name, evidence, what)
    else:
        yield from _score_rows(name, evidence, margins, names.SCORES, row)


@gate
def robustness(
    evidence: Evidence,
    *,
    max_rows: int,
    confidence: float,
    typo_word_fraction: float,
    kept_fraction: float,
    max_drop_typos: float,
    max_drop_capitals: float,
    max_drop_lower_case: float,
    max_drop_truncation: float,
) -> Iterator[GateRow]:
    """The main score falls no further than this when texts are written as people also write them.

    By the low end of the paired interval over `max_rows` test rows, chosen by hash. A letter is
    mistyped in typo_word_fraction of the words; kept_fraction of the words are left of a text. A
    perturbation that changes no text (capitals, in Chinese) is passed over, and says so.
    """
    found = evidence.robustness
    if found is None:
        yield missing("robustness", evidence, "it was not tried")
        return
    for perturbation, bound in (
        ("typos", max_drop_typos),
        ("capitals", max_drop_capitals),
        ("lower_case", max_drop_lower_case),
        ("truncation", max_drop_truncation),
    ):
        name = f"robustness {perturbation}"
        drop = found.drops.get(perturbation)
        if drop is None:
            yield missing(name, evidence, "it was not tried", -bound)
        else:
            yield _drop_row(name, evidence, drop, found.score, bound, confidence)


def _drop_row(
    name: str, evidence: Evidence, drop: Drop, score: str, bound: float, confidence: float
) -> GateRow:
    if not drop.num_changed:
        reason = f"passed over: it changes none of {drop.num_rows:,} texts"
        return said(name, passed=True, reason=reason)
    if drop.difference is None:
        return missing(name, evidence, f"these rows do not define {score}", -bound)
    if drop.difference.confidence != confidence:
        what = f"the interval is of {drop.difference.confidence:.0%}, not of {confidence:.0%}"
        return missing(name, evidence, what, -bound)
    return _difference_row(
        name,
        drop.difference,
        -bound,
        passed=drop.difference.low >= -bound,
        reason=f"{score}, {drop.num_changed:,} of {drop.num_rows:,} texts changed",
    )


def _bounded_row(gate_name: str, evidence: Evidence) -> RowOfScore:
    """Hold a score against its bound by the worse end of its interval."""

    def row(report: EvaluationReport, score: str, bound: float) -> GateRow:
        metric = names.on(report.split, score)
        name = f"{gate_name} {metric}"
        interval = report.scores.get(metric)
        if interval is None:
            return missing(name, evidence, f"the evaluation holds no {metric}", bound)
        is_ceiling = names.is_lower_better(metric)
        passed = interval.high <= bound if is_ceiling else interval.low >= bound
        end, beyond = ("high", "above") if is_ceiling else ("low", "below")
        outcome = "holds" if passed else f"is {beyond} the bound"
        reason = f"the {end} end of the {_percent(report)} interval {outcome}"
        return _interval_row(name, interval, bound, passed=passed, reason=reason)

    return row


def _score_rows(
    name: str,
    evidence: Evidence,
    bounds: Mapping[str, float],
    scores: Mapping[str, tuple[str, ...]],
    row: RowOfScore,
) -> Iterator[GateRow]:
    """Yield row(report, score, bound) for each bounded score that fits the task's kind."""
    report = evidence.report
    if report is None:
        yield missing(name, evidence, "the model has not been evaluated")
        return
    if report.split != "test":
        yield missing(name, evidence, f"the model was evaluated on {report.split}, not on test")
        return
    fitting = [score for score in bounds if score in scores[report.kind]]
    if not fitting:
        what = f"no score of a task of kind {report.kind} is named for it"
        yield missing(name, evidence, what)
    for score in fitting:
        yield row(report, score, bounds[score])


def _gain(difference: DifferenceInterval | None, metric: str) -> DifferenceInterval | None:
    """Turn a difference so that more is better, whatever the metric."""
    if difference is None or not names.is_lower_better(metric):
        return difference
    return DifferenceInterval(
        -difference.value, -difference.high, -difference.low, difference.confidence
    )


def _interval_row(
    name: str, interval: Interval, threshold: float, *, passed: bool, reason: str
) -> GateRow:
    ends = (interval.low, interval.high)
    return GateRow(name, threshold, interval.value, ends, passed=passed, reason=reason)


def _difference_row(
    name: str, gain: DifferenceInterval, threshold: float, *, passed: bool, reason: str
) -> GateRow:
    return GateRow(
        gate=name,
        threshold=threshold,
        measured=gain.value,
        interval=(gain.low, gain.high),
        passed=passed,
        reason=f"{reason} ({gain.confidence:.0%} paired interval)",
    )


def _percent(report: EvaluationReport) -> str:
    return f"{report.resampling.confidence:.0%}"
