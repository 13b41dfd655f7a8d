"""Takes metric points from a training loop at once and ships them to MLflow from a thread."""

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

from vertiform.errors import TrackingError
from vertiform.tracking.limits import METRICS_PER_BATCH, to_valid_name
from vertiform.tracking.store import Store, without_credentials

SECONDS_BETWEEN_BATCHES = 2.0
SECONDS_BETWEEN_TRIES = 1.0  # doubled after each failure, up to 16
# What MLflow answers when the same call can never succeed.
HOPELESS = frozenset({"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"})

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one metric. MLflow keeps a point once per name, time, step and value."""

    name: str
    value: float
    timestamp_ms: int
    step: int


class ShippingSink:
    """Takes points in a few microseconds; a thread sends them to one run, 1,000 a call.

    The time of a point is fixed when it comes in, so that one sent twice is stored once.
    """

    def __init__(self, store: Store, run_id: str, *, seconds_to_finish: float) -> None:
        """Start the thread. `close` tries for at most `seconds_to_finish` to send what is left."""
        self._store = store
        self._run_id = run_id
        self._seconds_to_finish = seconds_to_finish
        self._waiting: deque[Point] = deque()
        self._changed = threading.Condition()
        self._give_up_at: float | None = None  # monotonic seconds; set by close
        self._lost = 0
        self._last_error = ""
        self._thread = threading.Thread(target=self._ship, name="metrics", daemon=True)
        self._thread.start()

    def log_points(self, points: Mapping[str, float], *, step: int) -> None:
        """Take the values of one step. Never waits for MLflow."""
        timestamp_ms = time.time_ns() // 1_000_000
        with self._changed:
            assert self._give_up_at is None, "points came after the run had ended"
            for name, value in points.items():
                self._waiting.append(Point(to_valid_name(name), float(value), timestamp_ms, step))
            if len(self._waiting) >= METRICS_PER_BATCH:
                self._changed.notify()

    def log_text(self, text: str, file: str) -> None:
        """Keep a text among the run's artifacts; one that the store refuses is said, and lost."""
        try:
            self._store.client.log_text(self._run_id, text, file)
        except Exception as error:  # whatever it is, training goes on
            told = without_credentials(str(error).strip().splitlines()[0][:300])
            logger.warning("%s did not take %s (%s).", self._store.name, file, told)

    def close(self) -> None:
        """Send what is left. Raises TrackingError that counts what MLflow did not take, and why."""
        with self._changed:
            if self._give_up_at is None:
                self._give_up_at = time.monotonic() + self._seconds_to_finish
            self._changed.notify()
        self._thread.join()
        lost = self._lost + len(self._waiting)
        if lost:
            raise TrackingError(
                f"{lost:,} metric points of run {self._run_id} did not reach {self._store.name}: "
                f"{self._last_error}",
                fix="see that the store answers, then train again; what was trained is kept.",
            )

    def _ship(self) -> None:
        failures = 0
        while True:
            batch, give_up_at = self._next_batch(failures)
            if batch:
                failures = 0 if self._is_settled(batch, had_failed=failures > 0) else failures + 1
            closing = give_up_at is not None
            if closing and (not self._waiting or time.monotonic() > give_up_at):
                return

    def _next_batch(self, failures: int) -> tuple[list[Point], float | None]:
        """Wait until it is time to send, and return what to send and when to give up."""
        if failures:
            seconds = min(SECONDS_BETWEEN_TRIES * 2 ** (failures - 1), 16.0)
        else:
            seconds = SECONDS_BETWEEN_BATCHES
        with self._changed:
            was_closing = self._give_up_at is not None
            if was_closing:
                # Nothing more comes in: send at once, or try again soon.
                self._changed.wait(min(seconds, 1.0) if failures else 0)
            else:
                self._changed.wait_for(lambda: self._must_send(failures), timeout=seconds)
            return list(islice(self._waiting, METRICS_PER_BATCH)), self._give_up_at

    def _must_send(self, failures: int) -> bool:
        is_full = len(self._waiting) >= METRICS_PER_BATCH and not failures
        return is_full or self._give_up_at is not None

    def _is_settled(self, batch: list[Point], *, had_failed: bool) -> bool:
        """Send a batch; False if it must be sent again. One that MLflow refuses counts as lost."""
        from mlflow.entities import Metric

        metrics = [Metric(p.name, p.value, p.timestamp_ms, p.step) for p in batch]
        try:
            self._store.client.log_batch(self._run_id, metrics=metrics, synchronous=True)
        except Exception as error:  # whatever it is, training goes on; `close` tells
            self._last_error = without_credentials(str(error).strip().splitlines()[0][:300])
            if getattr(error, "error_code", "") not in HOPELESS:
                if not had_failed:
                    logger.warning(
                        "%s takes no metrics now (%s). Training goes on; they are sent again.",
                        self._store.name,
                        self._last_error,
                    )
                return False
            self._lost += len(batch)
        with self._changed:
            for _ in batch:
                self._waiting.popleft()
        return True
