"""A study in PostgreSQL: the address, the first connection, and errors in one line."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any
from zlib import crc32

from optuna.storages import RDBStorage
from sqlalchemy import URL, TextClause, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from vertiform.errors import ConfigError, StorageError

SECONDS_TO_CONNECT = 10
SECONDS_OF_PATIENCE = 600.0  # with a server that answered before: it is started again, or moved
SECONDS_BETWEEN_TRIES = 1.0
LOCK_SPACE = crc32(b"vertiform sweep") >> 1  # the first half of our advisory locks, an int4
MAKING_TABLES = -1  # the other half: no study has this id
DRIVER = "postgresql+psycopg"
EXAMPLE = "storage=postgresql://user@host:5432/database"
# A machine that is gone says nothing; the system asks it, and gives up after 30 + 3 x 10 s.
CONNECT = {
    "connect_timeout": SECONDS_TO_CONNECT,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}

logger = logging.getLogger(__name__)


def open_database(address: str) -> RDBStorage:
    """Connect, and make Optuna's tables if they are absent.

    Optuna's own watch for silent workers stays off: PostgresClaims keeps it. A server that goes
    away later is waited for, up to ten minutes.
    Raises ConfigError if the address cannot be one, StorageError if nobody answers there.
    """
    url = _url(address)
    _check_driver()
    # A connection that the server has closed meanwhile is noticed and replaced.
    options = {"connect_args": CONNECT, "pool_pre_ping": True}
    engine = create_engine(url, connect_args=CONNECT, poolclass=NullPool)
    with database_errors_named(url), engine.begin() as alone:
        # Of two workers that make the tables at the same time, one would fail.
        alone.execute(*lock_of(MAKING_TABLES))
        try:
            storage = RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=options)
        except RuntimeError as error:  # of the tables' version
            raise _other_version(url) from error
    event.listen(storage.engine, "do_connect", _connect_patiently)
    return storage


def _connect_patiently(dialect: Any, _: Any, args: Sequence[Any], params: Mapping[str, Any]) -> Any:
    """Connect as SQLAlchemy does, but wait for a server that is away for a while."""
    give_up_at = time.monotonic() + SECONDS_OF_PATIENCE
    is_first = True
    while True:
        try:
            return dialect.connect(*args, **params)
        except dialect.loaded_dbapi.OperationalError as error:
            if time.monotonic() > give_up_at:
                raise
            if is_first:
                logger.warning("The sweep's database does not answer; waiting for it: %s", error)
            is_first = False
            time.sleep(SECONDS_BETWEEN_TRIES)


def lock_of(study_id: int) -> tuple[TextClause, dict[str, int]]:
    """Return the statement that waits for a study's lock, which its transaction then has."""
    return text("SELECT pg_advisory_xact_lock(:space, :study)"), {
        "space": LOCK_SPACE,
        "study": study_id,
    }


@contextmanager
def database_errors_named(url: URL) -> Iterator[None]:
    """Raise StorageError, in one line and with a fix, for what the database says in many."""
    try:
        yield
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines() or ["nothing"]
        raise StorageError(
            f"The database of this sweep, {url.render_as_string()}, cannot be used: "
            f"{said[-1].strip()[:300]}",
            fix=_fix(" ".join(said), url),
        ) from error


def _other_version(url: URL) -> StorageError:
    return StorageError(
        f"The tables in {url.render_as_string()} are of another version of Optuna.",
        fix="use that version; or bring them to this one, which the other can no longer read: "
        f"`optuna storage upgrade --storage {url.render_as_string()}`.",
    )


def _fix(said: str, url: URL) -> str:
    if "password" in said or "authentication" in said:
        return "give the password in the environment variable PGPASSWORD, or in ~/.pgpass."
    if "pg_hba.conf" in said:
        return (
            "ask who runs the server to let this user in from this machine, or correct `storage=`."
        )
    if "does not exist" in said:
        return f"make the database (`createdb {url.database}`), or correct `storage=`."
    return "start the server, or correct `storage=`; then run the same command again: it goes on."


def _check_driver() -> None:
    if find_spec("psycopg") is None:
        raise ConfigError(
            "A sweep in PostgreSQL needs the package psycopg, which is not installed.",
            fix="run `pip install -e '.[server]'`.",
        )


def _url(address: str) -> URL:
    try:
        url = make_url(address)
    except ArgumentError:
        raise ConfigError(
            f"`storage={address}` is not the address of a database.", fix=f"write {EXAMPLE}."
        ) from None
    if url.drivername not in ("postgresql", DRIVER):
        raise ConfigError(
            f"A sweep of many machines is kept in PostgreSQL, not in `{url.drivername}`.",
            fix=f"write {EXAMPLE}; or leave `storage` out, and a file keeps the sweep of this "
            "machine.",
        )
    if url.password is not None or "password" in url.query:
        raise ConfigError(
            "The address of the database holds a password, which process lists and logs would "
            "show.",
            fix=f"give it in the environment variable PGPASSWORD or in ~/.pgpass, and write "
            f"{EXAMPLE}.",
        )
    return url.set(drivername=DRIVER)
