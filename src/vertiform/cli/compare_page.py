"""One HTML page that compares runs: it holds all it needs, and opens without a network."""

import html
import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vertiform.errors import ConfigError
from vertiform.evaluation.comparison import (
    ComparedRun,
    FactRow,
    differing_facts,
    has_best,
    labels,
    metric_order,
    metric_rows,
    num_alike,
    said_of_intervals,
)
from vertiform.evaluation.names import is_lower_better
from vertiform.evaluation.thinning import Curve, bucket_means, thin
from vertiform.progress import duration

ASSETS = Path(__file__).parent / "page"
MAX_POINTS = 450_000  # on one page: 20 MB, which a browser opens in seconds
MAX_POINTS_A_CURVE = 1200  # a chart is some 600 pixels wide; two extremes for each
MIN_POINTS_A_CURVE = 60
FEW_RUNS = 8  # that colours tell apart; more are coloured by their main metric
DIGITS = 6  # of a value; a chart shows three


def compare_page(runs: Sequence[ComparedRun], *, title: str) -> str:
    """Write the page as text. Runs keep their order; they need their curves."""
    values = page_data(runs)
    parts = {
        "title": html.escape(title),
        "style": _asset("compare.css"),
        "script": _asset("compare.js"),
        # "</script>" in a run's name must not end the script that holds the data.
        "data": json.dumps(values, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
        "plotly": _plotly(),
    }
    # In one pass: a run may be called {{script}}.
    return re.sub(r"{{(\w+)}}", lambda found: parts[found[1]], _asset("compare.html"))


def page_data(runs: Sequence[ComparedRun]) -> dict[str, Any]:
    """Gather what the page's script draws, as JSON values."""
    names = sorted({name for run in runs for name in run.curves}, key=metric_order)
    num_curves = sum(len(run.curves) for run in runs)
    max_points = points_a_curve(num_curves)
    metrics, facts = metric_rows(runs), differing_facts(runs)
    return {
        "about": _about(runs, names),
        "alike": f"{num_alike(runs):,} facts are the same in every run and left out.",
        "method": _method(max_points, is_thinned=_is_thinned(runs, max_points)),
        "findings": list(said_of_intervals(runs)),
        "runs": [_run(run, label) for run, label in zip(runs, labels(runs), strict=True)],
        "metrics": [
            {"name": name, "curves": list(_curves(runs, name, max_points))} for name in names
        ],
        "rows": [_row(row, runs) for row in (*metrics, *facts)],
        "colour": f"metrics {metrics[0].name}" if len(runs) > FEW_RUNS and metrics else "",
    }


def points_a_curve(num_curves: int) -> int:
    """Say how many points of each curve a page of so many curves shows."""
    # A third goes to the means that smoothing works on.
    fair = MAX_POINTS * 2 // 3 // max(1, num_curves)
    return min(MAX_POINTS_A_CURVE, max(MIN_POINTS_A_CURVE, fair))


def _curves(runs: Sequence[ComparedRun], name: str, max_points: int) -> Iterator[dict[str, Any]]:
    for number, run in enumerate(runs):
        curve = run.curves.get(name)
        if curve is None:
            continue
        made = {"run": number, **_points(thin(curve, max_points=max_points))}
        if len(curve) > max_points:
            made["means"] = _points(bucket_means(curve, max_points=max_points // 2))
        yield made


def _points(curve: Curve) -> dict[str, Any]:
    return {
        "x": [_plain(step) for step in curve.steps],
        "t": [_plain(round(seconds, 2)) for seconds in curve.seconds],
        "y": [_plain(value) for value in curve.values],
    }


def _plain(number: float) -> float | int | None:
    """JSON's number, with as many digits as a chart can use; a gap for NaN and infinities."""
    if not math.isfinite(number):
        return None
    rounded = float(f"{number:.{DIGITS}g}") if abs(number) < 10**DIGITS else round(float(number))
    return int(rounded) if rounded == int(rounded) else rounded


def _run(run: ComparedRun, label: str) -> dict[str, Any]:
    return {
        "id": run.id[:8],
        "label": label,
        "hover": html.escape(label),
        "state": run.state,
        "started": f"{datetime.fromtimestamp(run.started_ms / 1000):%Y-%m-%d %H:%M}",
        "duration": duration(run.seconds),
    }


def _row(row: FactRow, runs: Sequence[ComparedRun]) -> dict[str, Any]:
    numbers: list[float | None] = [None if v is None else _number(v) for v in row.values]
    is_metric = row.group == "metrics"
    if is_metric:
        exact = [run.metrics.get(row.name) for run in runs]
        numbers = [n if n is not None and math.isfinite(n) else None for n in exact]
    is_lower = is_metric and is_lower_better(row.name)
    there = [n for n in numbers if n is not None]
    is_led = is_metric and has_best(row.name) and bool(there)
    best = (min(there) if is_lower else max(there)) if is_led else None
    return {
        "key": f"{row.group} {row.name}",
        "group": row.group,
        "name": row.name,
        "values": list(row.values),
        "numbers": numbers,
        "best": [i for i, n in enumerate(numbers) if n is not None and n == best],
        "isLowerBetter": is_lower,
    }


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _about(runs: Sequence[ComparedRun], names: Sequence[str]) -> str:
    first, last = (pick(run.started_ms for run in runs) / 1000 for pick in (min, max))
    span = " to ".join(
        dict.fromkeys(f"{datetime.fromtimestamp(t):%Y-%m-%d %H:%M}" for t in (first, last))
    )
    return f"{len(runs)} runs, started {span}; {len(names)} metrics with curves."


def _is_thinned(runs: Sequence[ComparedRun], max_points: int) -> bool:
    return any(len(curve) > max_points for run in runs for curve in run.curves.values())


def _method(max_points: int, *, is_thinned: bool) -> str:
    """Say what the page left out, and how it smooths."""
    smoothing = "Smoothing is an exponential moving average, corrected for its start"
    if not is_thinned:
        return f"Every logged point is shown. {smoothing}."
    return (
        f"Curves of over {max_points:,} points are thinned: the first, the last, and the lowest "
        "and highest of each of equally filled buckets are shown, so no extreme is lost; a gap is "
        f"NaN or infinite. {smoothing}, and works on the mean of each bucket."
    )


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _plotly() -> str:
    """Return plotly's script, for which its Python package need not be imported."""
    found = find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise ConfigError("plotly is not installed.", fix="run `pip install plotly`.")
    folder = Path(found.submodule_search_locations[0])
    return (folder / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
