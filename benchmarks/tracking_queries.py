"""The ten best runs by a metric: our index at 100,000 runs, MLflow's own search at 10,000.

Called by benchmarks.tracking; by itself: `python -m benchmarks.tracking_queries [--runs N]`.
"""

import argparse
import json
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from vertiform.tracking.index import Answers, Question, find
from vertiform.tracking.index_file import (
    METRICS,
    RunRecord,
    create_tables,
    opened,
    transaction,
    write_runs,
)
from vertiform.tracking.index_refresh import refresh
from vertiform.tracking.store import Store, open_store

RUNS_PER_PAGE = 1000
MILLISECONDS_APART = 60_000
FIRST_STARTED_MS = 1_700_000_000_000
METRIC = "val/f1_macro"
NUM_METRICS, NUM_PARAMS = 15, 40
QUESTIONS = {
    "ten best": Question(sort=METRIC),
    "ten best of half": Question(sort=METRIC, where=("domain=software",)),
    "ten best of a thousandth": Question(sort=METRIC, where=("seed=7",)),
    "ten best under three filters": Question(
        sort=METRIC,
        where=("domain=software", "optimizer.lr<0.001", "val/metric_3>0.5"),
    ),
    "ten best under a rare range": Question(sort=METRIC, where=("optimizer.lr<0.0000105",)),
    "ten best where nothing fits": Question(
        sort=METRIC, where=("domain=software", "val/metric_3>0.5", "val/metric_3<0.5")
    ),
    "ten lowest": Question(sort="val/loss_nats"),
    "ten latest": Question(),
}


@dataclass(frozen=True)
class QueryTimes:
    """Median seconds of each. ratio: MLflow's search by our index, on the same runs."""

    index_runs: int
    index_ms: dict[str, float]  # of each question, by its name, on index_runs runs
    index_slowest_ms: float
    index_build_seconds: float  # through the index's own writing seam, MLflow left out
    index_bytes: int
    mlflow_runs: int
    mlflow_search_ms: float  # the ten best, by MLflow's search_runs
    same_answer_ms: float  # the ten best, by the index, on the same runs
    refreshed_answer_ms: (
        float  # the same with the refresh and the reading back: what a person waits
    )
    mlflow_read_seconds: float  # the index built from MLflow through its client
    ratio: float  # mlflow_search_ms / refreshed_answer_ms
    rounds: int


