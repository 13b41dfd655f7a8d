"""What NVIDIA's management library (NVML) says of the GPUs that a run uses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from vertiform.evaluation import names


@dataclass(frozen=True)
class Gpu:
    """A GPU by its number in torch. Some tell little: what one does not is None, or left out."""

    number: int
    handle: Any
    nvml: Any  # the module pynvml

    def points(self) -> dict[str, float]:
        """What it does now, by evaluation.names."""
        read: dict[str, Callable[[], float]] = {
            names.GPU_FRACTION: lambda: self._ask("UtilizationRates").gpu / 100,
            names.GPU_MEMORY_BYTES: lambda: float(self._ask("MemoryInfo").used),
            names.GPU_POWER_WATTS: lambda: self._ask("PowerUsage") / 1000,
        }
        answers = {
            names.of_gpu(self.number, what): self._or_none(ask) for what, ask in read.items()
        }
        return {name: answer for name, answer in answers.items() if answer is not None}

    def joules(self) -> float | None:
        """The energy taken since the driver was loaded; counted since the Volta generation."""
        return self._or_none(lambda: self._ask("TotalEnergyConsumption") / 1000)

    def _ask(self, what: str) -> Any:
        return getattr(self.nvml, f"nvmlDeviceGet{what}")(self.handle)

    def _or_none(self, ask: Callable[[], float]) -> float | None:
        try:
            return ask()
        except self.nvml.NVMLError:
            return None


def uuids_of(numbers: range) -> dict[int, str]:
    """The UUID of each GPU of these numbers in torch, which may see others than NVML does."""
    return {n: f"GPU-{torch.cuda.get_device_properties(n).uuid}" for n in numbers}


def gpus_of(uuids: Mapping[int, str], *, nvml: Any = None) -> list[Gpu]:
    """Find GPUs in NVML; those it does not know, and all where it is absent, are left out."""
    if not uuids:
        return []
    if nvml is None:
        try:
            import pynvml as nvml
        except ImportError:
            return []
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return []
    found = []
    for number, uuid in uuids.items():
        try:
            found.append(Gpu(number, nvml.nvmlDeviceGetHandleByUUID(uuid), nvml))
        except nvml.NVMLError:
            continue
    return found
