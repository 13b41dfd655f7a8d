"""The index's file: its tables, how it is opened, and how runs are written to it.

Every name and every param's or tag's text is kept once and meant by a number, so that the value of
one param of one run takes a dozen bytes in each of two orders: by run, and by value.
"""

import errno
import hashlib
import logging
import math
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from vertiform.errors import StorageError
from vertiform.tracking.claims import SEEN_TAG
from vertiform.tracking.store import Store, without_credentials

FORMAT = "1"  # of the tables below; an index of another format is built anew
METRICS, PARAMS, TAGS = "metrics", "params", "tags"  # kinds of a field, as MLflow writes them
SECONDS_BUSY = 30.0  # that SQLite waits for another process's transaction
CACHE_KIB = 65_536  # while writing; by the default of 2 MiB the index over values thrashes
# Long, or written by MLflow for itself; nobody filters by them.
LEFT_OUT = frozenset({"mlflow.note.content", "mlflow.log-model.history", "mlflow.loggedArtifacts"})

_TABLES = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE experiments (id TEXT PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE fields (id INTEGER PRIMARY KEY, kind TEXT, name TEXT, UNIQUE (kind, name));
CREATE TABLE words (id INTEGER PRIMARY KEY, word TEXT UNIQUE, number REAL);
CREATE INDEX words_number ON words (number) WHERE number IS NOT NULL;
CREATE TABLE runs (
    row INTEGER PRIMARY KEY, run_id TEXT UNIQUE NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL,
    experiment TEXT NOT NULL, status TEXT NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER,
    parent_id TEXT NOT NULL, seen REAL
);
CREATE INDEX runs_started ON runs (started_ms);
CREATE INDEX runs_name ON runs (name);
CREATE INDEX runs_parent ON runs (parent_id, started_ms);
CREATE INDEX runs_open ON runs (status) WHERE ended_ms IS NULL;
CREATE TABLE metrics (
    run INTEGER, field INTEGER, value REAL, PRIMARY KEY (run, field)
) WITHOUT ROWID;
CREATE INDEX metrics_value ON metrics (field, value, run);
CREATE TABLE facts (
    run INTEGER, field INTEGER, word INTEGER, PRIMARY KEY (run, field)
) WITHOUT ROWID;
CREATE INDEX facts_word ON facts (field, word, run);
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunRecord:
    """What the index keeps of one run: its latest value of each metric, its params and tags."""

    run_id: str
    name: str
    experiment_id: str
    status: str  # MLflow's word: RUNNING, FINISHED, FAILED, KILLED, SCHEDULED
    started_ms: int
    ended_ms: int | None
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]


