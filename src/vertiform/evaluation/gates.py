"""Gates decide, from evidence alone, whether an alias may move to a model.

A gate is one function here and one key in conf/gates/<alias>.yaml. The key is the function's name;
the options under it are the function's keyword-only parameters, each required, so that every
threshold stands in the file; `**bounds` stands for scores, of which a gate takes those that fit the
task's kind. A gate whose evidence is missing fails and says what is missing.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vertiform.errors import ConfigError, did_you_mean
from vertiform.evaluation import names
from vertiform.evaluation.bootstrap import DifferenceInterval
from vertiform.evaluation.evidence import NOBODY, Evidence, Holder
from vertiform.evaluation.report import EvaluationReport
from vertiform.evaluation.verdict import GateRow, Verdict


@dataclass(frozen=True)
class Gates:
    """The gates of an alias, by name, with their options. `read_gates` makes one and checks it."""

    alias: str
    options: Mapping[str, Mapping[str, Any]]


Gate = Callable[..., Iterator[GateRow]]
_GATES: dict[str, Gate] = {}


def gate(function: Gate) -> Gate:
    """Make `function(evidence, *, <options>)` a gate under its own name."""
    _GATES[function.__name__] = function
    return function


def read_gates(values: Mapping[str, Any], *, alias: str) -> Gates:
    """Check the gates of conf/gates/<alias>.yaml, as plain values.

    Raises ConfigError for a gate or an option that is unknown, missing or of the wrong type.
    """
    where = f"conf/gates/{alias}.yaml"
    if not values:
        raise ConfigError(
            f"{where} has no gates, so nothing could ever earn `{alias}`.",
            fix=f"name at least one of: {', '.join(sorted(_GATES))}.",
        )
    for name, options in values.items():
        if name not in _GATES:
            raise ConfigError(f"{where} has no gate `{name}`.", fix=did_you_mean(name, _GATES))
        _check_options(name, options, where=f"{where}: {name}")
    return Gates(alias=alias, options={name: dict(options) for name, options in values.items()})


def decide(gates: Gates, evidence: Evidence) -> Verdict:
    """Ask every gate, in the order of the file."""
    rows = (
        row for name, options in gates.options.items() for row in _GATES[name](evidence, **options)
    )
    return Verdict(alias=gates.alias, rows=tuple(rows))


@gate
def floors(evidence: Evidence, **bounds: float) -> Iterator[GateRow]:
    """Each score reaches its bound, by the worse end of its interval.

    The worse end, so that a small test split cannot pass by luck. It is the low one; for a score
    of which less is better (a calibration error), the bound is a ceiling and it is the high one.
    """

    def row(report: EvaluationReport, metric: str, bound: float) -> GateRow:
        score = report.scores.get(metric)
        if score is None:
            return _missing(f"floors {metric}", f"the evaluation holds no {metric}", bound)
        is_ceiling = names.is_lower_better(metric)
        end, side = (score.high, "high") if is_ceiling else (score.low, "low")
        passed = end <= bound if is_ceiling else end >= bound
        return GateRow(
            gate=f"floors {metric}",
            threshold=bound,
            measured=score.value,
            interval=(score.low, score.high),
            passed=passed,
            reason=f"the {side} end of the {_percent(report)} interval "
            + ("holds" if passed else f"is {'above' if is_ceiling else 'below'} the bound"),
        )

    yield from _score_rows("floors", evidence, bounds, row)


@gate
def better_than_baseline(evidence: Evidence, **bounds: float) -> Iterator[GateRow]:
    """Each score is above the baseline's by more than its bound, on the same rows.

    By the worse end of the paired interval: all but the unluckiest resamples show the gain.
    """

    def row(report: EvaluationReport, metric: str, bound: float) -> GateRow:
        name = f"better_than_baseline {metric}"
        gain = _gain(report.difference.get(metric), metric)
        if gain is None:
            return _missing(name, f"no baseline was scored on {metric}", bound)
        said = "surely better" if gain.low > bound else "not surely better"
        return _difference_row(
            name, gain, bound, passed=gain.low > bound, reason=f"{said} than the baseline"
        )

    yield from _score_rows("better_than_baseline", evidence, bounds, row)


@gate
def not_worse_than_holder(evidence: Evidence, **margins: float) -> Iterator[GateRow]:
    """Each score is not below that of the alias's holder by more than its margin.

    By the worse end of the paired interval, on the same test rows: rows of another hash are
    refused. Where nobody stands at the alias, this passes and says so.
    """
    name, holder = "not_worse_than_holder", evidence.holder

    def row(report: EvaluationReport, metric: str, margin: float) -> GateRow:
        assert isinstance(holder, Holder)
        gain = _gain(holder.differences.get(metric), metric)
        if gain is None:
            what = f"version {holder.version}, which stands there, was not scored on {metric}"
            return _missing(f"{name} {metric}", what, -margin)
        passed = gain.low >= -margin
        said = "not worse" if passed else "may be worse"
        return _difference_row(
            f"{name} {metric}",
            gain,
            -margin,
            passed=passed,
            reason=f"{said} than version {holder.version} by over {margin:g}",
        )

    if holder == NOBODY:
        yield GateRow(name, None, None, None, passed=True, reason="nobody stands there")
    elif not isinstance(holder, Holder):
        yield _missing(name, "it is not known what stands at the alias")
    elif evidence.report is not None and holder.data_sha256 != evidence.report.data_sha256:
        hashes = f"{holder.data_sha256[:8]}, not {evidence.report.data_sha256[:8]}"
        yield _missing(name, f"version {holder.version} was scored on other test rows ({hashes})")
    else:
        yield from _score_rows(name, evidence, margins, row)


@gate
def contamination(evidence: Evidence, *, max_documents: int) -> Iterator[GateRow]:
    """No more than `max_documents` pretraining documents share a 13-gram with a test example."""
    number = evidence.num_contaminated_documents
    if number is None:
        yield _missing("contamination", "the manifest does not say", max_documents)
        return
    yield GateRow(
        gate="contamination",
        threshold=max_documents,
        measured=number,
        interval=None,
        passed=number <= max_documents,
        reason=f"{number:,} pretraining documents share text with the test or validation split",
    )


@gate
def predicts_its_example(evidence: Evidence, *, max_difference: float) -> Iterator[GateRow]:
    """The model loads from where it is registered and predicts its stored example as it did."""
    difference = evidence.example_difference
    if difference is None:
        yield _missing("predicts_its_example", "it was not loaded and asked", max_difference)
        return
    passed = difference <= max_difference
    yield GateRow(
        gate="predicts_its_example",
        threshold=max_difference,
        measured=difference,
        interval=None,
        passed=passed,
        reason="loads and predicts as stored" if passed else "predicts otherwise than stored",
    )


@gate
def size(evidence: Evidence, *, max_megabytes: float) -> Iterator[GateRow]:
    """The model's files are not larger than a deployment allows. A megabyte is 10**6 bytes."""
    measured = evidence.size_megabytes
    if measured is None:
        yield _missing("size", "its files were not measured", max_megabytes)
        return
    passed = measured <= max_megabytes
    yield GateRow(
        gate="size",
        threshold=max_megabytes,
        measured=measured,
        interval=None,
        passed=passed,
        reason=f"{measured:.1f} MB" + ("" if passed else f", over {max_megabytes:g} MB"),
    )


