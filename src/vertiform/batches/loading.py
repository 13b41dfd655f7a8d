"""Walks a numbered series of batches from any number on, here or in loader processes."""

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch.utils.data import DataLoader, Dataset


class NumberedBatches(Protocol):
    """A series of batches in which each can be made alone, from its number."""

    def __getitem__(self, number: int) -> Any:
        """Make batch `number`. Must give equal batches for equal numbers, in every process."""
        ...


@dataclass(frozen=True, kw_only=True)
class BatchRange:
    """Iterates over the batches that one of `ranks` processes reads, in this order.

    first, last: passes of each process, last not included: pass n of process `rank` reads batch
                 n * ranks + rank, so all together read what one process would.
    workers:     processes that make batches ahead; their number changes nothing but speed.

    It has no length on purpose: Lightning would take a length for that of the whole run, and end a
    run that goes on too early.
    """

    batches: NumberedBatches
    first: int
    last: int
    workers: int
    rank: int = 0
    ranks: int = 1

    def __iter__(self) -> Iterator[Any]:
        start, end = (n * self.ranks + self.rank for n in (self.first, self.last))
        numbers: Sequence[int] = range(start, end, self.ranks)
        if self.workers == 0:
            return (self.batches[number] for number in numbers)
        return iter(
            DataLoader(
                _AsDataset(self.batches),
                sampler=numbers,
                batch_size=None,  # an item is a batch already
                num_workers=self.workers,
                prefetch_factor=4,
                worker_init_fn=_outlive_sigterm,
            )
        )


@dataclass(frozen=True)
class _AsDataset(Dataset):
    batches: NumberedBatches

    def __getitem__(self, index: int) -> Any:
        return self.batches[index]


def _outlive_sigterm(worker: int) -> None:
    """Let this loader process go on when all processes of a job are told to end.

    torchrun and SLURM signal them too; the one they work for ends its step and saves first, which
    it cannot once they are gone. They end with it.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
