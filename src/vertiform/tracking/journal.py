"""The journal of a run: what was logged is on this disk before anything else hears of it.

`<journals>/<id>/journal.lines` grows by one `write` a call, so that a killed process loses nothing
that it had logged, and is synced twice a second, so that a machine without power loses half a
second. shipping.py brings it to MLflow. The process that trains holds `owner.lock`.
"""

import errno
import logging
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from vertiform.errors import StorageError, TrackingError
from vertiform.files import sha256_of, sync_data
from vertiform.tracking.journal_lines import (
    Groups,
    Points,
    pack,
    points_line,
    read_lines,
    record_line,
    whole_bytes,
)
from vertiform.tracking.limits import to_valid_name
from vertiform.tracking.locks import Lock, holder_of

LINES = "journal.lines"
SPOOL = "files"  # copies of artifacts that MLflow does not have yet
OWNER = "owner.lock"
SECONDS_BETWEEN_SYNCS = 0.5
MAX_BYTES = 4 << 30  # of a journal: 300 million points at about 14 bytes each
MAX_HELD_BYTES = 32 << 20  # of lines in memory while the disk takes none
FULL = (errno.ENOSPC, errno.EDQUOT)

logger = logging.getLogger(__name__)


class Journal:
    """Takes what a run has to say, in the order it was said. One process at a time has it open.

    Raises TrackingError if another process does, and StorageError if nothing can be written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keeps_changed: bool = False,
        max_bytes: int = MAX_BYTES,
        max_held_bytes: int = MAX_HELD_BYTES,
    ) -> None:
        """Open or create the journal in `folder`; a line that a crash left half-written is cut.

        keeps_changed: keep a value of a step that had another one before, such as a score that was
        computed again; of a step that training repeats, the first value stands.
        """
        self.folder = folder
        self._keeps_changed = keeps_changed
        self._max_bytes, self._max_held_bytes = max_bytes, max_held_bytes
        self._lock = _owned(folder)
        self._file, self._size = _opened(folder / LINES)
        self._written = threading.Lock()
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._dropped_lines = 0
        self._groups: dict[tuple[str, ...], int] = {}  # by the names as MLflow accepts them
        self._group_of: dict[tuple[str, ...], int] = {}  # by the names as they come
        # Of the last points: mostly the next have the same names, the very same objects.
        self._last_names: tuple[str, ...] = ()
        self._last_group = -1
        self._is_unsynced = self._is_closed = False
        self.past = _Past(folder / LINES, self._groups)
        self._last_ms = self.past.last_ms
        self._changed = threading.Condition()
        self._syncer = threading.Thread(target=self._sync_now_and_then, name="journal", daemon=True)
        self._syncer.start()

    @property
    def is_new(self) -> bool:
        """Whether nothing stands in it yet."""
        return self._size == 0 and not self._held

    def append_points(self, points: Mapping[str, float], *, step: int) -> None:
        """Keep the values of one step, in about 20 microseconds for 20 of them.

        A value whose name had one at this step or a later one before the run was taken up again is
        left out: steps repeated after a crash leave one value each.
        """
        if self.past.steps:
            points = self.past.new_of(points, step=step, keeps_changed=self._keeps_changed)
        if not points:
            return
        names = tuple(points)
        values = pack(points.values())
        with self._written:
            if names != self._last_names:
                self._last_group, self._last_names = self._group_named(names), names
            self._last_ms = max(self._last_ms, time.time_ns() // 1_000_000)  # a clock set back
            line = points_line(self._last_group, step, self._last_ms, values)
            self._write(line, is_bounded=True)

    def append(self, kind: str, **values: Any) -> None:
        """Keep a record. What kinds there are and what becomes of each, shipping.py says."""
        with self._written:
            self._write(record_line({"kind": kind, "time_ms": time.time_ns() // 10**6, **values}))

    def append_text(self, text: str, name: str) -> None:
        """Keep a text that becomes the artifact `name`; what is no Unicode becomes `?`."""
        self.append("text", name=name, text=text.encode("utf-8", "replace").decode())

    def append_file(self, source: Path, name: str) -> None:
        """Keep a file that becomes the artifact `name`. It is copied here first."""
        spooled = f"{time.time_ns():x}/{Path(name).name}"  # MLflow takes a file under its own name
        place = self.folder / SPOOL / spooled
        try:
            place.parent.mkdir()
            shutil.copyfile(source, place)
            _sync(place)
        except OSError as error:
            shutil.rmtree(place.parent, ignore_errors=True)
            raise _unwritable(place, error) from error
        self.append("file", name=name, spooled=spooled, sha256=sha256_of(place))

    def sync(self) -> None:
        """Have on the disk whatever was logged before this call. Who saves a checkpoint asks.

        Raises StorageError if the disk takes nothing.
        """
        with self._written:
            self._write_held()
            if self._held:
                raise _unwritable(self.folder / LINES, OSError(errno.ENOSPC, "no space left"))
        sync_data(self._file)

    def close(self) -> None:
        """Sync and let go of it. Raises StorageError that counts the lines that were not taken."""
        if self._is_closed:
            return
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._syncer.join()
        with self._written:
            self._write_held()
        lost = self._dropped_lines + len(self._held)
        try:
            sync_data(self._file)
        finally:
            os.close(self._file)
            self._lock.release()
        if lost:
            raise StorageError(
                f"{lost:,} lines of the journal {self.folder} found no room on the disk; all "
                "before them are kept.",
                fix="free some space, then train again; what was trained is kept.",
            )

    def _group_named(self, names: tuple[str, ...]) -> int:
        if names not in self._group_of:
            self._group_of[names] = self._new_group(names)
        return self._group_of[names]

    def _new_group(self, names: tuple[str, ...]) -> int:
        valid = tuple(map(to_valid_name, names))
        if valid not in self._groups:
            group = self._groups[valid] = len(self._groups)
            self._write(record_line({"kind": "names", "group": group, "names": valid}))
        return self._groups[valid]

    def _write(self, line: bytes, *, is_bounded: bool = False) -> None:
        """Append a line whole, or hold it in memory until the disk takes it. The lock is held.

        Points are bounded; the few other lines, without which points mean nothing, are not.
        """
        if is_bounded and self._size + len(line) > self._max_bytes:
            self._drop(f"it has reached {self._max_bytes / 1e6:,.0f} MB, the most it may hold")
        elif is_bounded and self._held_bytes + len(line) > self._max_held_bytes:
            self._drop(f"{self._held_bytes / 1e6:,.0f} MB wait in memory for a full disk")
        elif self._held:
            self._hold(line)
        elif trouble := self._try_write(line):
            logger.warning(
                "The journal %s cannot be written (%s). Training goes on; what is logged is held "
                "in memory and written when there is room.",
                *(self.folder, trouble),
            )
            self._hold(line)

    def _try_write(self, line: bytes) -> str:
        """Append it; "" if it is there whole, else why it is not there at all."""
        trouble = ""
        try:
            written = os.write(self._file, line)
        except OSError as error:
            written, trouble = 0, error.strerror or str(error)
        if written == len(line):
            self._size += written
            self._is_unsynced = True
            return ""
        os.ftruncate(self._file, self._size)  # half a line would be joined to the next one
        return trouble or os.strerror(errno.ENOSPC)

    def _hold(self, line: bytes) -> None:
        self._held.append(line)
        self._held_bytes += len(line)

    def _drop(self, why: str) -> None:
        if not self._dropped_lines:
            logger.error(
                "The journal %s takes no more: %s. What is logged from now on is LOST and counted; "
                "training goes on.",
                *(self.folder, why),
            )
        self._dropped_lines += 1

    def _write_held(self) -> None:
        had_held = bool(self._held)
        while self._held and not self._try_write(self._held[0]):
            self._held_bytes -= len(self._held.popleft())
        if had_held and not self._held and not self._dropped_lines:
            logger.warning("The journal %s is written again; nothing is lost.", self.folder)

    def _sync_now_and_then(self) -> None:
        while not self._is_closed:
            with self._changed:
                self._changed.wait(SECONDS_BETWEEN_SYNCS)
            with self._written:
                self._write_held()
                is_due, self._is_unsynced = self._is_unsynced, False
            if is_due and not self._is_closed:
                with suppress(OSError):  # tried again with the next lines; `close` tells
                    sync_data(self._file)


class _Past:
    """What a journal that is taken up again holds already."""

    def __init__(self, lines: Path, groups: dict[tuple[str, ...], int]) -> None:
        self.steps: dict[str, tuple[int, float]] = {}  # the last step of each name, and its value
        self.last_ms = 0
        self.kinds: list[str] = []
        found = Groups()
        for line in read_lines(lines, start=0, groups=found):
            content = line.content
            if isinstance(content, Points):
                self.last_ms = content.time_ms
                for name, value in zip(content.names, content.values, strict=True):
                    self.steps[name] = (content.step, value)
            elif isinstance(content, Mapping):
                self.kinds.append(content["kind"])
        groups.update({names: group for group, names in found.names.items()})

    def new_of(
        self, points: Mapping[str, float], *, step: int, keeps_changed: bool
    ) -> dict[str, float]:
        """Leave out the points whose step is not after the last one of their name."""
        new = {}
        for name, value in points.items():
            last_step, last_value = self.steps.get(to_valid_name(name), (-1, 0.0))
            is_changed = keeps_changed and step == last_step and value != last_value
            if step > last_step or is_changed:
                new[name] = value
        return new


def _owned(folder: Path) -> Lock:
    """Take the journal for this process."""
    try:
        (folder / SPOOL).mkdir(parents=True, exist_ok=True)
        lock = Lock(folder / OWNER)
        if lock.acquire():
            return lock
    except OSError as error:
        raise _unwritable(folder, error) from error
    raise TrackingError(
        f"This run is going on already: {holder_of(folder / OWNER) or 'another process'} writes "
        f"its journal {folder}.",
        fix="wait for it or end it; or change the configuration or the seed, which makes another "
        "run.",
    )


def _opened(lines: Path) -> tuple[int, int]:
    """Open the lines to append to them; return the descriptor and their size, whole lines only."""
    try:
        file = os.open(lines, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        size = whole_bytes(lines)
        os.ftruncate(file, size)
    except OSError as error:
        raise _unwritable(lines, error) from error
    return file, size


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _unwritable(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"The journal {path} cannot be written: {error.strerror or error}.",
        fix="free some space, or give yourself the right to write there, then run the same "
        "command again; it goes on.",
    )
