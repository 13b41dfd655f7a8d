"""How much energy a run takes: what devices count, and an estimate where none does."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from vertiform.errors import StorageError
from vertiform.evaluation import names
from vertiform.files import read_json, write_json
from vertiform.training.carbon import drawn_by, emitted_in
from vertiform.training.distributed import Place, sum_of_all
from vertiform.training.gpus import Gpu
from vertiform.training.hardware import CPU_FACTS
from vertiform.training.machine import cpu_seconds

JOULES_PER_KILOWATT_HOUR = 3.6e6
POWERCAP = Path("/sys/class/powercap")

logger = logging.getLogger(__name__)


class Counter(Protocol):
    """Counts the joules of a device. says: what it is and how it is counted, for people."""

    is_estimate: bool
    says: str

    def joules(self) -> float:
        """Since it was made."""
        ...


class GpuCounter:
    """A GPU's own counter: of the whole board, whoever uses it."""

    is_estimate = False
    says = "GPU measured by its own counter"

    def __init__(self, gpu: Gpu, first: float) -> None:
        self._gpu = gpu
        self._first = first
        self._taken = 0.0

    def joules(self) -> float:
        """See Counter. A GPU that does not answer any more took what it last said."""
        now = self._gpu.joules()
        if now is not None:
            self._taken = max(self._taken, now - self._first)
        return self._taken


class NotCounted:
    """A GPU that counts no energy, or whose driver cannot be asked."""

    is_estimate = True
    says = "GPU not counted, as it tells of no counter"

    def joules(self) -> float:
        """See Counter."""
        return 0.0


class PackageCounter:
    """A processor's own counter (Intel's and AMD's RAPL): of the whole chip, whoever uses it.

    It starts again at 0 after some minutes of full load: it must be read more often than that.
    """

    is_estimate = False
    says = "CPU measured by its own counter (RAPL)"

    def __init__(self, zone: Path) -> None:
        """Begin with a zone of /sys/class/powercap. Raises OSError if it may not be read."""
        self._file = zone / "energy_uj"
        self._range = int((zone / "max_energy_range_uj").read_text())
        self._last = int(self._file.read_text())
        self._microjoules = 0

    def joules(self) -> float:
        """See Counter."""
        now = int(self._file.read_text())
        # The range is the highest value, after which comes 0.
        self._microjoules += (now - self._last) % (self._range + 1)
        self._last = now
        return self._microjoules / 1e6


class CpuEstimate:
    """What the CPU time of this process would take at full load; codecarbon reckons so, too."""

    is_estimate = True

    def __init__(self) -> None:
        facts = CPU_FACTS.read_text(encoding="utf-8") if CPU_FACTS.exists() else ""
        drawn = drawn_by(facts, threads=psutil.cpu_count() or 1)
        self._watts = drawn.watts_per_thread
        self._first = cpu_seconds()
        self.says = f"CPU estimated from the run's CPU time ({drawn.reason})"

    def joules(self) -> float:
        """See Counter."""
        return self._watts * (cpu_seconds() - self._first)


@dataclass(frozen=True)
class Used:
    """Joules that were counted, and joules that were estimated."""

    measured: float = 0.0
    estimated: float = 0.0

    @property
    def joules(self) -> float:
        """Both."""
        return self.measured + self.estimated


class Energy:
    """Adds up what all processes of a run take, with what the run took before it was killed.

    kept: a file in which the first process keeps the sum between attempts; None keeps none.
    """

    def __init__(
        self, counters: Sequence[Counter], *, country_iso_code: str | None, kept: Path | None
    ) -> None:
        self._counters = counters
        self._emitted = emitted_in(country_iso_code)
        self._kept = kept
        self._is_failing = False
        self._before = _kept_in(kept) if kept is not None and kept.exists() else Used()

    @property
    def method(self) -> str:
        """How it is counted, for people."""
        ways = "; ".join(dict.fromkeys(counter.says for counter in self._counters))
        kilograms, reason = self._emitted
        return f"{ways}; CO2 estimated at {kilograms:g} kg/kWh ({reason})"

    def used(self) -> Used:
        """Read the counters of this process; the attempts before count as the first process's."""
        used = {True: self._before.estimated, False: self._before.measured}
        for counter in self._counters:
            used[counter.is_estimate] += counter.joules()
        return Used(measured=used[False], estimated=used[True])

    def points(self) -> dict[str, float]:
        """By evaluation.names, of all processes: all of them must ask."""
        used = Used(**sum_of_all(vars(self.used())))
        if self._kept is not None:
            self._keep(used)
        kilowatt_hours = used.joules / JOULES_PER_KILOWATT_HOUR
        return {
            names.ENERGY_KILOWATT_HOURS: kilowatt_hours,
            names.ENERGY_ESTIMATED_FRACTION: used.estimated / used.joules if used.joules else 0.0,
            names.CO2_KILOGRAMS: kilowatt_hours * self._emitted.kilograms_per_kilowatt_hour,
        }

    def _keep(self, used: Used) -> None:
        assert self._kept is not None
        try:
            write_json(self._kept, vars(used))
        except (StorageError, OSError) as error:
            if not self._is_failing:
                logger.warning("The energy used so far is not kept, training goes on: %s", error)
            self._is_failing = True


def _kept_in(file: Path) -> Used:
    try:
        return Used(**read_json(file))
    except (ValueError, TypeError) as error:
        logger.warning("What the run took before is not counted: %s is damaged (%s).", file, error)
        return Used()


def counters_of(
    own: Place, *, gpus: Sequence[Gpu], on_gpu: bool, powercap: Path = POWERCAP
) -> list[Counter]:
    """Return what counts the energy of this process: its GPUs, and its share of the processors.

    gpus:   those that NVML knows; on_gpu says whether the process trains on one at all.
    Where a processor counts for itself, the first process of a machine reads it for all.
    """
    counters: list[Counter] = [
        GpuCounter(gpu, first) for gpu in gpus if (first := gpu.joules()) is not None
    ]
    if on_gpu and not counters:
        counters = [NotCounted()]
    packages = packages_in(powercap)
    if not packages:
        return [*counters, CpuEstimate()]
    return [*counters, *(packages if own.local_rank == 0 else [])]


def packages_in(powercap: Path) -> list[PackageCounter]:
    """The counters of a machine's processors; none where there are none, or root alone may read."""
    try:
        zones = [
            zone
            for zone in sorted(powercap.glob("intel-rapl:*"))
            if (zone / "name").read_text().startswith("package-")
        ]
        return [PackageCounter(zone) for zone in zones]
    except OSError:
        return []
