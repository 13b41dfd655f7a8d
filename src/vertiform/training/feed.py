"""Hands the loop its batches, and keeps count of them and of the time they take to come."""

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NamedTuple

from torch.utils.data._utils.pin_memory import pin_memory

StepFlops = Callable[[Any], float]
"""The model FLOPs of training on one batch, from what it holds in host memory."""


class Counts(NamedTuple):
    """Of one batch, or of several: real tokens, tokens computed (padding too), model FLOPs."""

    tokens: int = 0
    slots: int = 0
    flops: float = 0.0

    def plus(self, other: "Counts") -> "Counts":
        """Add up."""
        return Counts(
            tokens=self.tokens + other.tokens,
            slots=self.slots + other.slots,
            flops=self.flops + other.flops,
        )


class Feed:
    """An iterable of batches around another; it has no length, like that (BatchRange).

    A batch is counted before it goes to the device, since reading a GPU's values waits for it.
    pins: whether batches are put into pinned memory, from which a copy to a GPU goes on by itself.
    """

    def __init__(self, batches: Iterable[Any], *, pins: bool, step_flops: StepFlops | None) -> None:
        self._batches = batches
        self._pins = pins
        self._step_flops = step_flops
        self._counted: deque[Counts] = deque()
        self._handed_out: Generator[Any, None, None] | None = None
        self.seconds_waited = 0.0

    def __iter__(self) -> Iterator[Any]:
        self._handed_out = self._handing_out()
        return self._handed_out

    def close(self) -> None:
        """End the processes that make batches, which may be in the midst of them.

        A run that ends by an exception leaves them in a circle of objects; whenever that is
        collected, in the next run maybe, the process would wait there for theirs to end.
        """
        if self._handed_out is not None:
            self._handed_out.close()

    def _handing_out(self) -> Generator[Any, None, None]:
        started = time.perf_counter()
        for batch in self._batches:
            self._counted.append(self._count(batch))
            ready = pin_memory(batch) if self._pins else batch
            self.seconds_waited += time.perf_counter() - started
            yield ready
            started = time.perf_counter()

    def next_counts(self) -> Counts:
        """Return the counts of the first batch handed out that was not asked for yet."""
        return self._counted.popleft()

    def _count(self, batch: Any) -> Counts:
        return Counts(
            tokens=batch.num_tokens,
            slots=getattr(batch, "num_slots", batch.num_tokens),
            flops=self._step_flops(batch) if self._step_flops else 0.0,
        )
