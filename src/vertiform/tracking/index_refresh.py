"""Brings the index up to what MLflow says now, through MLflow's client alone.

Asked each time: runs that started or ended since (with some slack for clocks that differ), runs
that are open, and runs that somebody on this machine noted as changed. Experiments that are new
here are read whole; those that are gone go.
"""

import logging
import math
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from vertiform.progress import progress
from vertiform.tracking.index_changes import changes_of, read_changes
from vertiform.tracking.index_file import (
    FORMAT,
    RunRecord,
    create_tables,
    format_of,
    opened,
    read_meta,
    remove_file,
    remove_runs,
    transaction,
    write_meta,
    write_runs,
)
from vertiform.tracking.index_lock import refresh_lock
from vertiform.tracking.limits import in_batches
from vertiform.tracking.store import Store, errors_named

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

RUNS_PER_PAGE = 1000
IDS_PER_QUERY = 100
SLACK_MS = 10 * 60 * 1000  # by which clocks of machines that log to one store may differ
CLOCK_WENT_BACK_MS = 60 * 1000  # of this machine, by which nothing seen can be relied on

logger = logging.getLogger(__name__)


def refresh(store: Store, file: Path, *, rebuild: bool = False) -> None:
    """Bring the index at `file` up to date.

    One process at a time; a second waits a little, then leaves the index as it is and says so.
    Raises sqlite3.DatabaseError if the file is damaged.
    """
    with refresh_lock(file, patiently=rebuild or not _can_answer(file)) as is_ours:
        if not is_ours:
            logger.info("Another process is refreshing %s; this is from just before.", file)
            return
        if rebuild or _must_start_anew(file):
            remove_file(file)
        with opened(file) as index:
            if format_of(index) is None:
                create_tables(index)
            _bring_up(store, index, changes_of(file))


def read_back(store: Store, file: Path, run_ids: Sequence[str]) -> None:
    """Read these runs from MLflow again, whatever the index thinks of them."""
    with refresh_lock(file, patiently=False) as is_ours, opened(file) as index:
        if is_ours:  # else they are being read already
            with errors_named(store.uri):
                _read_again(store, index, sorted(_experiments(index)), run_ids)