def _score_rows(
    name: str,
    evidence: Evidence,
    bounds: Mapping[str, float],
    row: Callable[[EvaluationReport, str, float], GateRow],
) -> Iterator[GateRow]:
    """Yield row(report, full name, bound) for each bounded score that fits the task's kind."""
    report = evidence.report
    if report is None:
        yield _missing(name, "the model has not been evaluated")
        return
    if report.split != "test":
        yield _missing(name, f"the model was evaluated on {report.split}, not on test")
        return
    fitting = [score for score in bounds if names.kind_of_score(score) == report.kind]
    if not fitting:
        yield _missing(name, f"no score of a task of kind {report.kind} is named for it")
    for score in fitting:
        yield row(report, names.on(report.split, score), bounds[score])


def _missing(name: str, what: str, threshold: float | None = None) -> GateRow:
    return GateRow(name, threshold, None, None, passed=False, reason=f"no evidence: {what}")


def _gain(difference: DifferenceInterval | None, metric: str) -> DifferenceInterval | None:
    """Turn a difference so that more is better, whatever the metric."""
    if difference is None or not names.is_lower_better(metric):
        return difference
    return DifferenceInterval(
        -difference.value, -difference.high, -difference.low, difference.confidence
    )


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


def _check_options(name: str, options: Any, *, where: str) -> None:
    parameters = list(inspect.signature(_GATES[name]).parameters.values())[1:]
    takes_scores = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    known = [s for scores in names.SCORES.values() for s in scores] if takes_scores else []
    known += [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    if not isinstance(options, Mapping):
        raise ConfigError(
            f"{where} must be a mapping, not {options!r}.",
            fix=f"write `key: value` below it, of: {', '.join(known)}; or remove the gate.",
        )
    for option, value in options.items():
        if option not in known:
            raise ConfigError(f"{where} does not know `{option}`.", fix=did_you_mean(option, known))
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            raise ConfigError(f"{where}.{option} is {value!r}.", fix="write a number there.")
    missing = [] if takes_scores else [option for option in known if option not in options]
    if missing or not options:
        raise ConfigError(
            f"{where} needs {'a score' if takes_scores else f'`{missing[0]}`'}.",
            fix=f"write `{known[0] if takes_scores else missing[0]}: <number>` below it.",
        )
