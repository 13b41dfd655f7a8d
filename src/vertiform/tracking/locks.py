"""A lock file that says who holds it, and that the system lets go of when its holder dies."""

import fcntl
import json
import os
import socket
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

_held_here: set[Path] = set()  # the system lets one process lock a file twice
_guard = threading.Lock()


@dataclass(frozen=True)
class Holder:
    """A process, for a person and for a comparison. `since` is UTC, ISO 8601."""

    host: str
    pid: int
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


def this_process() -> Holder:
    """Say who we are."""
    return Holder(socket.gethostname(), os.getpid(), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")


class Lock:
    """A lock on a file. A child process does not inherit it; a killed one cannot keep it."""

    def __init__(self, path: Path) -> None:
        self._path = path.resolve()
        self._file: int | None = None

    def acquire(self) -> bool:
        """Take it without waiting, and write who we are into the file; False if it is taken."""
        with _guard:
            if self._path in _held_here:
                return False
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(file)
                return False
            _held_here.add(self._path)
            self._file = file
        text = json.dumps(asdict(this_process())).encode()
        with suppress(OSError):  # on a full disk the lock itself still holds
            os.ftruncate(file, 0)
            os.pwrite(file, text, 0)
        return True

    def is_in_place(self) -> bool:
        """Say whether the file under the name is still the one that we locked."""
        if self._file is None:
            return False
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._file))

    def release(self) -> None:
        """Let go of it."""
        with _guard:
            if self._file is not None:
                os.close(self._file)
                _held_here.discard(self._path)
                self._file = None


def is_locked(path: Path) -> bool:
    """Say whether some process, this one too, holds the lock on `path`."""
    with _guard:
        # Never opened here if it is ours: closing any descriptor of a file drops our lock on it.
        if path.resolve() in _held_here:
            return True
        if not path.exists():
            return False
        file = os.open(path, os.O_RDWR)
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(file)
    return False


def holder_of(path: Path) -> Holder | None:
    """Read who holds, or held, the lock on `path`. None: nobody did, or it cannot be read."""
    try:
        if path.resolve() in _held_here:
            return this_process()
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