def _bring_up(store: Store, index: sqlite3.Connection, changes: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    changed, position = read_changes(changes, int(read_meta(index, "changes_read", "0")))
    with errors_named(store.uri):
        known, active = _experiments(index), _active_experiments(store)
        if read_meta(index, "is_whole", "0") == "1":
            new = sorted(active.keys() - known.keys())
            records = _changed_records(store, index, sorted(active), new)
            _write(index, records)
        else:
            _read_all(store, index, sorted(active))
        with transaction(index):
            _write_experiments(index, active)
        _read_again(store, index, sorted(active), {*changed, *_open_runs(index)})
    with transaction(index):
        write_meta(index, is_whole=1, refreshed_ms=now_ms, changes_read=position)


def _read_all(store: Store, index: sqlite3.Connection, experiments: Sequence[str]) -> None:
    """Read every run, oldest first. What was read before a kill is not read again."""
    if not experiments:
        return
    start = int(read_meta(index, "read_to_ms", "0"))
    records = _since(store, experiments, "start_time", start)
    for batch in _in_pages(records):
        with transaction(index):
            write_runs(index, batch)
            write_meta(index, read_to_ms=batch[-1].started_ms)


def _changed_records(
    store: Store, index: sqlite3.Connection, experiments: Sequence[str], new: Sequence[str]
) -> Iterator[RunRecord]:
    if new:
        yield from _since(store, new, "start_time", 0)
    if not experiments:
        return
    for attribute, column in (("start_time", "started_ms"), ("end_time", "ended_ms")):
        yield from _since(store, experiments, attribute, _watermark(index, column))
    yield from _found(store, experiments, "attributes.status = 'RUNNING'")


def _watermark(index: sqlite3.Connection, column: str) -> int:
    """Return the time from which runs may be new to us.

    The newest that we have seen, not the time of the last refresh alone: a run may reach the store
    with a time that lies before the refresh which just missed it.
    """
    (newest,) = index.execute(f"SELECT max({column}) FROM runs").fetchone()
    return max(0, min(newest or 0, int(read_meta(index, "refreshed_ms", "0"))) - SLACK_MS)


def _since(
    store: Store, experiments: Sequence[str], attribute: str, start: int
) -> Iterator[RunRecord]:
    """Yield the runs whose `attribute` is `start` or later, in its order.

    By the attribute, not by MLflow's page token, which counts from the first run: pages would
    overlap or miss runs while others are added and deleted, and every page would cost more.
    """
    token = None
    while True:
        page = store.client.search_runs(
            list(experiments),
            filter_string=f"attributes.{attribute} >= {start}",
            max_results=RUNS_PER_PAGE,
            order_by=[f"attributes.{attribute} ASC"],
            page_token=token,
        )
        yield from map(record_of, page)
        if len(page) < RUNS_PER_PAGE:
            return
        last = getattr(page[-1].info, attribute)
        token = page.token if last == start else None  # a thousand runs of one millisecond
        start = last


def _found(store: Store, experiments: Sequence[str], filter_string: str) -> Iterator[RunRecord]:
    token = None
    while True:
        page = store.client.search_runs(
            list(experiments), filter_string, max_results=RUNS_PER_PAGE, page_token=token
        )
        yield from map(record_of, page)
        token = page.token
        if not token:
            return


def records_of(store: Store, run_ids: Iterable[str]) -> list[RunRecord]:
    """Read these runs from MLflow; one that is deleted is not among what it gives."""
    with errors_named(store.uri):
        return _records_of(store, sorted(_active_experiments(store)), run_ids)


def _records_of(
    store: Store, experiments: Sequence[str], run_ids: Iterable[str]
) -> list[RunRecord]:
    found: list[RunRecord] = []
    for batch in in_batches(sorted(run_ids), IDS_PER_QUERY):
        quoted = ", ".join(f"'{run_id}'" for run_id in batch)
        if experiments:
            found += _found(store, experiments, f"attributes.run_id IN ({quoted})")
    return found


def _read_again(
    store: Store, index: sqlite3.Connection, experiments: Sequence[str], run_ids: Iterable[str]
) -> None:
    """Read these runs again; one that MLflow does not give is deleted, and goes."""
    asked = set(run_ids)
    found = _records_of(store, experiments, asked)
    with transaction(index):
        remove_runs(index, asked - {record.run_id for record in found})
        write_runs(index, found)


def _write(index: sqlite3.Connection, records: Iterable[RunRecord]) -> None:
    for batch in _in_pages(records):
        with transaction(index):
            write_runs(index, batch)


def _in_pages(records: Iterable[RunRecord]) -> Iterator[list[RunRecord]]:
    shown = progress(records, what="reading runs from MLflow", unit="runs")
    while page := list(islice(shown, RUNS_PER_PAGE)):
        yield page


def record_of(run: "MlflowRun") -> RunRecord:
    """Keep of MLflow's run what the index keeps."""
    return RunRecord(
        run_id=run.info.run_id,
        name=run.info.run_name or "",
        experiment_id=run.info.experiment_id,
        status=run.info.status,
        started_ms=run.info.start_time or 0,
        ended_ms=run.info.end_time,
        metrics={name: as_logged(value) for name, value in run.data.metrics.items()},
        params=run.data.params,
        tags=run.data.tags,
    )


def as_logged(value: float) -> float:
    """Give an infinity back, which MLflow's databases keep as the largest number there is."""
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def _active_experiments(store: Store) -> dict[str, str]:
    found, token = {}, None
    while True:
        page = store.client.search_experiments(page_token=token)
        found |= {experiment.experiment_id: experiment.name for experiment in page}
        token = page.token
        if not token:
            return found


def _experiments(index: sqlite3.Connection) -> dict[str, str]:
    return dict(index.execute("SELECT id, name FROM experiments").fetchall())


def _write_experiments(index: sqlite3.Connection, active: dict[str, str]) -> None:
    """Keep the active experiments; runs of one that was deleted are deleted with it."""
    index.execute("DELETE FROM experiments")
    index.executemany("INSERT INTO experiments VALUES (?, ?)", active.items())
    gone = index.execute(
        "SELECT run_id FROM runs WHERE experiment NOT IN (SELECT id FROM experiments)"
    ).fetchall()
    remove_runs(index, [run_id for (run_id,) in gone])


def _open_runs(index: sqlite3.Connection) -> set[str]:
    """Return the runs that had not ended when last seen, and so may have been deleted since."""
    return {run_id for (run_id,) in index.execute("SELECT run_id FROM runs WHERE ended_ms IS NULL")}


def _can_answer(file: Path) -> bool:
    """Say whether the index holds every run, if not perhaps the latest."""
    if not file.is_file():
        return False
    with suppress(sqlite3.DatabaseError), opened(file) as index:
        return format_of(index) == FORMAT and read_meta(index, "is_whole", "0") == "1"
    return False


def _must_start_anew(file: Path) -> bool:
    """Say whether what the index holds cannot be relied on, and why."""
    if not file.is_file():
        return False
    with opened(file) as index:
        found = format_of(index)
        refreshed_ms = int(read_meta(index, "refreshed_ms", "0")) if found == FORMAT else 0
    if found not in (None, FORMAT):
        logger.warning("%s is of format %s, not %s: building it anew.", file, found, FORMAT)
        return True
    if time.time_ns() // 1_000_000 < refreshed_ms - CLOCK_WENT_BACK_MS:
        logger.warning("The clock went back since %s was refreshed: building it anew.", file)
        return True
    return False
