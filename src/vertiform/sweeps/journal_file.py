"""The file below Optuna's JournalStorage: what a study was told, a line a record, and no line lost.

A line is `<crc32, 8 hex digits> <the record as JSON>\n`. What was being written when its writer
died is cut off by the next writer. Of Optuna's own file, a torn line makes the study unreadable.
"""

import fcntl
import json
import logging
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend
from optuna.storages.journal._storage import JournalOperation

from vertiform.errors import StorageError
from vertiform.files import sync_data
from vertiform.tracking.journal_lines import checked, with_checksum

READ_BYTES = 1 << 16  # at a time
# Of a trial that still runs: on the disk with the record that ends it, at the latest.
NOT_SYNCED = frozenset(
    (
        JournalOperation.SET_TRIAL_PARAM,
        JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE,
        JournalOperation.SET_TRIAL_USER_ATTR,
        JournalOperation.SET_TRIAL_SYSTEM_ATTR,
    )
)

# Numbers and names alone, which are the same after JSON. Most records are of these two kinds.
PLAIN = frozenset((JournalOperation.SET_TRIAL_PARAM, JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE))
_as_json = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps would build it each time

logger = logging.getLogger(__name__)


class JournalFile(BaseJournalBackend):
    """Appends records to one file, from any number of processes of one machine.

    A killed process loses nothing that it was told is written. A machine that loses its power
    loses no study, no number of a trial, and no trial that had ended: their records are synced
    before the call returns, and with each all that stands before it. Parameters, reports and
    attributes of a trial that still runs are left to the system, which writes them within seconds
    or with the next synced record.

    One JournalStorage stands above it, which lets in one thread at a time. A child made by fork
    must open its own, since that storage tells its workers apart by itself.
    Raises StorageError if the file cannot be written, or if one of its records is damaged.
    """

    def __init__(self, path: Path) -> None:
        """Open or create the file at `path`; its folder is there."""
        self._path = path
        self._begin()

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the records from this number on; what a writer has not finished is left."""
        own, self._own = self._own, None
        if own is not None and own.number == log_number_from:
            self._starts.append(own.end)
            log_number_from += 1
            yield own.log
        number = min(log_number_from, len(self._starts) - 1)
        for rest, end in self._records(self._starts[number]):
            number += 1
            if number == len(self._starts):
                self._starts.append(end)
            if number > log_number_from:
                yield json.loads(rest.decode())

    def append_logs(self, logs: Sequence[dict[str, Any]]) -> None:
        """Write records behind all that are there, whole or not at all."""
        lines = b"".join([with_checksum(_as_json(log).encode()) for log in logs])
        # flock, not lockf: a second JournalFile on this file in this process is kept out too, and
        # closing it does not drop our lock. The system lets go of it when we die.
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            at = self._end_of_whole()
            self._write(lines, at)
            self._end = at + len(lines)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        operations = [log["op_code"] for log in logs]
        # If all that stands before was read, ours is the next to be.
        if at == self._starts[-1] and len(logs) == 1 and operations[0] in PLAIN:
            self._own = _Own(logs[0], number=len(self._starts) - 1, end=self._end)
        if not NOT_SYNCED.issuperset(operations):
            self._sync()  # by now others may write; what they have written is synced too

    def close(self) -> None:
        """Let go of the file."""
        self._opened.close()

    def _begin(self) -> None:
        self._starts = array("Q", [0])  # the byte at which each record begins, and the next one
        self._end = 0  # of the records known to be whole
        self._own: _Own | None = None
        self._opened = _opened(self._path)  # closed with us
        self._file = self._opened.fileno()
        _check_is_journal(self._path)

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self._path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._path = state["path"]
        self._begin()

    def _records(self, at: int) -> Iterator[tuple[bytes, int]]:
        """Yield each whole record from the byte `at` on, and the byte after it.

        Damage with no right record behind it is what a crash leaves: the next writer cuts it off.
        """
        damaged_at: int | None = None
        rest, is_at_end = b"", False
        while not is_at_end:
            read = os.pread(self._file, READ_BYTES, at + len(rest))
            is_at_end = len(read) < READ_BYTES
            *lines, rest = (rest + read).split(b"\n")
            for text in lines:
                content, start, at = checked(text), at, at + len(text) + 1
                if content is None:
                    damaged_at = start if damaged_at is None else damaged_at
                elif damaged_at is not None:
                    raise _damaged(self._path, at=damaged_at)
                else:
                    yield content, at

    def _end_of_whole(self) -> int:
        """Say where to write, and cut off what a crash has left there. We are alone."""
        size = os.lseek(self._file, 0, os.SEEK_END)
        if size != self._end:  # others wrote, or died while they did
            for _, end in self._records(self._end):
                self._end = end
            if self._end != size:
                logger.info("%s ends in half a record, left by a crash; it is cut.", self._path)
                os.ftruncate(self._file, self._end)
        return self._end

    def _write(self, lines: bytes, at: int) -> None:
        try:
            written = os.write(self._file, lines)
        except OSError as error:
            raise _unwritable(self._path, error.strerror) from error
        if written != len(lines):
            os.ftruncate(self._file, at)
            raise _unwritable(self._path, "no space is left on the disk")

    def _sync(self) -> None:
        if os.fstat(self._file).st_nlink == 0:
            raise StorageError(
                f"The file of this sweep, {self._path}, was deleted while the sweep runs.",
                fix="run the same command again; it begins a new study.",
            )
        try:
            sync_data(self._file)
        except OSError as error:
            raise _unwritable(self._path, error.strerror) from error


@dataclass(frozen=True, slots=True)
class _Own:
    """A record that we wrote just now, which so need not be read: a tenth of a trial's time."""

    log: dict[str, Any]
    number: int
    end: int  # the byte after it


def _opened(path: Path) -> FileIO:
    is_new = not path.exists()
    try:
        file = path.open("a+b", buffering=0)
        if is_new:  # its name is on the disk once the folder is synced
            folder = os.open(path.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
    except OSError as error:
        raise _unwritable(path, error.strerror) from error
    return file


def _check_is_journal(path: Path) -> None:
    """Refuse a file of something else, which a writer would cut off as one damaged record."""
    with path.open("rb") as file:
        first = file.readline()
    if first.endswith(b"\n") and checked(first[:-1]) is None:
        raise StorageError(
            f"{path} is not the file of a sweep, or its first record is damaged.",
            fix="move it away, then run the same command again; or give `study=` another name.",
        )


def _damaged(path: Path, *, at: int) -> StorageError:
    with path.open("rb") as file:
        number = file.read(at).count(b"\n")
    return StorageError(
        f"Record {number + 1:,} of {path} is damaged, and records behind it are not: the file was "
        "changed, or the disk is failing.",
        fix=f"put back a copy of it; or keep the {number:,} records before, and lose those behind: "
        f"`truncate --size={at} {path}`.",
    )


def _unwritable(path: Path, why: str | None) -> StorageError:
    return StorageError(
        f"The file of this sweep, {path}, cannot be written: {why or 'for no reason given'}.",
        fix="free some space, or give yourself the right to write there, then run the same "
        "command again; it goes on.",
    )
