"""Who runs which trial: one living worker each, and the next one when that one is gone."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from vertiform.errors import StorageError
from vertiform.tracking.locks import Lock, is_locked

TURN = "turn.lock"


class Claims(Protocol):
    """What a worker asks before it takes a trial, and tells when it has one.

    `take`, `is_orphan` and `drop` are called inside `turn()`, in which nobody else calls them.
    A worker asks the study for a trial and takes it in one turn, so that a running trial without
    a claim is one whose worker is gone. Before it tells what came of a trial, it asks `holds`.
    """

    def turn(self) -> AbstractContextManager[None]:
        """Be alone among all workers of the study, wherever they run."""
        ...

    def take(self, trial_id: int) -> bool:
        """Run this trial from now on. False: another worker that lives has it."""
        ...

    def is_orphan(self, trial_id: int) -> bool:
        """Say of a trial that is RUNNING in the study whether nobody living runs it."""
        ...

    def holds(self, trial_id: int) -> bool:
        """Say whether we still run it: whoever is silent for too long loses it to another."""
        ...

    def drop(self, trial_id: int) -> None:
        """Let go of it: it has ended, or another worker may go on with it at once."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class FileClaims:
    """Claims of the processes of one machine, as locks on files that the system frees at death.

    A trial's claim is the lock on `<folder>/<trial id>.lock`, which says who holds it. A worker
    that is paused keeps its claims. A child process does not inherit them.
    """

    def __init__(self, folder: Path) -> None:
        """Keep the locks in `folder`, which is made if it is absent."""
        self._folder = folder
        self._held: dict[int, Lock] = {}
        self._one_thread = threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._turn = os.open(folder / TURN, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise _unwritable(folder, error) from error

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Be alone among the workers on this machine; waits for as long as another has its turn."""
        with self._one_thread:
            fcntl.flock(self._turn, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._turn, fcntl.LOCK_UN)

    def take(self, trial_id: int) -> bool:
        """Lock the trial's file. True too if we hold it already."""
        if self.holds(trial_id):
            return True
        lock = Lock(self._path(trial_id))
        try:
            is_ours = lock.acquire()
        except OSError as error:
            raise _unwritable(self._folder, error) from error
        if is_ours:
            self._held[trial_id] = lock
        return is_ours

    def is_orphan(self, trial_id: int) -> bool:
        """Say whether no process has the trial's file locked."""
        return not is_locked(self._path(trial_id))

    def holds(self, trial_id: int) -> bool:
        """Say whether we have it locked, and the file is still there."""
        return trial_id in self._held and self._held[trial_id].is_in_place()

    def drop(self, trial_id: int) -> None:
        """Remove the file and unlock it. Inside a turn nobody else looks at it meanwhile."""
        lock = self._held.pop(trial_id, None)
        if lock is not None:
            if lock.is_in_place():
                self._path(trial_id).unlink()
            lock.release()

    def close(self) -> None:
        """Let go of every claim. The files stay: we do not have our turn."""
        for lock in self._held.values():
            lock.release()
        self._held.clear()
        os.close(self._turn)

    def _path(self, trial_id: int) -> Path:
        return self._folder / f"{trial_id}.lock"


def _unwritable(folder: Path, error: OSError) -> StorageError:
    return StorageError(
        f"The locks of the sweep in {folder} cannot be written: {error.strerror or error}.",
        fix="free some space, or give yourself the right to write there, then run the same "
        "command again; it goes on.",
    )
