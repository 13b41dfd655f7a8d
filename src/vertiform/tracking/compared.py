"""Reads runs from MLflow as a comparison needs them: facts, intervals, and whole curves."""

import json
import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vertiform.evaluation.bootstrap import Interval
from vertiform.evaluation.comparison import ComparedRun, metric_order
from vertiform.evaluation.thinning import Curve, one_value_a_step
from vertiform.progress import progress
from vertiform.tracking.index_file import RunRecord
from vertiform.tracking.index_refresh import as_logged, records_of
from vertiform.tracking.store import Store, errors_named

EVALUATION = "evaluation/evaluation.json"  # what `vertiform evaluate` leaves with a run
AT_ONCE = 8  # requests to a server; a local database is read by one thread
SINGLE = ("test/", "best/")  # metrics of a whole run, which have no curve

_GROUP_OF_TAG = {"data.": "data", "package.": "packages", "hardware.": "hardware"}
_CODE = {
    "mlflow.source.git.commit": "commit",
    "mlflow.source.git.branch": "branch",
    "git.is_dirty": "uncommitted changes",
    "git.diff_sha256": "hash of changes",
}
logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class _Scored:
    """The part of an evaluation that is compared; reports of every format so far have it."""

    scores: dict[str, Interval]
    baseline: dict[str, Interval]
    rows_sha256: str

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "_Scored":
        """Read it. Raises KeyError or TypeError where it is not as it has been."""
        scores, baseline = (
            {name: Interval(**value) for name, value in values[part].items()}
            for part in ("scores", "baseline")
        )
        return cls(scores, baseline, values["data_sha256"])


def read_compared(store: Store, run_ids: Sequence[str]) -> list[ComparedRun]:
    """Read runs, in this order, without their curves. A run that is gone is left out."""
    found = {record.run_id: record for record in records_of(store, run_ids)}
    runs = [_compared(found[run_id]) for run_id in run_ids if run_id in found]
    reports = dict(
        zip(
            [run.id for run in runs],
            _each(store, lambda run: _report(store, run), runs, what="reading intervals"),
            strict=True,
        )
    )
    parents = {run.id: found[run.id].tags.get("mlflow.parentRunId", "") for run in runs}
    return [_with_intervals(run, reports, parents) for run in runs]


def curve_names(runs: Sequence[ComparedRun]) -> list[str]:
    """Return the metrics that may have curves and that more than one of the runs has."""
    least = min(2, len(runs))
    names = {name for run in runs for name in run.metrics if not name.startswith(SINGLE)}
    shared = [n for n in names if sum(n in run.metrics for run in runs) >= least]
    return sorted(shared, key=metric_order)


def with_curves(
    store: Store, runs: Sequence[ComparedRun], metrics: Sequence[str]
) -> list[ComparedRun]:
    """Read the whole history of these metrics; one of a single point is no curve."""
    wanted = [(run, name) for name in metrics for run in runs if name in run.metrics]
    curves = _each(store, lambda one: _curve(store, *one), wanted, what="reading curves")
    by_run: dict[str, dict[str, Curve]] = {run.id: {} for run in runs}
    for (run, name), curve in zip(wanted, curves, strict=True):
        if len(curve) > 1:
            by_run[run.id][name] = curve
    return [replace(run, curves=by_run[run.id]) for run in runs]


def _each(store: Store, read: Callable[[T], R], items: Sequence[T], *, what: str) -> list[R]:
    threads = AT_ONCE if store.artifacts is None else 1
    with errors_named(store.uri), ThreadPoolExecutor(threads) as pool:
        return list(progress(pool.map(read, items), what=what, unit="reads", total=len(items)))


def _compared(record: RunRecord) -> ComparedRun:
    ended_ms = record.ended_ms or time.time_ns() // 1_000_000
    return ComparedRun(
        id=record.run_id,
        name=record.name or record.run_id[:8],
        kind=record.tags.get("vertiform.kind", ""),
        state=record.status.lower(),
        started_ms=record.started_ms,
        seconds=(ended_ms - record.started_ms) / 1000,
        facts=_facts(record.params, record.tags),
        metrics=record.metrics,
    )


def _facts(params: Mapping[str, str], tags: Mapping[str, str]) -> dict[str, dict[str, str]]:
    facts: dict[str, dict[str, str]] = {"configuration": dict(params), "code": {}}
    for tag, value in tags.items():
        if tag in _CODE:
            facts["code"][_CODE[tag]] = value
        elif tag == "lock.sha256":
            facts.setdefault("packages", {})["requirements.lock"] = value
        for start, group in _GROUP_OF_TAG.items():
            if tag.startswith(start):
                facts.setdefault(group, {})[tag.removeprefix(start)] = value
    return facts


def _report(store: Store, run: ComparedRun) -> "_Scored | None":
    """Read the intervals of a run that has test scores; None if it keeps none."""
    from mlflow.exceptions import MlflowException

    if not any(name.startswith("test/") for name in run.metrics):
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            file = store.client.download_artifacts(run.id, EVALUATION, folder)
            values = json.loads(Path(file).read_text(encoding="utf-8"))
        except (MlflowException, OSError):
            return None  # a baseline's, and runs of other tools, have none
    try:
        return _Scored.of(values)
    except (KeyError, TypeError):
        told = values.get("format", "unknown") if isinstance(values, dict) else "unknown"
        logger.warning("%s of run %s is of format %s: no intervals.", EVALUATION, run.id[:8], told)
        return None


def _with_intervals(
    run: ComparedRun,
    reports: Mapping[str, "_Scored | None"],
    parents: Mapping[str, str],
) -> ComparedRun:
    """Give a run its intervals; a baseline's stand in the report of the network it is beside."""
    own = reports[run.id]
    if own is not None:
        return replace(run, intervals=own.scores, rows_sha256=own.rows_sha256)
    for other_id, report in reports.items():
        is_beside = parents[run.id] and parents[other_id] == parents[run.id]
        if report and is_beside and _is_of(run, report):
            return replace(run, intervals=report.baseline, rows_sha256=report.rows_sha256)
    return run


def _is_of(run: ComparedRun, report: "_Scored") -> bool:
    """Say whether the report's baseline scored exactly what this run did. It rounds to 6 digits."""
    scores = report.baseline
    return bool(scores) and all(
        abs(run.metrics.get(name, np.inf) - score.value) < 1e-5 for name, score in scores.items()
    )


def _curve(store: Store, run: ComparedRun, name: str) -> Curve:
    points = store.client.get_metric_history(run.id, name)
    return one_value_a_step(
        Curve(
            steps=np.array([point.step for point in points], dtype=np.float64),
            seconds=np.array(
                [(point.timestamp - run.started_ms) / 1000 for point in points], dtype=np.float64
            ),
            values=np.array([as_logged(point.value) for point in points], dtype=np.float64),
        )
    )
