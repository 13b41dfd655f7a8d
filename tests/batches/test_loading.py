import os
import signal
import time
from dataclasses import dataclass

import pytest

from vertiform.batches.loading import BatchRange


@dataclass(frozen=True)
class Squares:
    def __getitem__(self, number: int) -> int:
        return number**2


def test_a_range_gives_its_batches_in_order_and_again_when_asked_again():
    batches = BatchRange(batches=Squares(), first=2, last=5, workers=0)
    assert list(batches) == list(batches) == [4, 9, 16]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_all_processes_together_read_what_one_would(ranks):
    passes = 4
    read = [
        list(
            BatchRange(
                batches=Squares(), first=1, last=1 + passes, workers=0, rank=rank, ranks=ranks
            )
        )
        for rank in range(ranks)
    ]
    together = [batch for each_pass in zip(*read, strict=True) for batch in each_pass]
    assert together == [number**2 for number in range(ranks, ranks * (1 + passes))]


def test_a_range_has_no_length_that_lightning_could_take_for_the_runs():
    with pytest.raises(TypeError):
        len(BatchRange(batches=Squares(), first=2, last=5, workers=0))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_loader_processes_keep_the_order(workers):
    batches = BatchRange(batches=Squares(), first=3, last=20, workers=workers)
    assert list(batches) == [number**2 for number in range(3, 20)]


class ItsProcess:
    """Batches that are the number of the process that makes them."""

    def __getitem__(self, number: int) -> int:
        return os.getpid()


def test_a_loader_process_goes_on_when_the_whole_job_is_told_to_end():
    batches = iter(BatchRange(batches=ItsProcess(), first=0, last=30, workers=1))
    worker = next(batches)
    os.kill(worker, signal.SIGTERM)
    time.sleep(0.05)
    assert list(batches) == [worker] * 29
