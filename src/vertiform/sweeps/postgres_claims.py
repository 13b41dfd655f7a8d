"""Claims on trials by workers of many machines, kept in the study's own PostgreSQL database."""

import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from optuna.storages import RDBStorage
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from vertiform.errors import StorageError
from vertiform.sweeps.database import database_errors_named, lock_of
from vertiform.tracking.locks import this_process

HEARTBEATS_UNTIL_DEAD = 6
WORKER = "vertiform:worker"  # a system attribute of a trial: who runs it

# All times are the database's, whatever the workers' clocks and time zones say.
_SILENCE_ALLOWED = text("SELECT set_config('idle_in_transaction_session_timeout', :ms, true)")
_STATE = text("""
    SELECT (SELECT value_json FROM trial_system_attributes WHERE trial_id = :trial AND key = :key),
    (SELECT extract(epoch FROM now() AT TIME ZONE 'UTC' - heartbeat)
     FROM trial_heartbeats WHERE trial_id = :trial)""")
_ALONE_WITH_TRIAL = text("SELECT 1 FROM trials WHERE trial_id = :trial FOR UPDATE")
_SET_WORKER = text("""
    INSERT INTO trial_system_attributes (trial_id, key, value_json) VALUES (:trial, :key, :worker)
    ON CONFLICT (trial_id, key) DO UPDATE SET value_json = excluded.value_json""")
_FIRST_BEAT = text("""
    INSERT INTO trial_heartbeats (trial_id, heartbeat) VALUES (:trial, now() AT TIME ZONE 'UTC')
    ON CONFLICT (trial_id) DO UPDATE SET heartbeat = excluded.heartbeat""")
_BEAT = text("""
    UPDATE trial_heartbeats AS beat SET heartbeat = now() AT TIME ZONE 'UTC'
    FROM trial_system_attributes AS claim
    WHERE beat.trial_id = ANY(:trials) AND claim.trial_id = beat.trial_id
    AND claim.key = :key AND claim.value_json = :worker""")
_NO_BEAT = text("""
    DELETE FROM trial_heartbeats AS beat USING trial_system_attributes AS claim
    WHERE beat.trial_id = :trial AND claim.trial_id = beat.trial_id
    AND claim.key = :key AND claim.value_json = :worker""")

logger = logging.getLogger(__name__)


class PostgresClaims:
    """A trial is its worker's for as long as the worker gives a sign of life every few seconds.

    The signs are Optuna's own heartbeats, given by a thread; the worker's name is an attribute of
    the trial. A worker that was silent for six heartbeats may lose its trials to another, and its
    turn too: it hears of the first from `holds`, and of the second by a StorageError. After a time
    in which it could not give signs itself, as when the database was away, it takes no silence of
    others for death until six heartbeats have passed.
    """

    def __init__(self, storage: RDBStorage, study_id: int, *, heartbeat_seconds: int) -> None:
        """Make claims on the trials of one study. No trial is taken yet."""
        self._engine = storage.engine
        self._study_id = study_id
        self._heartbeat_seconds = heartbeat_seconds
        self._worker = json.dumps(f"{this_process()}, {uuid.uuid4().hex[:8]}")
        self._held: set[int] = set()
        self._one_thread = threading.Lock()
        self._last_beat = self._judges_from = time.monotonic()
        self._is_closed = threading.Event()
        self._beats = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)
        self._beats.start()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be alone among the study's workers, for at most six heartbeats without a word.

        The lock belongs to a transaction, which the server ends when its worker is gone.
        """
        with self._one_thread, self._engine.connect() as connection:
            with database_errors_named(self._engine.url):
                connection.execute(_SILENCE_ALLOWED, {"ms": str(1000 * self._grace_seconds)})
                connection.execute(*lock_of(self._study_id))
            yield
            try:
                connection.commit()
            except SQLAlchemyError as error:
                raise self._turn_lost() from error

    def take(self, trial_id: int) -> bool:
        """Put our name on the trial, unless one stands there whose worker lives."""
        with self._transaction() as connection:
            connection.execute(_ALONE_WITH_TRIAL, {"trial": trial_id})
            worker, is_alive = self._state(connection, trial_id)
            if is_alive and worker != self._worker:
                return False
            connection.execute(_SET_WORKER, self._named(trial=trial_id))
            connection.execute(_FIRST_BEAT, {"trial": trial_id})
        self._held.add(trial_id)
        return True

    def is_orphan(self, trial_id: int) -> bool:
        """Say whether the trial's last sign of life is too old, or it never had one."""
        with self._transaction() as connection:
            return not self._state(connection, trial_id)[1]

    def holds(self, trial_id: int) -> bool:
        """Say whether our name still stands on the trial."""
        with self._transaction() as connection:
            return trial_id in self._held and self._state(connection, trial_id)[0] == self._worker

    def drop(self, trial_id: int) -> None:
        """Take back our sign of life: whoever comes next need not wait."""
        self._held.discard(trial_id)
        with self._transaction() as connection:
            connection.execute(_NO_BEAT, self._named(trial=trial_id))

    def close(self) -> None:
        """Drop every trial and end the thread. The storage's connections stay open."""
        self._is_closed.set()
        self._beats.join(timeout=self._heartbeat_seconds)  # it may wait for the database
        for trial_id in sorted(self._held):
            self.drop(trial_id)

    @property
    def _grace_seconds(self) -> int:
        return HEARTBEATS_UNTIL_DEAD * self._heartbeat_seconds

    def _turn_lost(self) -> StorageError:
        return StorageError(
            f"This worker was silent for {self._grace_seconds} seconds in its turn at the study, "
            "which another may have had meanwhile.",
            fix="run the same command again; it goes on. If it happens again, make "
            "`heartbeat_seconds` larger.",
        )

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with database_errors_named(self._engine.url), self._engine.begin() as connection:
            yield connection

    def _named(self, **values: Any) -> dict[str, Any]:
        return {"key": WORKER, "worker": self._worker, **values}

    def _state(self, connection: Connection, trial_id: int) -> tuple[str | None, bool]:
        """Return whose name stands on the trial, and whether that worker may be alive."""
        asked = {"trial": trial_id, "key": WORKER}
        worker, silent_seconds = connection.execute(_STATE, asked).one()
        if silent_seconds is None:
            return worker, False
        return worker, silent_seconds < self._grace_seconds or not self._may_judge()

    def _may_judge(self) -> bool:
        now = time.monotonic()
        return now - self._last_beat < self._grace_seconds / 2 and now >= self._judges_from

    def _beat_on(self) -> None:
        while not self._is_closed.wait(self._heartbeat_seconds):
            try:
                with self._engine.begin() as connection:
                    connection.execute(_BEAT, self._named(trials=list(self._held)))
            except SQLAlchemyError as error:  # tried again at the next; `holds` tells if too late
                logger.warning("No sign of life could be given to the sweep's database: %s", error)
                continue
            now = time.monotonic()
            if now - self._last_beat > self._grace_seconds / 2:
                self._judges_from = now + self._grace_seconds
            self._last_beat = now