def place_of(store: Store, *, root: Path | None = None) -> Path:
    """Say where the index of `store` lies: beside a local database, else below runs/ at `root`."""
    if store.uri.startswith("sqlite:///"):
        database = Path(store.uri.removeprefix("sqlite:///"))
        return database.with_name(f"{database.stem}.index.db")
    address = without_credentials(store.uri).replace("***@", "").rstrip("/")
    name = hashlib.sha256(address.encode()).hexdigest()[:16]
    return (root or Path.cwd()) / "runs" / "index" / f"{name}.db"


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """Connect to the index at `file`, creating it if it is absent; the block is no transaction."""
    with file_errors_named(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(file, timeout=SECONDS_BUSY, isolation_level=None)
        with closing(connection):
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # it can be built anew at any time
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            yield connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block writes, or none of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def create_tables(connection: sqlite3.Connection) -> None:
    """Give an empty file its tables."""
    with transaction(connection):
        for statement in filter(str.strip, _TABLES.split(";")):
            connection.execute(statement)
        write_meta(connection, format=FORMAT)


def format_of(connection: sqlite3.Connection) -> str | None:
    """Return the format of the index's tables; None if it has no tables at all."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if not tables:
        return None
    return read_meta(connection, "format") if "meta" in tables else "unknown"


def read_meta(connection: sqlite3.Connection, name: str, default: str = "") -> str:
    """Return what the index notes of itself under `name`."""
    found = connection.execute("SELECT value FROM meta WHERE name = ?", [name]).fetchone()
    return found[0] if found else default


def write_meta(connection: sqlite3.Connection, **values: object) -> None:
    """Note facts about the index itself, inside the caller's transaction."""
    connection.executemany(
        "INSERT OR REPLACE INTO meta VALUES (?, ?)", [(k, str(v)) for k, v in values.items()]
    )


def write_runs(connection: sqlite3.Connection, records: Sequence[RunRecord]) -> None:
    """Write runs in place of what stood of them, inside the caller's transaction."""
    records = list({record.run_id: record for record in records}.values())  # twice: the later
    remove_runs(connection, [record.run_id for record in records])
    fields, words = _Fields(connection), _words(connection, records)
    metrics, facts = [], []
    for record in records:
        row = _insert_run(connection, record)
        metrics += [
            # SQLite has no NaN: it becomes NULL, which is what the queries sort last.
            (row, fields.id_of(METRICS, name), None if math.isnan(value) else value)
            for name, value in record.metrics.items()
        ]
        facts += [
            (row, fields.id_of(kind, name), words[text]) for kind, name, text in _facts(record)
        ]
    connection.executemany("INSERT INTO metrics VALUES (?, ?, ?)", metrics)
    connection.executemany("INSERT INTO facts VALUES (?, ?, ?)", facts)


def remove_runs(connection: sqlite3.Connection, run_ids: Iterable[str]) -> None:
    """Forget runs, inside the caller's transaction; one that is not there is no error."""
    rows = []
    for run_id in run_ids:
        rows += connection.execute("SELECT row FROM runs WHERE run_id = ?", [run_id]).fetchall()
    for table, column in (("metrics", "run"), ("facts", "run"), ("runs", "row")):
        connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", rows)


def remove_file(file: Path) -> None:
    """Delete the index. Only for whoever holds the lock; readers keep the file they have open."""
    for suffix in ("-wal", "-shm", ""):
        file.with_name(file.name + suffix).unlink(missing_ok=True)


def _insert_run(connection: sqlite3.Connection, record: RunRecord) -> int | None:
    tags = record.tags
    return connection.execute(
        "INSERT INTO runs VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.run_id,
            record.name,
            tags.get("vertiform.kind", ""),
            record.experiment_id,
            record.status,
            record.started_ms,
            record.ended_ms,
            tags.get("mlflow.parentRunId", ""),
            number_in(tags.get(SEEN_TAG, "")),
        ),
    ).lastrowid


def _facts(record: RunRecord) -> Iterator[tuple[str, str, str]]:
    for name, text in record.params.items():
        yield PARAMS, name, text
    for name, text in record.tags.items():
        if name not in LEFT_OUT:
            yield TAGS, name, text


def _words(connection: sqlite3.Connection, records: Iterable[RunRecord]) -> dict[str, int]:
    """Return the number that means each text; new texts get one."""
    texts = {text for record in records for _, _, text in _facts(record)}
    connection.executemany(
        "INSERT OR IGNORE INTO words (word, number) VALUES (?, ?)",
        [(text, number_in(text)) for text in texts],
    )
    select = "SELECT id FROM words WHERE word = ?"
    return {text: connection.execute(select, [text]).fetchone()[0] for text in texts}


def number_in(text: str) -> float | None:
    """Read a param's or tag's text as a number where it is one."""
    try:
        number = float(text)
    except ValueError:
        return None
    return None if math.isnan(number) else number


class _Fields:
    """The numbers that mean the names of metrics, params and tags; a new name gets one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        rows = connection.execute("SELECT kind, name, id FROM fields")
        self._ids = {(kind, name): number for kind, name, number in rows}

    def id_of(self, kind: str, name: str) -> int:
        if (kind, name) not in self._ids:
            added = self._connection.execute(
                "INSERT INTO fields (kind, name) VALUES (?, ?)", (kind, name)
            )
            assert added.lastrowid is not None
            self._ids[kind, name] = added.lastrowid
        return self._ids[kind, name]


@contextmanager
def file_errors_named(file: Path) -> Iterator[None]:
    """Raise what the disk does to us as a StorageError; a damaged file passes as it is."""
    try:
        yield
    except sqlite3.OperationalError as error:
        words = ("disk is full", "readonly", "unable to open", "locked")
        if not any(word in str(error) for word in words):
            raise
        raise _cannot_be_written(file, error) from error
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT):
            raise
        raise _cannot_be_written(file, error) from error


def _cannot_be_written(file: Path, error: Exception) -> StorageError:
    return StorageError(
        f"The index {file} cannot be written: {error}.",
        fix=f"free space on its disk, give yourself the right to write in {file.parent}, or close "
        f"the program that holds it (`fuser {file}` names it).",
    )
