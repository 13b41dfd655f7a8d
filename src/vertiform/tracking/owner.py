"""The process whose run a journal is: whether it lives, and what the run shows of that."""

import time
from collections.abc import Mapping
from pathlib import Path

from vertiform.tracking.claims import (
    SECONDS_BETWEEN_SIGNS,
    is_same_process,
    other_owner,
    ours_of,
    signs_of,
)
from vertiform.tracking.journal import OWNER
from vertiform.tracking.journal_lines import Line
from vertiform.tracking.locks import holder_of, is_locked
from vertiform.tracking.store import Store

SECONDS_UNTIL_DEAD = 15.0  # that a run's process may be gone before the run counts as killed


class Owner:
    """What the lines of a journal, and the lock beside it, say of who writes it."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store, self._lock = store, folder / OWNER
        self._names: list[str] = []  # the processes that wrote this journal, one after another
        self._signed = -SECONDS_BETWEEN_SIGNS
        self._gone_since: float | None = None

    @property
    def is_there(self) -> bool:
        """Whether it is known, and was alive when last looked at."""
        return self._gone_since is None and bool(self._names)

    @property
    def is_present_known(self) -> bool:
        """Whether the last owner read is the one that writes; in a copy, another may follow."""
        holder = holder_of(self._lock)
        return bool(self._names) and (
            holder is None or is_same_process(self._names[-1], str(holder))
        )

    @property
    def is_sign_due(self) -> bool:
        """Whether the run's last sign of life is half a minute old."""
        return time.monotonic() - self._signed > SECONDS_BETWEEN_SIGNS

    def read(self, line: Line) -> None:
        """Learn from a line of the journal who wrote from there on."""
        name = line.content.get("owner") if isinstance(line.content, Mapping) else None
        if name and name not in self._names[-1:]:  # a line is applied until it is taken
            self._names.append(name)

    def is_gone(self) -> bool:
        """Say whether it has let go of the journal for so long that it must have died."""
        if is_locked(self._lock):
            self._gone_since = None
            return False
        now = time.monotonic()
        self._gone_since = self._gone_since or now
        return now - self._gone_since > SECONDS_UNTIL_DEAD

    def give_sign(self, run_id: str) -> str | None:
        """Have the run show that it lives; if another has the run, say nothing and return who."""
        from mlflow.entities import RunTag

        other = other_owner(self._store, run_id, ours=ours_of(self._names))
        if other is None:
            tags = [RunTag(*tag) for tag in signs_of(self._names[-1]).items()]
            self._store.client.log_batch(run_id, tags=tags, synchronous=True)
            self._signed = time.monotonic()
        return other