def measure(
    *, index_runs: int = 100_000, mlflow_runs: int = 10_000, rounds: int = 20, folder: Path
) -> QueryTimes:
    """Generate runs in `folder`, an empty one, and time the questions."""
    index = folder / "large.index.db"
    started = time.perf_counter()
    write_index(index, records(index_runs))
    built = time.perf_counter() - started
    with opened(index) as connection:
        times = {
            name: median_ms(lambda q=question: Answers(connection).find(q), rounds)
            for name, question in QUESTIONS.items()
        }
    store = filled_store(folder / "store", mlflow_runs)
    started = time.perf_counter()
    refresh(store, folder / "store" / "mlflow.index.db")
    read = time.perf_counter() - started
    with opened(folder / "store" / "mlflow.index.db") as connection:
        same = median_ms(lambda: Answers(connection).find(QUESTIONS["ten best"]), rounds)
    whole = median_ms(lambda: find(store, QUESTIONS["ten best"]), max(3, rounds // 4))
    search = median_ms(lambda: searched(store), 3)
    assert [run.info.run_id for run in searched(store)] == [
        run.id for run in find(store, QUESTIONS["ten best"])
    ], "the two do not answer alike"
    return QueryTimes(
        index_runs=index_runs,
        index_ms=times,
        index_slowest_ms=max(times.values()),
        index_build_seconds=round(built, 1),
        index_bytes=index.stat().st_size,
        mlflow_runs=mlflow_runs,
        mlflow_search_ms=search,
        same_answer_ms=same,
        refreshed_answer_ms=whole,
        mlflow_read_seconds=round(read, 1),
        ratio=round(search / whole, 1),
        rounds=rounds,
    )


def records(number: int, *, seed: int = 0) -> Iterator[RunRecord]:
    """Yield runs like those of sweeps: 15 metrics, 40 params, 10 tags, half of them `software`."""
    drawn = random.Random(seed)
    for position in range(number):
        started_ms = FIRST_STARTED_MS + position * MILLISECONDS_APART
        metrics = {f"val/metric_{n}": drawn.random() for n in range(NUM_METRICS - 2)}
        metrics |= {METRIC: drawn.random(), "val/loss_nats": drawn.uniform(1, 9)}
        params = {f"model.size_{n}": str(drawn.randrange(2 ** (n % 10))) for n in range(36)}
        params |= {
            "domain": drawn.choice(["software", "biomed"]),
            "optimizer.lr": f"{10 ** drawn.uniform(-5, -2):.3e}",
            "seed": str(drawn.randrange(1000)),
            "optimizer.weight_decay": str(drawn.choice([0.0, 0.01, 0.1])),
        }
        tags = {f"package.number_{n}": "1.2.3" for n in range(8)}
        tags |= {"vertiform.kind": "start", "git.commit": f"{drawn.randrange(50):040x}"}
        yield RunRecord(
            run_id=f"{drawn.getrandbits(128):032x}",
            name=f"trial {position}",
            experiment_id="0",
            status="FINISHED",
            started_ms=started_ms,
            ended_ms=started_ms + 30_000,
            metrics=metrics,
            params=params,
            tags=tags,
        )


def write_index(file: Path, runs: Iterator[RunRecord]) -> None:
    """Write runs to a new index, by the pages in which a refresh writes them."""
    with opened(file) as index:
        create_tables(index)
        for page in pages(runs):
            with transaction(index):
                write_runs(index, page)
        index.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def filled_store(folder: Path, number: int) -> Store:
    """Make a stock MLflow store and put runs into its tables, which is only fair in a benchmark."""
    folder.mkdir(parents=True)
    store = open_store(None, root=folder)
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        for page in pages(records(number, seed=1)):
            _insert(database, page)
        database.commit()
    return store


def searched(store: Store) -> list:
    """Ask MLflow itself for the ten best."""
    return list(
        store.client.search_runs(["0"], max_results=10, order_by=[f"{METRICS}.`{METRIC}` DESC"])
    )


def pages(runs: Iterator[RunRecord]) -> Iterator[list[RunRecord]]:
    """Yield the runs a thousand at a time."""
    page: list[RunRecord] = []
    for run in runs:
        page.append(run)
        if len(page) == RUNS_PER_PAGE:
            yield page
            page = []
    if page:
        yield page


def median_ms(work: Callable[[], object], rounds: int) -> float:
    """Run `work` once to warm up, then `rounds` times; return the median in milliseconds."""
    work()
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return round(statistics.median(taken) * 1000, 2)


def _insert(database: sqlite3.Connection, page: Sequence[RunRecord]) -> None:
    database.executemany(
        "INSERT INTO runs (run_uuid, name, source_type, user_id, status, start_time, end_time, "
        "lifecycle_stage, artifact_uri, experiment_id) "
        "VALUES (?, ?, 'LOCAL', 'ann', ?, ?, ?, 'active', '', 0)",
        [(r.run_id, r.name, r.status, r.started_ms, r.ended_ms) for r in page],
    )
    database.executemany(
        "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
        "VALUES (?, ?, ?, 0, 0, ?)",
        [(k, v, r.started_ms, r.run_id) for r in page for k, v in r.metrics.items()],
    )
    for table, facts in (("params", "params"), ("tags", "tags")):
        database.executemany(
            f"INSERT INTO {table} (key, value, run_uuid) VALUES (?, ?, ?)",
            [(k, v, r.run_id) for r in page for k, v in getattr(r, facts).items()],
        )


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100_000, help="in the index")
    parser.add_argument("--mlflow-runs", type=int, default=10_000, help="in MLflow")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="queries-"))
    try:
        found = measure(index_runs=given.runs, mlflow_runs=given.mlflow_runs, folder=folder)
        print(json.dumps(asdict(found), indent=2))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
