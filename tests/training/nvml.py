"""A small NVML for machines without a GPU: two boards, one of which tells little."""

from dataclasses import dataclass, field
from types import SimpleNamespace


class NVMLError(Exception):
    """What pynvml raises for whatever is not there."""


@dataclass
class Board:
    """millijoules: since its driver was loaded; None for a board that does not count."""

    fraction: int = 87
    used: int = 5 * 2**30
    milliwatts: int = 312_500
    millijoules: int | None = 7_000_000


@dataclass
class Nvml:
    """As much of the module pynvml as is used."""

    boards: dict[str, Board] = field(default_factory=dict)
    is_there: bool = True
    NVMLError = NVMLError

    def nvmlInit(self) -> None:  # noqa: N802
        if not self.is_there:
            raise NVMLError("NVML Shared Library Not Found")

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Board:  # noqa: N802
        if uuid not in self.boards:
            raise NVMLError("Not Found")
        return self.boards[uuid]

    def nvmlDeviceGetUtilizationRates(self, board: Board) -> SimpleNamespace:  # noqa: N802
        if board.millijoules is None:
            raise NVMLError("Not Supported")
        return SimpleNamespace(gpu=board.fraction)

    def nvmlDeviceGetMemoryInfo(self, board: Board) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(used=board.used)

    def nvmlDeviceGetPowerUsage(self, board: Board) -> int:  # noqa: N802
        return board.milliwatts

    def nvmlDeviceGetTotalEnergyConsumption(self, board: Board) -> int:  # noqa: N802
        if board.millijoules is None:
            raise NVMLError("Not Supported")
        return board.millijoules
