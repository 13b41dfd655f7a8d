"""What the machine under a run does: processors, memory, disk and GPUs."""

import multiprocessing
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

from vertiform.evaluation import names
from vertiform.training.gpus import Gpu


class Machine:
    """Reads the machine; a reading took 0.3 ms on two cores, most of it for the disks' counters.

    disk: a folder on the disk that is watched for being full.
    """

    def __init__(self, *, disk: Path, gpus: Sequence[Gpu]) -> None:
        self._disk = disk
        self._gpus = gpus
        self._process = psutil.Process()
        self._before = _Counts.now()

    def start(self) -> None:
        """Begin the time that the first reading's rates are of."""
        self._before = _Counts.now()

    def points(self) -> dict[str, float]:
        """By evaluation.names; fractions of processors and rates are of the time since the last."""
        before, now = self._before, _Counts.now()
        self._before = now
        memory = psutil.virtual_memory()
        points = {
            **now.since(before),
            names.SYSTEM_MEMORY_BYTES: float(memory.total - memory.available),
            names.PROCESS_MEMORY_BYTES: float(self._process.memory_info().rss),
            names.DISK_USED_FRACTION: psutil.disk_usage(str(self._disk)).percent / 100,
        }
        for gpu in self._gpus:
            points |= gpu.points()
        return points


class _Counts(NamedTuple):
    """Counters of the machine and of this run; the disks' are None where nobody keeps them."""

    at: float  # seconds
    busy: float  # seconds, of all cores, as the next
    idle: float
    own: float
    disk_read: int | None  # bytes
    disk_written: int | None

    @classmethod
    def now(cls) -> "_Counts":
        cpu = psutil.cpu_times()
        idle = cpu.idle + getattr(cpu, "iowait", 0.0)
        # The kernel counts what guests take within `user`, too.
        counted = sum(cpu) - getattr(cpu, "guest", 0.0) - getattr(cpu, "guest_nice", 0.0)
        disks = psutil.disk_io_counters()
        return cls(
            at=time.monotonic(),
            busy=counted - idle,
            idle=idle,
            own=cpu_seconds(),
            disk_read=disks.read_bytes if disks else None,
            disk_written=disks.write_bytes if disks else None,
        )

    def since(self, before: "_Counts") -> dict[str, float]:
        """Fractions and rates between two moments."""
        seconds = max(self.at - before.at, 1e-9)
        busy, idle = self.busy - before.busy, self.idle - before.idle
        own_share = (self.own - before.own) / seconds / len(os.sched_getaffinity(0))
        points = {
            # The kernel counts in hundredths of a second: in less time than that, nothing.
            names.SYSTEM_CPU_FRACTION: _within_one(busy / (busy + idle)) if busy + idle else 0.0,
            names.PROCESS_CPU_FRACTION: _within_one(own_share),
        }
        if self.disk_read is not None and before.disk_read is not None:
            read = self.disk_read - before.disk_read
            points[names.DISK_READ_BYTES_PER_SECOND] = read / seconds
        if self.disk_written is not None and before.disk_written is not None:
            written = self.disk_written - before.disk_written
            points[names.DISK_WRITTEN_BYTES_PER_SECOND] = written / seconds
        return points


def cpu_seconds() -> float:
    """CPU time that this process took, and the processes it started: loaders, ended ones too."""
    own = os.times()
    seconds = own.user + own.system + own.children_user + own.children_system
    for child in multiprocessing.active_children():
        with suppress(psutil.Error):  # it ended just now
            times = psutil.Process(child.pid).cpu_times()
            seconds += times.user + times.system
    return seconds


def _within_one(fraction: float) -> float:
    return min(1.0, max(0.0, fraction))
