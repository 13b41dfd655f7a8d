"""Points into stock MLflow through its server: `python -m benchmarks.tracking_points all SPEC`.

A real `mlflow server` over SQLite on 127.0.0.1 takes points from a run of ours and from Lightning's
MLFlowLogger in turn; then a million from us, which are read back from its database and compared.
The last line is JSON.
"""

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.tracking_steps import NAMES, peer_logger
from tests.tracking.examples import a_run
from tests.tracking.servers import free_port, started
from vertiform.doors import prepare_environment
from vertiform.tracking.runs import Run, run_id_of
from vertiform.tracking.shipped import read_shipped
from vertiform.tracking.store import Store, store_at

Point = tuple[str, int, float]


@contextmanager
def mlflow_server(folder: Path) -> Iterator[Store]:
    """Stock MLflow over SQLite, with its default number of workers."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)),
        *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
        *("--artifacts-destination", str(folder / "artifacts")),
    ]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with started(command, port=port, path="/health", cwd=folder, environment=quiet):
        yield store_at(f"http://127.0.0.1:{port}", root=folder)


def values_of(step: int, num: int) -> dict[str, float]:
    """The values of one step: floats of which every bit counts."""
    return {name: step / (n + 3) for n, name in enumerate(NAMES[:num])}


def ours(store: Store, *, points: int, num: int) -> dict[str, Any]:
    """Log as fast as it goes, and wait for MLflow to have all; what did not arrive raises."""
    begun = time.perf_counter()
    with a_run(store, f"{points} points", in_background=True) as run:
        opened = time.perf_counter()
        for step in range(points // num):
            run.log_points(values_of(step, num), step=step)
        accepted = time.perf_counter()
    _wait_until_whole(run)
    ended = time.perf_counter()
    _check_arrived(store, run, expected=set(_points(points // num, num)))
    return {
        "accepted_per_second": points / (accepted - opened),
        "landed_per_second": points / (ended - begun),  # the run's creation and its end included
        "seconds": ended - begun,
    }


def _wait_until_whole(run: Run) -> None:
    """A run's end waits a minute for a store that takes nothing; a busy server may take longer."""
    folder = run.journal.folder
    while not read_shipped(folder).is_ended:
        time.sleep(0.1)


def _points(steps: int, num: int) -> Iterator[Point]:
    for step in range(steps):
        for name, value in values_of(step, num).items():
            yield name, step, value


def _check_arrived(store: Store, run: Run, *, expected: set[Point]) -> None:
    """Read what stands in the server's own database, and compare it as a set and by its number."""
    run_id = run_id_of(store, run.journal_name)
    with closing(sqlite3.connect(f"file:{store.root / 'mlflow.db'}?mode=ro", uri=True)) as database:
        found = database.execute(
            "SELECT key, step, value FROM metrics WHERE run_uuid = ?", (run_id,)
        ).fetchall()
    if len(found) != len(expected) or set(found) != expected:
        raise SystemExit(f"{len(found):,} points arrived of {len(expected):,}, or not the same.")


def peer(logger: Any, *, seconds: float, num: int, first: int) -> dict[str, float]:
    """Log through MLFlowLogger for so long; every call returns once the server has the points."""
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        logger.log_metrics(values_of(first + steps, num), step=first + steps)
        steps += 1
    return {"landed_per_second": steps * num / (time.perf_counter() - begun), "steps": steps}


def measured(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Both sides in turn, twenty points a call and one; then the many."""
    found: dict[str, list[dict[str, Any]]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="points-") as place,
        mlflow_server(Path(place)) as store,
    ):
        logger = peer_logger(store.uri)
        first = 0
        for _ in range(spec["rounds"]):
            for num in (20, 1):
                told = peer(logger, seconds=spec["peer_seconds"], num=num, first=first)
                first += int(told["steps"])
                found.setdefault(f"peer_{num}", []).append(told)
                told = ours(store, points=spec["points"], num=num)
                found.setdefault(f"ours_{num}", []).append(told)
        many = ours(store, points=spec["many"], num=20)
    return found | {"many": many}


if __name__ == "__main__":
    prepare_environment()
    print(json.dumps(measured(json.loads(sys.argv[2]))))
