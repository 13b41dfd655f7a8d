"""What tracking costs and carries: `python -m benchmarks.tracking [--smoke] [--only PART]`.

Parts: steps (what logging costs a training step), points (how fast they come into stock MLflow),
queries (the best of many runs). Rows go to reports/benchmarks.json as each part ends.
"""

import argparse
import os
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import report, tracking_queries
from benchmarks.measure import in_turn, limit_row, row
from vertiform.doors import prepare_environment

STEPS = {"milliseconds": 5, "rounds": 4, "steps": 500}
POINTS = {"rounds": 3, "peer_seconds": 5, "points": 30_000, "many": 1_000_000}
SMOKE_STEPS = {"milliseconds": 5, "rounds": 3, "steps": 20}
SMOKE_POINTS = {"rounds": 1, "peer_seconds": 2, "points": 4_000, "many": 20_000}
ON_SQLITE = "Lightning's MLFlowLogger on SQLite"
ON_SERVER = "Lightning's MLFlowLogger, the same server"
Row = dict[str, Any]


def steps_rows(*, is_smoke: bool) -> list[Row]:
    """Log calls, what they add to a step, and how soon they are on the disk."""
    spec, rounds = (SMOKE_STEPS, 1) if is_smoke else (STEPS, 2)
    runs = in_turn("tracking_steps", ("all",), spec, rounds=rounds)["all"]
    return [
        *(_call_row(runs, side, num) for side, num in (("ours", 20), ("ours_one", 1))),
        _step_row(runs, "nothing", "the same loop, which logs nothing", target=0.99),
        _step_row(runs, "peer", ON_SQLITE, target=None),
        limit_row(
            "from log() to the disk, the longest",
            [run["disk_ms"]["max"] for run in runs],
            limit=1000,
            measure="milliseconds",
            checked=f"p50 {_median(run['disk_ms']['p50'] for run in runs):.0f}",
        ),
    ]


def _call_row(runs: Sequence[Row], side: str, num: int) -> Row:
    p50 = _median(run[f"{side}_log_us"]["p50"] for run in runs)
    peer = _median(run["peer_log_us"]["p99"] for run in runs)
    aside = sum(run[f"{side}_log_us"]["put_aside"] for run in runs)
    return limit_row(
        f"log() of {num}, between steps of 5 ms, p99",
        [run[f"{side}_log_us"]["p99"] for run in runs],
        limit=50,
        measure="microseconds",
        checked=f"p50 {p50:.1f}; of {sum(run['steps'] for run in runs):,} calls {aside} lost their "
        f"core and do not count; MLFlowLogger with 20: p99 {peer:,.0f}",
    )


def _step_row(runs: Sequence[Row], peer: str, peer_is: str, *, target: float | None) -> Row:
    blocks = {
        side: [{"CPU_milliseconds_a_step": each} for run in runs for each in run[f"{side}_cpu_ms"]]
        for side in ("ours", peer)
    }
    made = row(
        f"a step of 5 ms with 20 metrics, {'by MLFlowLogger' if peer == 'peer' else 'or none'}",
        target,
        blocks["ours"],
        blocks[peer],
        peer_is=peer_is,
        key="CPU_milliseconds_a_step",
        less_is_better=True,
    )
    wall = [_median(ms for run in runs for ms in run[f"{side}_ms"]) for side in ("ours", peer)]
    call = _median(run["ours_log_us"]["p50"] for run in runs)
    said = f"by the clock {wall[0]:.2f}, {wall[1]:.2f} ms; the call itself {call / 50:.2f}% of 5 ms"
    return made | {"checked": said}


def points_rows(*, is_smoke: bool) -> list[Row]:
    """A million points, and how many a second beside MLFlowLogger."""
    spec = SMOKE_POINTS if is_smoke else POINTS
    (found,) = in_turn("tracking_points", ("all",), spec, rounds=1)["all"]
    many = found["many"]
    rows = [
        limit_row(
            f"{spec['many']:,} points into MLflow's server",
            [many["seconds"]],
            limit=300,
            measure="seconds",
            checked=f"set-equal; {many['landed_per_second']:,.0f} points per second landed, "
            f"{many['accepted_per_second']:,.0f} taken",
        )
    ]
    for num, each in ((20, "20 a call"), (1, "one a call")):
        of = {"ours": found[f"ours_{num}"], "peer": found[f"peer_{num}"], "peer_is": ON_SERVER}
        rows.append(row(f"points landed, {each}", 20, **of, key="landed_per_second"))
        taken = [{"taken_per_second": r["accepted_per_second"]} for r in found[f"ours_{num}"]]
        peer = [{"taken_per_second": r["landed_per_second"]} for r in found[f"peer_{num}"]]
        rows.append(
            row(f"points taken from the loop, {each}", None, taken, peer, peer_is=ON_SERVER,
                key="taken_per_second")
        )  # fmt: skip
    return rows


def queries_rows(*, is_smoke: bool) -> list[Row]:
    """The ten best of many runs, from our index and by MLflow's own search."""
    size = {"index_runs": 2_000, "mlflow_runs": 200} if is_smoke else {}
    with tempfile.TemporaryDirectory(prefix="queries-") as place:
        times = tracking_queries.measure(folder=Path(place), **size)
    print(asdict(times), flush=True)
    return [
        limit_row(
            f"ten best of {times.index_runs:,} runs",
            [times.index_ms["ten best"]],
            limit=100,
            measure="milliseconds",
            checked=f"slowest of {len(times.index_ms)} questions {times.index_slowest_ms:.0f}",
        ),
        row(
            f"ten best of {times.mlflow_runs:,} runs in MLflow",
            None,
            [{"milliseconds": times.refreshed_answer_ms}],
            [{"milliseconds": times.mlflow_search_ms}],
            peer_is="MLflow's search_runs",
            key="milliseconds",
            less_is_better=True,
        ),
    ]


def _median(values: Any) -> float:
    return statistics.median(values)


PARTS: Mapping[str, Callable[..., list[Row]]] = {
    "steps": steps_rows,
    "points": points_rows,
    "queries": queries_rows,
}


def main() -> None:
    """Measure part by part, and write each part's rows with the load that stood beside it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="small sizes: does it run?")
    parser.add_argument("--only", choices=PARTS, help="one part")
    options = parser.parse_args()
    prepare_environment()
    for name in [options.only] if options.only else PARTS:
        before = os.getloadavg()[0]
        rows = PARTS[name](is_smoke=options.smoke)
        loads = f"load before {before:.1f}, after {os.getloadavg()[0]:.1f}"
        for each in rows:
            each["checked"] = "; ".join(filter(None, (each.get("checked"), loads)))
        report.add(rows, smoke=options.smoke)


if __name__ == "__main__":
    main()
